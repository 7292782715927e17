"""Runs that are answered by batches, as people give the commands."""

import importlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from catalog.schema import SEPARATOR
from classify.costs import load_prices
from classify.provider.client import Provider
from tests.openai_server import KEY, ORG, Server
from tests.openai_server.batches import advance
from tests.openai_server.driving import check_books
from tests.openai_server.state import Tuned
from tests.openai_server.taught import Taught

MODEL = "ft:gpt-4o-mini-2024-07-18:loopback::model"
OTHER_KEY = "sk-of-another-account"
ROWS = 12
UPLOAD, MAKE, LIST = "POST /v1/files", "POST /v1/batches", "GET /v1/batches"


@dataclass
class Desk:
    """A server with a fine-tuned model, and how to have it answer."""

    server: Server
    run: Path
    command: Callable[..., Any]
    again: tuple[object, ...]
    begin: tuple[object, ...]

    def start(self, *more: object) -> Any:
        return self.command(*self.begin, *more)

    def resume(self, *more: object) -> Any:
        return self.command("resume", self.run, *self.again, *more)

    @property
    def manifest(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.run / "manifest.json").read_text())
        return value

    @property
    def calls(self) -> Any:
        return self.server.state.calls.copy()

    @property
    def paid(self) -> float:
        """Dollars that the server billed."""
        billed, price = self.server.state.billed()["batch"], load_prices().of(MODEL)
        assert price is not None
        return price.dollars(billed["prompt_tokens"], billed["completion_tokens"], batch=True)

    def check(self, *, times: int = 1) -> None:
        """The run is finished, each row was paid so often, and the books agree with the bill."""
        assert "finished" in self.manifest
        assert len((self.run / "predictions.jsonl").read_text().splitlines()) == ROWS
        assert set(self.server.state.processed().values()) == {times}
        check_books(self.run / "batches", self.server.state)
        assert self.manifest["asking"]["cost"] == pytest.approx(self.paid, abs=1e-6)


@pytest.fixture
def desk(bench, shop, command) -> Desk:
    taught = Taught()
    for text, label in zip(shop.train.texts, shop.train.labels, strict=True):
        taught.learn([{"role": "user", "content": text}, {"role": "assistant", "content": SEPARATOR.join(label)}])
    bench.server.state.tuned[MODEL] = Tuned(MODEL, ORG, 0, taught)
    run = bench.folder / "run"
    files = ("--train", bench.train, "--test", bench.test, "--run", run, "--limit", ROWS)
    begin = ("--strategy", "openai", "--model", MODEL, *files, "--poll", 0.01)
    return Desk(bench.server, run, command, ("--poll", 0.01), begin)


