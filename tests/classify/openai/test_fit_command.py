"""``classify fit --strategy openai`` and ``classify tuning``, as people give them."""

import json
import shutil

import pytest

import classify.model
import classify.strategies.openai
from catalog.errors import ShelfmarkError
from classify.provider.client import Provider
from tests.openai_server import KEY


def test_a_fit(bench, command):
    done = command(*bench.fit, "--stop", "|", "--epochs", 2, "--validation", 20)
    assert done.code == 0, done.err
    (job,) = bench.jobs
    assert bench.bills == 1
    for part in (job.id, job.tuned, "tokens trained", "cost, estimated", "cost, of the tokens trained", "240 of 260"):
        assert part in done.out
    assert f"{bench.out}: an openai model of" in done.out
    assert f"classify --model {bench.out} --test TEST" in done.out
    assert job.id in done.err
    assert not bench.work.exists()
    about = json.loads((bench.out / "tuning.json").read_text())
    assert (about["job"], about["model"], about["status"]) == (job.id, job.tuned, "succeeded")
    assert about["trained_tokens"] == job.trained_tokens
    assert about["cost"]["actual"] == pytest.approx(job.trained_tokens * 3e-6)
    assert about["cost"]["expected"] <= about["cost"]["at_most"]
    assert about["organization"] == "org-loopback"
    assert about["curve"][-1]["train_loss"] > 0
    manifest = json.loads((bench.out / "model.json").read_text())
    assert manifest["provenance"] == {"job": job.id, "llm": job.tuned}
    shown = command("tuning", bench.out)
    assert shown.code == 0
    assert job.tuned in shown.out


def test_what_the_provider_is_told(bench, command):
    flags = ("--base", "gpt-4o-mini", "--epochs", 3, "--batch-size", 8, "--learning-rate-multiplier", 0.5)
    done = command(*bench.fit, *flags, "--suffix", "shelves", "--seed", 7, "--validation", 0, "--sample", 250)
    assert done.code == 0, done.err
    (job,) = bench.jobs
    assert job.model == "gpt-4o-mini"
    assert job.hyperparameters == {"n_epochs": 3, "batch_size": 8, "learning_rate_multiplier": 0.5}
    assert (job.suffix, job.seed, job.validation) == ("shelves", 7, None)
    first = json.loads(job.training.path.read_text().splitlines()[0])
    assert [turn["role"] for turn in first["messages"]] == ["system", "user", "assistant"]
    assert first["messages"][1]["content"].endswith(" ->")


def test_another_fit_over_one_that_is_paid_for_is_refused(bench, command, refused):
    assert command(*bench.fit).code == 0
    calls = bench.calls
    assert "another one costs again" in refused(*bench.fit)
    assert (bench.calls, len(bench.jobs)) == (calls, 1)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--max-cost", "0.0001"), "--max-cost 0.0001: the fine-tune could cost $"),
        (("--max-cost", "5", "--base", "gpt-4.1-nano"), "the price of a fine-tune of gpt-4.1-nano is unknown"),
        (("--max-cost", "5", "--base", "nobody-knows"), "give a file of prices with --prices"),
        (("--prices", "nowhere.toml"), "--prices nowhere.toml: cannot be read"),
        (("--epochs", "2.5"), "--epochs 2.5: "),
        (("--stop", "a"), "--stop a: the label path"),
        (("--rank", "8"), "--rank is not an option of openai"),
        (("--base-url", "nowhere"), "--base-url nowhere: no address"),
    ],
)
def test_refused_before_anything_is_sent(bench, refused, flags, said):
    assert said in refused(*bench.fit, *flags)
    assert bench.calls == 0
    assert not bench.out.exists()


def test_a_price_of_one_s_own_makes_a_bound_possible(bench, command):
    prices = bench.folder / "prices.toml"
    prices.write_text('["gpt-4.1-nano-2025-04-14"]\ninput = 1\noutput = 1\ntraining = 2\n')
    flags = ("--base", "gpt-4.1-nano-2025-04-14", "--max-cost", 1, "--prices", prices)
    assert command(*bench.fit, *flags).code == 0
    about = json.loads((bench.out / "tuning.json").read_text())
    assert about["cost"]["actual"] == pytest.approx(about["trained_tokens"] * 2e-6)


