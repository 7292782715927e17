"""A fit that is killed anywhere: the same command goes on, and one job is paid for."""

import shutil
from itertools import pairwise

import pytest

from catalog.product_files import write_products
from tests.openai_server import KEY, running


@pytest.fixture(scope="module", autouse=True)
def few(shop, forked):
    """Fit on few rows: here it matters that all is done once."""
    write_products(forked.folder / "few", "train", [shop.train.take(range(70))], shop.schema)


def fitted(bench, forked, url: str, **options):
    out = forked.folder / "tuned"
    arguments = ("fit", "--strategy", "openai", "--train", forked.folder / "few", "--out", out)
    arguments += ("--validation", 5, "--stop", "|")
    environment = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": url}
    return forked(*arguments, environment=environment, calls=1, **options)


def left(folder) -> dict[str, bytes]:
    """Return the files of a model that two fits of the same rows have alike."""
    return {name: (folder / name).read_bytes() for name in ("taxonomy.csv", "validation.jsonl")}


def clear(forked) -> None:
    for name in ("tuned", "tuned.training"):
        shutil.rmtree(forked.folder / name, ignore_errors=True)


def test_killed_at_every_step(bench, forked):
    whole = fitted(bench, forked, bench.server.url)
    assert whole.code == 0, whole.err
    events, wanted = len(whole.events), left(forked.folder / "tuned")
    sent = bench.jobs[0].training.path.read_bytes()
    assert events > 40
    assert whole.events.count("call") >= 10
    finished = 0
    # Around each call and each line of the record, and at every third of the files that are written.
    near = [name in ("call", "answer") or name.endswith("record.jsonl") for name in whole.events]
    for step in [at for at in range(1, events + 1) if near[at - 1] or at % 3 == 0 or at == events]:
        clear(forked)
        with running(bench.folder / f"server-{step}") as server:
            killed = fitted(bench, forked, server.url, kill_at=step)
            assert killed.code == -9, (step, killed.err)
            saved = (forked.folder / "tuned" / "model.json").is_file()
            again = fitted(bench, forked, server.url)
            if again.code != 0:  # all was done, and the work folder's record is gone: another fit would be paid
                assert saved, (step, again.err)
                assert "another one costs again" in again.err
                finished += 1
            (job,) = server.state.jobs.values()
            assert server.state.billed()["training"]["bills"] == 1, step
            assert len([file for file in server.state.files.values() if file.purpose == "fine-tune"]) == 2, step
            assert job.training.path.read_bytes() == sent
        assert left(forked.folder / "tuned") == wanted
        assert not (forked.folder / "tuned.training").exists() or again.code != 0
    assert finished < 10
    clear(forked)


def test_the_answer_to_the_creation_is_lost_and_the_process_dies(bench, forked):
    clear(forked)
    faults = bench.server.faults
    faults.after_drop, faults.after_routes = 1, ["POST /v1/fine_tuning/jobs"]
    whole = fitted(bench, forked, bench.server.url)
    assert whole.code == 0, whole.err
    assert len(bench.jobs) == 1
    clear(forked)
    faults.after_drop = 1
    # The call that has no answer is the creation; then comes the first look at the list of jobs.
    calls = [at for at, event in enumerate(whole.events) if event in ("call", "answer")]
    look = next(after for at, after in pairwise(calls) if whole.events[at] == whole.events[after] == "call")
    lost = fitted(bench, forked, bench.server.url, kill_at=look + 1)
    assert lost.code == -9
    assert fitted(bench, forked, bench.server.url).code == 0
    assert len(bench.jobs) == 2  # one a fit
    assert bench.bills == 2
    clear(forked)
