"""A provider's model that learns from what the web says, and is asked likewise."""

import json

import pytest


def test_it_is_learned_from_asked_with_and_paid_for(bench, shop, cache, command, refused, lines):
    flags = ("--epochs", 1, "--validation", 20, "--context", cache, "--context-tokens", 40)
    done = command(*bench.fit, *flags)
    assert done.code == 0, done.err
    (job,) = bench.jobs
    learned = lines(job.training.path)
    assert len(learned) == len(shop.train) - 20
    assert sum(" online: by " in one["messages"][1]["content"] for one in learned) > len(learned) / 2

    asking = ("--model", bench.out, "--test", bench.test, "--run", bench.folder / "run", "--until", "requests")
    message = refused(*asking)
    assert f"{bench.out}: it was fitted with --context; say with --context FILE what the web says now" in message
    assert "--context-tokens 50: this model was fitted with 40" in refused(
        *asking, "--context", cache, "--context-tokens", 50
    )
    done = command(*asking, "--context", cache, "--calibrate", 15)
    assert done.code == 0, done.err
    asked = [line["messages"] for line in lines(bench.folder / "run" / "requests.jsonl")]
    assert sum(" online: by " in turns[1]["content"] for turns in asked) == sum(at % 3 > 0 for at in range(len(asked)))
    # In the form in which it learned: the same system turn, and as many fields.
    assert {turns[0]["content"] for turns in asked} == {one["messages"][0]["content"] for one in learned}
    assert {turns[1]["content"].count(" | ") for turns in asked} == {3}
    held = [line["messages"] for line in lines(bench.folder / "run" / "calibration.jsonl")]
    assert sum(" online: by " in turns[1]["content"] for turns in held) > 0


def test_a_model_that_was_fitted_without_is_not_asked_with_it(bench, cache, command, refused):
    assert command(*bench.fit, "--epochs", 1).code == 0
    message = refused("--model", bench.out, "--test", bench.test, "--run", bench.folder / "run", "--context", cache)
    assert f"--context: {bench.out} was fitted without; fit another one with --context FILE" in message


def test_a_plan_and_a_bound_know_of_it(bench, cache, command, refused):
    planned = ("plan", "--strategy", "openai", "--train", bench.train, "--test", bench.test, "--json")

    def tokens(*more):
        value = json.loads(command(*planned, *more).out)
        return value["training"]["file_tokens"]["most"], value["prediction"]["read"]["most"]

    without, with_it = tokens(), tokens("--context", cache)
    assert with_it[0] > 1.2 * without[0]
    assert with_it[1] > 1.2 * without[1]


@pytest.mark.parametrize("strategy", ["lora", "openai"])
def test_plans_take_it(bench, cache, command, strategy):
    done = command("plan", "--strategy", strategy, "--train", bench.train, "--test", bench.test, "--context", cache)
    assert done.code == 0, done.err
