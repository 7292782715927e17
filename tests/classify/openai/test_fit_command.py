"""``classify fit --strategy openai`` and ``classify tuning``, as people give them."""

import json

import pytest


def test_a_fit(bench, command, shop):
    done = command(*bench.fit, "--stop", "|", "--epochs", 2, "--validation", 20)
    assert done.code == 0, done.err
    (job,) = bench.jobs
    assert bench.bills == 1
    for part in (job.id, job.tuned, "tokens trained", "cost, estimated", "cost, of the tokens trained", "240 of 260"):
        assert part in done.out
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
