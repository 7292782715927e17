"""What a run pays that asks one request at a time: its bound holds, whatever is lost on the way."""

import asyncio
import json
from pathlib import Path

import pytest

from classify.asking import ANSWERS, ASKED, LOST
from classify.costs import load_prices
from classify.engines.server import ServerEngine
from classify.lines import GrowingLines
from classify.rundir import RunDirectory
from classify.spending import _paid_for_fit

MODEL = "gpt-4o-mini"
CHAT = "POST /v1/chat/completions"
PRICE = load_prices().of(MODEL)


@pytest.fixture
def run(bench, command, monkeypatch) -> Path:
    """A run whose requests are written, none asked."""

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(ServerEngine, "sleep", staticmethod(sleep))
    folder = bench.folder / "run"
    files = ("--train", bench.train, "--test", bench.test, "--run", folder, "--engine", "server")
    done = command("--strategy", "openai", "--model", MODEL, *files, "--until", "requests")
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def bill(bench):
    """What the server bills, in dollars."""

    def dollars() -> float:
        chat = bench.server.state.billed()["chat"]
        return PRICE.dollars(chat["prompt_tokens"], chat["completion_tokens"], batch=False)

    return dollars


def asking(run: Path) -> dict:
    return json.loads((run / "manifest.json").read_text())["asking"]


@pytest.fixture
def most(command, run) -> float:
    """What the requests cost at most."""
    plan = json.loads(command("plan", "--run", run, "--json").out)["prediction"]
    return PRICE.dollars(plan["read"]["most"], plan["written"]["most"], batch=False)


@pytest.mark.parametrize("fault", ["after_500", "after_drop"])
def test_answers_that_are_lost_after_the_work_stay_within_the_bound(bench, command, run, most, bill, fault) -> None:
    faults = bench.server.faults
    setattr(faults, fault, 200)
    faults.after_routes = [CHAT]
    cap = most * 1.02
    done = command("resume", run, "--max-cost", cap, "--concurrency", 4)
    for _ in range(40):
        if done.code == 0:
            break
        done = command("resume", run)
    assert bill() <= cap
    assert (run / LOST).exists()


def test_what_is_sent_again_is_told(bench, command, run, most, bill, lines) -> None:
    faults = bench.server.faults
    faults.after_500, faults.after_routes = 40, [CHAT]
    done = command("resume", run, "--max-cost", most * 2, "--concurrency", 8, "--retries", 60)
    assert done.code == 0, done.err
    told = asking(run)
    assert (told["unsure"], told["answers"], told["errors"]) == (40, 90, 0)
    assert "(40 tries brought no answer, and may be billed, too)" in " ".join(done.out.replace("│", " ").split())
    assert told["cost"] < bill() <= told["cost"] + sum(line["dollars"] for line in lines(run / LOST)) <= most * 2


@pytest.mark.parametrize("fault", ["http_429", "http_500"])
def test_only_what_may_be_billed_counts(bench, command, run, most, fault) -> None:
    faults = bench.server.faults
    setattr(faults, fault, 3)
    faults.http_routes = [CHAT]
    done = command("resume", run, "--max-cost", most * 1.001)
    assert done.code == 0, done.err
    assert asking(run).get("unsure", 0) == (0 if fault == "http_429" else 3)
    assert asking(run)["errors"] == (0 if fault == "http_429" else 3)


def test_no_other_try_where_the_bound_allows_none(bench, command, run, most, lines) -> None:
    faults = bench.server.faults
    faults.after_500, faults.after_routes = 1, [CHAT]
    assert command("resume", run, "--max-cost", most * 1.000001).code == 0
    (error,) = [line["error"] for line in lines(run / ANSWERS) if "error" in line]
    assert error.startswith("HTTP 500")
    assert error.endswith("and --max-cost allows no other try")
    assert bench.server.state.calls[CHAT] == 90
    # What was not spent after all is there for it.
    assert command("resume", run, "--retry-failed").code == 0
    assert asking(run)["answers"] == 90