def test_no_key(bench, refused, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    assert "OPENAI_API_KEY is not set" in refused(*bench.fit)
    assert bench.calls == 0


def test_a_wrong_key(bench, refused, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-key-0123456789")
    said = refused(*bench.fit)
    assert "the key in OPENAI_API_KEY is not known there" in said
    assert "sk-wrong" not in said


def test_no_money_then_money(bench, command, refused):
    bench.server.state.poor.add(KEY)
    assert "no money is left" in refused(*bench.fit)
    assert bench.server.state.calls["POST /v1/fine_tuning/jobs"] == 1
    bench.server.state.poor.clear()
    uploads = bench.server.state.calls["POST /v1/files"]
    assert command(*bench.fit).code == 0
    assert bench.server.state.calls["POST /v1/files"] == uploads
    assert len(bench.jobs) == 1


def test_an_organisation_with_as_many_jobs_as_it_may_have(bench, command, refused):
    bench.server.state.max_active_jobs = 0
    said = refused(*bench.fit)
    assert "as many jobs as it may have" in said
    assert "the same command goes on" in said
    assert bench.server.state.calls["POST /v1/fine_tuning/jobs"] == 1
    bench.server.state.max_active_jobs = None
    uploads = bench.server.state.calls["POST /v1/files"]
    assert command(*bench.fit).code == 0
    assert bench.server.state.calls["POST /v1/files"] == uploads


def test_a_base_that_cannot_be_tuned(bench, refused):
    said = refused(*bench.fit, "--base", "gpt-unheard-of")
    assert "--base gpt-unheard-of: cannot be fine-tuned with this key" in said


def test_a_job_that_fails(bench, refused, command):
    faults = bench.server.faults
    faults.fail_tune, faults.fail_tune_code, faults.fail_tune_message = 1, "server_error", "It broke."
    said = refused_after_messages(command(*bench.fit))
    assert "the fine-tune failed (server_error): It broke." in said
    assert f"delete {bench.work}" in said
    assert not bench.out.exists()
    again = refused_after_messages(command(*bench.fit))
    assert "It broke." in again
    assert len(bench.jobs) == 1
    shown = command("tuning", bench.out)
    assert "failed" in shown.out
    assert "It broke." in shown.out
    shutil.rmtree(bench.work)
    assert command(*bench.fit).code == 0
    assert len(bench.jobs) == 2


def refused_after_messages(done) -> str:
    """Return the last line of a command that was refused."""
    assert done.code == 2, done.err
    assert "Traceback" not in done.err
    last = done.err.splitlines()[-1]
    assert last.startswith("classify: ")
    return last


def test_a_file_that_is_refused_by_validation(bench, command, monkeypatch):
    write = classify.strategies.openai._write_chat

    def damaged(path, examples):
        write(path, examples)
        if examples:
            rows = path.read_text().splitlines(keepends=True)
            path.write_text("".join([*rows[:3], '{"no": "messages"}\n', *rows[4:]]))

    monkeypatch.setattr(classify.strategies.openai, "_write_chat", damaged)
    said = refused_after_messages(command(*bench.fit))
    assert "invalid_training_file" in said
    assert "Line 4 of" in said


def test_somebody_cancels(bench, command, monkeypatch):
    def cancel_it(seconds: float) -> None:
        for job in bench.jobs:
            if not job.ended:
                assert command("tuning", bench.out, "--cancel").out == f"{job.id}: cancelled\n"

    bench.server.faults.slow_tune = 5
    monkeypatch.setattr(Provider, "sleep", staticmethod(cancel_it))
    with pytest.raises(ShelfmarkError, match="somebody cancelled"):
        classify.model.fit(bench.train, strategy="openai", work=bench.work)
    monkeypatch.setattr(Provider, "sleep", staticmethod(lambda seconds: None))
    said = refused_after_messages(command("tuning", bench.out, "--cancel"))
    assert "it has ended: cancelled; there is nothing to cancel" in said
    assert bench.bills == 0


def test_ctrl_c_says_that_the_job_goes_on(bench, command, monkeypatch):
    bench.server.faults.slow_tune = 3
    monkeypatch.setattr(Provider, "sleep", staticmethod(interrupt))
    done = command(*bench.fit)
    assert done.code == 130
    (job,) = bench.jobs
    assert f"{job.id} goes on at the provider" in done.err
    assert f"classify tuning {bench.out} --cancel" in done.err
    monkeypatch.setattr(Provider, "sleep", staticmethod(lambda seconds: None))
    shown = command("tuning", bench.out)
    assert shown.code == 0, shown.err
    assert job.id in shown.out
    assert "not there yet" in shown.out
    assert command(*bench.fit).code == 0
    assert (len(bench.jobs), bench.bills) == (1, 1)


def test_a_job_that_was_made_before(bench, command, refused):
    assert command(*bench.fit, "--stop", "|").code == 0
    (job,) = bench.jobs
    before = (bench.out / "validation.jsonl").read_bytes()
    shutil.rmtree(bench.out)
    assert command(*bench.fit, "--stop", "|", "--job", job.id).code == 0
    assert (bench.out / "validation.jsonl").read_bytes() == before
    assert json.loads((bench.out / "model.json").read_text())["provenance"]["llm"] == job.tuned
    assert (len(bench.jobs), bench.bills) == (1, 1)
    shutil.rmtree(bench.out)
    # Of other rows: what it did not learn from is not known.
    assert command(*bench.fit, "--stop", "|", "--job", job.id, "--seed", 3).code == 0
    assert (bench.out / "validation.jsonl").read_text() == ""
    shutil.rmtree(bench.out)
    assert "--job ftjob-none: " in refused(*bench.fit, "--job", "ftjob-none")
    assert len(bench.jobs) == 1


def test_the_folder_of_another_account(bench, command, monkeypatch):
    bench.server.state.keys["sk-test-other"] = "org-other"
    monkeypatch.setattr(Provider, "sleep", staticmethod(interrupt))
    assert command(*bench.fit).code == 130
    monkeypatch.setattr(Provider, "sleep", staticmethod(lambda seconds: None))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-other")
    assert "another account" in refused_after_messages(command(*bench.fit))
    assert "another account" in refused_after_messages(command("tuning", bench.out))
    assert len(bench.jobs) == 1


def interrupt(seconds: float) -> None:
    raise KeyboardInterrupt


def test_another_fit_in_the_same_folder(bench, command, refused, monkeypatch):
    monkeypatch.setattr(Provider, "sleep", staticmethod(interrupt))
    assert command(*bench.fit).code == 130
    assert "belongs to another fine-tune (n epochs was 2, now 1)" in refused(*bench.fit, "--epochs", 1)
    assert len(bench.jobs) == 1


def test_no_file_and_no_line_holds_the_key(bench, command, monkeypatch):
    key = "sk-secret-6f1d0c2b9a"
    bench.server.state.keys[key] = "org-loopback"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setattr(Provider, "sleep", staticmethod(interrupt))
    stopped = command(*bench.fit)
    said = stopped.out + stopped.err
    assert bench.work.is_dir()
    files = {path: path.read_bytes() for path in bench.work.rglob("*") if path.is_file()}
    monkeypatch.setattr(Provider, "sleep", staticmethod(lambda seconds: None))
    done = command(*bench.fit)
    shown = command("tuning", bench.out)
    said += done.out + done.err + shown.out + shown.err
    files |= {path: path.read_bytes() for path in bench.folder.rglob("*") if path.is_file()}
    assert key not in said
    assert not [path for path, content in files.items() if key.encode() in content]


def test_tuning_of_what_is_none(bench, refused, command):
    assert "no fine-tune of a provider's" in refused("tuning", bench.folder)
    bench.server.state.max_active_jobs = 0
    assert command(*bench.fit).code == 2
    assert "its job is not made yet" in refused("tuning", bench.out)
    bench.server.state.max_active_jobs = None
    assert command(*bench.fit).code == 0
    assert "there is nothing to cancel" in refused("tuning", bench.out, "--cancel")


def test_a_model_stands_by_its_fit_whatever_the_preset_has(bench, command):
    done = command(
        "fit", "--strategy", "openai", "--train", bench.train, "--out", bench.folder / "m", "--stop", "|", "--epochs", 1
    )
    assert done.code == 0, done.err
    run = bench.folder / "run"
    begin = ("--preset", "openai-4o-mini", "--model", bench.folder / "m", "--test", bench.test, "--run", run)
    done = command(*begin, "--limit", 5, "--poll", 0.01)
    assert done.code == 0, done.err
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["options"]["epochs"], manifest["engine_options"]["temperature"]) == (1, 0.1)