@pytest.fixture
def leave(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Press ctrl-C when the n-th wait begins; 0: never."""

    def at(wait: int) -> None:
        waits = 0

        def sleep(seconds: float) -> None:
            nonlocal waits
            waits += 1
            if waits == wait:
                raise KeyboardInterrupt

        monkeypatch.setattr(Provider, "sleep", staticmethod(sleep))

    return at


def stopped(done: Any) -> str:
    """Return the one line with which a command that began stopped; before it may be lines about its steps."""
    assert done.code == 2, (done.out, done.err)
    assert "Traceback" not in done.err
    last: str = done.err.splitlines()[-1]
    assert last.startswith("classify: ")
    assert sum(line.startswith("classify: ") for line in done.err.splitlines()) == 1
    return last


def test_a_whole_run(desk: Desk) -> None:
    done = desk.start()
    assert done.code == 0, done.err
    desk.check()
    asking = desk.manifest["asking"]
    assert (asking["answers"], asking["errors"]) == (ROWS, 0)
    assert asking["estimate"][0] <= asking["estimate"][1]
    assert 0 < asking["cost"] <= asking["estimate"][1]
    low, high = asking["estimate"]
    assert f"${low:,.4f}, at most ${high:,.4f} (tokens " in done.out
    billed = desk.server.state.billed()["batch"]
    assert f"{billed['prompt_tokens']:,} and {billed['completion_tokens']:,}" in done.out
    assert f" ${desk.paid:,.4f} " in done.out
    assert "12 requests by batches, for about $" in done.err
    assert desk.resume().code == 0


def test_a_run_of_rag_by_batches(desk: Desk) -> None:
    begin = [MODEL if value == MODEL else value for value in desk.begin]
    begin[begin.index("openai")] = "rag"
    at = begin.index("--model")
    begin[at : at + 2] = ["--engine", "batch", "--llm", "gpt-4o-mini", "--calibrate", 10]
    done = desk.command(*begin)
    assert done.code == 0, done.err
    billed, price = desk.server.state.billed()["batch"], load_prices().of("gpt-4o-mini")
    assert price is not None
    assert billed["bills"] == ROWS + 10
    cost = price.dollars(billed["prompt_tokens"], billed["completion_tokens"], batch=True)
    assert desk.manifest["asking"]["cost"] == pytest.approx(cost, abs=1e-6)
    assert f"${cost:,.4f}" in done.out
    check_books(desk.run / "batches", desk.server.state)


def test_batches_are_listed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.server.faults.expire = 1
    assert desk.start().code == 0
    shown = desk.command("batches", desk.run)
    assert shown.code == 0
    for word in (*desk.server.state.batches, "expired", "completed", f"cost so far: ${desk.paid:,.4f}"):
        assert word in shown.out
    value = json.loads(desk.command("batches", desk.run, "--json").out)
    assert [one["status"] for one in value["batches"]] == ["expired", "completed"]
    assert [(one["rows"], one["done"]) for one in value["batches"]] == [(12, 6), (6, 6)]
    assert sum(one["cost"] for one in value["batches"]) == pytest.approx(desk.paid)
    assert value["totals"]["cost"] == pytest.approx(desk.paid, abs=1e-6)
    before = desk.calls
    monkeypatch.delenv("OPENAI_API_KEY")
    assert "as they were last seen: OPENAI_API_KEY is not set" in desk.command("batches", desk.run).out
    assert desk.calls == before


def test_batches_of_a_run_without_any(desk: Desk, refused) -> None:
    assert desk.start("--until", "requests").code == 0
    assert "has sent no batches" in refused("batches", desk.run)


def test_watching(desk: Desk, leave, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(1)
    assert desk.start().code == 130
    (batch,) = desk.server.state.batches.values()
    module = importlib.import_module("classify.commands.batches")
    monkeypatch.setattr(module.time, "sleep", lambda seconds: advance(desk.server.state, batch))
    done = desk.command("batches", desk.run, "--watch")
    assert done.code == 0
    assert "in_progress" in done.out
    assert "completed" in done.out


@pytest.mark.parametrize("wait", [1, 2])
def test_ctrl_c_leaves_batches_to_be_taken_in(desk: Desk, leave, wait: int) -> None:
    leave(wait)
    done = desk.start()
    assert done.code == 130
    assert f"its batches go on at the provider; classify batches {desk.run} --cancel stops them" in done.err
    assert f"carry on with: classify resume {desk.run}" in done.err
    leave(0)
    done = desk.resume()
    assert done.code == 0, done.err
    desk.check()
    assert desk.calls[MAKE] == 1


def test_batches_are_stopped_and_carried_on(desk: Desk, leave) -> None:
    desk.server.state.steps_per_batch = 6
    leave(2)
    assert desk.start().code == 130
    done = desk.command("batches", desk.run, "--cancel")
    assert done.code == 0, done.err
    assert "1 batch stopped; classify resume" in done.out
    leave(0)
    left = stopped(desk.resume())
    assert "requests have no answer: a batch was stopped; what was done is kept" in left
    done_rows = len((desk.run / "completions.jsonl").read_text().splitlines())
    assert 0 < done_rows < ROWS
    assert desk.calls[MAKE] == 1
    assert desk.command("batches", desk.run, "--cancel").out.count("0 batches stopped") == 1
    assert desk.resume().code == 0
    desk.check()
    assert desk.calls[MAKE] == 2


def test_stopping_needs_a_key(desk: Desk, leave, refused, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(1)
    assert desk.start().code == 130
    monkeypatch.delenv("OPENAI_API_KEY")
    assert "OPENAI_API_KEY is not set" in refused("batches", desk.run, "--cancel")


def test_the_key_of_another_account(desk: Desk, leave, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(1)
    assert desk.start().code == 130
    leave(0)
    desk.server.state.keys[OTHER_KEY] = "org-other"
    desk.server.state.tuned["other"] = desk.server.state.tuned[MODEL]
    before = desk.calls
    monkeypatch.setenv("OPENAI_API_KEY", OTHER_KEY)
    said = stopped(desk.resume())
    assert "unknown to the account of the key in OPENAI_API_KEY, though this run sent it" in said
    assert (desk.calls[UPLOAD], desk.calls[MAKE]) == (before[UPLOAD], before[MAKE])
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert desk.resume().code == 0
    desk.check()


def test_no_key(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    assert "OPENAI_API_KEY is not set" in stopped(desk.start())
    assert not desk.calls
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert (desk.resume() if desk.run.exists() else desk.start()).code == 0
    desk.check()


def test_a_wrong_key(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-as-can-be-0123456789")
    said = stopped(desk.start())
    assert "HTTP 401: the key in OPENAI_API_KEY is not known there; check it" in said
    assert "6789" not in said
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert desk.resume().code == 0
    desk.check()


def test_no_money(desk: Desk) -> None:
    desk.server.state.poor.add(KEY)
    said = stopped(desk.start())
    assert "billing_hard_limit_reached" in said
    assert "nothing of it was done or billed; when that is mended, give the same command again" in said
    desk.server.state.poor.clear()
    assert desk.start().code == 0
    desk.check()


def test_a_model_of_somebody_else(desk: Desk) -> None:
    own = desk.server.state.tuned.pop(MODEL)
    said = stopped(desk.start())
    assert "model_not_found" in said
    assert MODEL in said
    assert desk.calls[MAKE] == 1
    desk.server.state.tuned[MODEL] = own
    assert desk.resume().code == 0
    desk.check()


def test_the_bound_is_looked_at_before_anything_is_sent(desk: Desk) -> None:
    said = stopped(desk.start("--max-cost", 0.000001))
    assert "--max-cost 1e-06: 12 requests could cost $0.0" in said
    assert desk.calls[UPLOAD] == desk.calls[MAKE] == 0
    assert desk.resume("--max-cost", 1).code == 0
    desk.check()


def test_what_is_in_flight_counts_on_the_bound(desk: Desk, leave) -> None:
    leave(1)
    assert desk.start("--max-enqueued-tokens", 150).code == 130
    leave(0)
    sent = desk.calls[MAKE]
    most = json.loads(desk.command("batches", desk.run, "--json").out)["batches"][0]["at_most"]
    said = stopped(desk.resume("--max-cost", most * 1.1))
    assert "--max-cost" in said
    assert desk.calls[MAKE] == sent
    assert desk.paid <= most
    kept = len((desk.run / "completions.jsonl").read_text().splitlines())
    assert 0 < kept < ROWS
    assert desk.resume("--max-cost", 1).code == 0
    desk.check()


def test_a_bound_and_no_price(desk: Desk) -> None:
    name = "ft:mystery:loopback::model"
    desk.server.state.tuned[name] = desk.server.state.tuned[MODEL]
    begin = [name if value == MODEL else value for value in desk.begin]
    said = stopped(desk.command(*begin, "--max-cost", 1))
    assert f"the price of {name} is unknown; give a file of prices with --prices, or leave --max-cost out" in said
    assert not desk.calls
    shutil.rmtree(desk.run, ignore_errors=True)
    done = desk.command(*begin)
    assert done.code == 0
    assert "at an unknown price" in done.err
    assert "unknown price: --prices gives one" in done.out


def test_nobody_else_answers_what_is_in_flight(desk: Desk, leave, tmp_path: Path) -> None:
    leave(1)
    assert desk.start().code == 130
    leave(0)
    before = desk.calls
    (tmp_path / "answers.jsonl").write_text('{"custom_id": "a", "response": {}}\n')
    for command in (
        ("resume", desk.run, "--engine", "server", "--llm", MODEL),
        ("resume", desk.run, "--temperature", 1),
        ("resume", desk.run, "--give-up"),
        ("import", desk.run, tmp_path / "answers.jsonl"),
    ):
        said = stopped(desk.command(*command))
        assert "batches of it are at the provider, and paid" in said, command
    assert desk.calls == before
    assert desk.resume().code == 0
    desk.check()


def test_the_key_is_nowhere(desk: Desk, leave) -> None:
    desk.server.faults.update({"expire": 1, "http_500": 1, "after_500": 1})
    said = []
    leave(2)
    said.append(desk.start())
    leave(0)
    desk.server.state.poor.add(KEY)
    said.append(desk.resume())
    desk.server.state.poor.clear()
    said.append(desk.resume())
    said.append(desk.command("batches", desk.run, "--json"))
    said.append(desk.command("batches", desk.run, "--cancel"))
    assert [done.code for done in said][-3:] == [0, 0, 0]
    assert not [done for done in said if KEY in done.out + done.err]
    files = [path for path in desk.run.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_deleted_answers_come_from_the_batches(desk: Desk) -> None:
    desk.server.faults.expire = 1
    assert desk.start().code == 0
    whole = sorted((desk.run / "completions.jsonl").read_text().splitlines())
    before = desk.calls
    (desk.run / "completions.jsonl").unlink()
    assert desk.resume().code == 0
    assert sorted((desk.run / "completions.jsonl").read_text().splitlines()) == whole
    assert set(desk.calls - before) <= {LIST}  # whether there are others: nothing is sent or downloaded
    desk.check()


@pytest.mark.parametrize("wait", [1, 2, 0])
def test_deleted_books_are_made_anew_from_the_provider(desk: Desk, leave, wait: int) -> None:
    leave(wait)
    assert desk.start().code == (130 if wait else 0)
    leave(0)
    shutil.rmtree(desk.run / "batches")
    (desk.run / "completions.jsonl").unlink()
    assert desk.resume().code == 0
    desk.check()
    assert desk.calls[MAKE] == 1


@pytest.mark.parametrize("wait", [1, 2, 0])
def test_books_with_a_torn_end(desk: Desk, leave, wait: int) -> None:
    leave(wait)
    assert desk.start().code == (130 if wait else 0)
    leave(0)
    ledger = desk.run / "batches" / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes()[:-9])
    (desk.run / "completions.jsonl").unlink()
    done = desk.resume()
    assert done.code == 0, done.err
    desk.check()
    assert desk.calls[MAKE] == 1


def test_a_damaged_line_of_the_books(desk: Desk) -> None:
    assert desk.start().code == 0
    ledger = desk.run / "batches" / "ledger.jsonl"
    ledger.write_bytes(b"{torn\n" + ledger.read_bytes())
    (desk.run / "completions.jsonl").unlink()
    assert "ledger.jsonl, line 1: damaged" in stopped(desk.resume())


def test_answers_that_are_lost_are_for_a_person(desk: Desk) -> None:
    """Nothing is paid again before somebody has given them up, and then had asked again what failed."""
    desk.server.faults.drop = 3
    said = stopped(desk.start())
    assert "done and billed, as the provider counts, and its files lack answers; 3 requests are not asked again" in said
    assert f"classify resume {desk.run} --give-up goes on without them" in said
    made = desk.calls[MAKE]
    assert stopped(desk.resume()) == said
    assert stopped(desk.resume("--retry-failed")) == said
    assert desk.calls[MAKE] == made
    (batch,) = json.loads(desk.command("batches", desk.run, "--json").out)["batches"]
    assert (batch["status"], batch["done"], batch["rows"]) == ("completed", ROWS - 3, ROWS)
    assert desk.resume("--give-up").code == 0
    assert (desk.manifest["asking"]["answers"], desk.manifest["asking"]["errors"]) == (ROWS - 3, 3)
    assert (desk.run / "predictions.jsonl").read_text().count('"failed"') == 3
    assert desk.calls[MAKE] == made
    assert desk.resume("--retry-failed").code == 0
    assert (desk.manifest["asking"]["answers"], desk.manifest["asking"]["errors"]) == (ROWS, 0)
    assert sorted(desk.server.state.processed().values()) == [1] * (ROWS - 3) + [2] * 3


@pytest.mark.parametrize(
    "name", ["x/../../../../E", "..", "/E", "E\x1b[2J\nclassify: all is well", "\ud83c", "E" * 5000]
)
def test_ids_from_outside_name_no_files(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whatever the provider calls a batch and its files: all that is written is in the run, and no sign steers."""
    state = desk.server.state
    real, made = state.new_id, iter(range(10**6))

    def new_id(prefix: str) -> str:
        return f"{name}{next(made)}" if prefix in ("batch_", "file-") else real(prefix)

    monkeypatch.setattr(state, "new_id", new_id)
    before = {path for path in tmp_path.rglob("*") if desk.run not in path.parents}
    done = desk.start()
    said = done.out + done.err
    assert "\x1b" not in said
    assert "all is well" not in [line.removeprefix("classify: ") for line in said.splitlines()]
    assert done.code in (0, 2), said
    outside = {path for path in tmp_path.rglob("*") if desk.run not in path.parents} - before - {desk.run}
    assert [path for path in outside if tmp_path / "server" not in path.parents] == []
    if done.code == 0:
        assert set(state.processed().values()) == {1}
        assert desk.command("batches", desk.run).code == 0


def test_questions_level_by_level_are_refused(desk: Desk, refused) -> None:
    begin = list(desk.begin)
    begin[begin.index("openai")] = "rag"
    at = begin.index("--model")
    begin[at : at + 2] = ["--engine", "batch", "--llm", "gpt-4o-mini", "--ask-by", "level", "--calibrate", 0]
    assert "a batch cannot do that" in stopped(desk.command(*begin))
    assert not desk.calls