def test_a_process_that_died_spent_what_is_on_the_disk(bench, command, refused, run, most, lines) -> None:
    assert command("resume", run, "--max-cost", most * 1.01).code == 0
    answers, manifest = lines(run / ANSWERS), json.loads((run / "manifest.json").read_text())
    # As if it had been killed before it noted anything: 60 are answered, 10 were in flight.
    (run / ANSWERS).write_text("".join(json.dumps(line) + "\n" for line in answers[:60]))
    (run / ASKED).write_text("".join(json.dumps(line["id"]) + "\n" for line in answers[:70]))
    del manifest["asking"], manifest["stages"]["completions"], manifest["finished"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    spent = PRICE.dollars(
        *(sum(line[f"{what}_tokens"] for line in answers[:60]) for what in ("prompt", "completion")), batch=False
    )
    calls = bench.calls
    said = refused("resume", run, "--max-cost", spent * 1.01)
    told = float(said.partition("$")[2].partition(" spent")[0])
    assert told > spent * 1.05
    assert bench.calls == calls
    assert command("resume", run, "--max-cost", most * 2).code == 0
    assert asking(run)["asked_again"] == 10


@pytest.mark.parametrize("killed", [False, True])
def test_deleted_answers_were_paid(bench, command, refused, run, most, bill, killed) -> None:
    assert command("resume", run, "--max-cost", most * 2).code == 0
    first = bill()
    if killed:  # before the manifest knew of any answer
        manifest = json.loads((run / "manifest.json").read_text())
        manifest["asking"] = {"estimate": manifest["asking"]["estimate"]}
        (run / "manifest.json").write_text(json.dumps(manifest))
    (run / ANSWERS).unlink()
    said = refused("resume", run, "--max-cost", most * 1.01)
    assert "spent, and 90 requests could cost" in said
    done = command("resume", run, "--max-cost", most * 3)
    assert done.code == 0, done.err
    told = asking(run)
    assert told["paid_before"] == pytest.approx(most if killed else first, abs=2e-6)
    assert told["cost"] == pytest.approx(first, abs=2e-6)
    assert told["paid_before"] + told["cost"] >= bill() - 2e-6
    assert "cost of answers that were deleted" in done.out
    # Twice deleted, twice paid.
    (run / ANSWERS).unlink()
    assert command("resume", run, "--max-cost", most * 6).code == 0
    assert asking(run)["paid_before"] >= told["paid_before"] + told["cost"] - 2e-6
    assert not (run / LOST).exists()


def test_a_torn_line_of_what_was_lost_is_cut_off(command, run, most) -> None:
    with GrowingLines(run / LOST) as lines:
        lines.append([{"id": "x", "dollars": 0.5}])
    (run / ANSWERS).touch()
    with open(run / LOST, "a") as stream:
        stream.write('{"id": "to')
    assert command("resume", run, "--max-cost", most * 1.01 + 0.5).code == 0
    assert asking(run)["unsure"] == 1


@pytest.fixture
def both(bench, command) -> tuple[tuple[object, ...], float]:
    """A command that fits and predicts, and what it could cost at most by batches and one by one."""
    train = ("--strategy", "openai", "--train", bench.train, "--test", bench.test)
    plan = json.loads(command("plan", *train, "--json").out)
    return train, plan["training"]["dollars"]["most"], plan["prediction"]["dollars"]["most"]


@pytest.mark.parametrize("engine", ["batch", "server"])
def test_a_fit_and_what_comes_after_it_are_checked_together(bench, refused, command, both, engine) -> None:
    train, fit, batches = both
    most = fit + batches * (2 if engine == "server" else 1)
    how = (*train, "--run", bench.folder / "both", "--engine", engine)
    said = refused(*how, "--max-cost", most * 0.999)
    assert f"what is planned could cost ${most:,.4f}" in said
    assert (bench.calls, len(bench.jobs)) == (0, 0)
    assert "could cost" in refused(*how, "--max-cost", 0)
    done = command(*how, "--max-cost", most * 1.001)
    assert done.code == 0, done.err
    assert len(bench.jobs) == 1


def test_a_part_of_the_rows_costs_a_part(bench, command, both) -> None:
    train, fit, batches = both
    how = (*train, "--run", bench.folder / "both", "--calibrate", 0, "--limit", 9)
    assert command(*how, "--max-cost", fit + batches * 0.2).code == 0


@pytest.mark.parametrize(("actual", "paid"), [(None, 0.5), (0.25, 0.25), (0.0, 0.0)])
def test_a_fine_tune_whose_cost_nobody_tells_cost_the_most(tmp_path, actual, paid) -> None:
    cost = {"expected": 0.4, "at_most": 0.5, "actual": actual}
    (tmp_path / "model").mkdir()
    about = {"job": "ftjob-1", "model": "ft:mine", "most_answer_tokens": 9, "cost": cost}
    (tmp_path / "model" / "tuning.json").write_text(json.dumps(about))
    assert _paid_for_fit(RunDirectory(tmp_path, {})) == paid
