"""A thousand combinations of what goes wrong at a provider: in batches, in chat, and both with odd answers.

Batches are driven to their end by `tests.openai_server.driving`, which checks the books against the server's bills. A
third of all combinations are its own faults; the others have answers that are odd besides, see `odd`.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from time import monotonic
from typing import Any
from unittest.mock import patch

from benchmarks.chaos.findings import Failure, Goal, Outcome, Row
from benchmarks.chaos.odd import odd_server, random_oddity

PART = "provider"
ALL = 1000
ROWS = 24
KINDS = ("batch", "batch, odd", "chat, odd")
LONGEST = 60.0
STEADY = 40
"""So often a chat engine is begun again."""


class _TooLongError(Exception):
    """A combination hangs."""


def _alarm(number: int, frame: Any) -> None:
    del number, frame
    raise _TooLongError


def one_seed(seed: int) -> Outcome:
    """Carry one combination out."""
    import signal

    from classify.engines import retry

    retry.FIRST_WAIT = 0.0
    kind = KINDS[seed % len(KINDS)]
    outcome = Outcome(kind)
    written: list[str] = []
    faults: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="chaos-case-") as temporary, ExitStack() as stack:
        folder = Path(temporary) / "run"
        folder.mkdir()
        stack.enter_context(_watched(Path(temporary), written))
        signal.signal(signal.SIGALRM, _alarm)
        signal.setitimer(signal.ITIMER_REAL, LONGEST)
        goal, what, detail = Goal.OTHER, "", ""
        try:
            if kind == "chat, odd":
                what = _chat(seed, folder, faults, outcome.notes)
            else:
                _batch(seed, folder, faults, outcome.notes, odd="odd" in kind)
        except _TooLongError:
            goal, what, detail = Goal.HANG, f"not done in {LONGEST:.0f} s", traceback.format_exc()
        except AssertionError as error:
            what, detail = str(error).split("\n")[0][:200] or "an assertion", traceback.format_exc()
            goal = Goal.PAID if "paid" in what or "asks again" in what or "times" in what else Goal.LOST
            if what.startswith("sends to another host"):
                goal = Goal.OUTSIDE
        except Exception as error:
            goal, what, detail = Goal.ABORT, f"{type(error).__name__}: {str(error)[:200]}", traceback.format_exc()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if what:
            command = f"seed {seed}: {json.dumps(faults, default=str)[:400]}"
            outcome.failures.append(Failure(PART, goal, what, f"{kind}, seed {seed}", command, detail))
        if written:
            outcome.failures.append(Failure(PART, Goal.OUTSIDE, f"writes {written[:3]}", f"{kind}, seed {seed}"))
    return outcome


_WATCH: dict[str, Any] = {}


def _watched(place: Path, written: list[str]) -> ExitStack:
    """Note what is written outside a folder while the block runs."""
    stack = ExitStack()
    if not _WATCH:
        sys.addaudithook(_audit)
    _WATCH.update(place=str(place), written=written)
    stack.callback(_WATCH.update, place="", written=[])
    return stack


def _audit(what: str, given: tuple[Any, ...]) -> None:
    place = _WATCH.get("place")
    if not place or what != "open" or not isinstance(given[0], str | bytes) or not isinstance(given[2], int):
        return
    if given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        name = os.path.realpath(os.fsdecode(given[0]))
        mine = name.startswith((place, "/dev/", "/proc/")) or "openai-server-" in name
        if not mine:
            _WATCH["written"].append(name)


def _batch(seed: int, folder: Path, faults: dict[str, Any], notes: Counter[str], *, odd: bool) -> None:
    """Drive the batch engine through faults; an assertion tells what does not hold."""
    from tests.openai_server import driving

    chosen = driving.random_faults(seed)
    faults.update(chosen)
    if not odd:
        done = driving.drive(seed, rows=ROWS, folder=folder / "batches")
        notes["begun again by a person"] += bool(done.stops)
        return
    strange = random_oddity(seed)
    faults["odd"] = {name: value for name, value in asdict(strange).items() if value and name != "hit"}
    # What the server does not tell truly, nobody can book truly.
    with ExitStack() as stack:
        if strange.usage or strange.body:
            stack.enter_context(patch.object(driving, "check_costs"))
        settings = {"refuses": {driving.REFUSED}, "filters": {driving.FILTERED}}
        server, stranger = stack.enter_context(odd_server(strange, **settings))
        try:
            done = driving.drive(seed, chosen, rows=ROWS, folder=folder / "batches", server=server)
        finally:
            _check_stranger(stranger.calls)  # it may be why the rest goes wrong
    notes["begun again by a person"] += bool(done.stops)
    notes["odd answers"] += strange.hit.total()


def _check_stranger(calls: list[str]) -> None:
    assert not calls, f"sends to another host {calls[0]}"


def _chat(seed: int, folder: Path, faults: dict[str, Any], notes: Counter[str]) -> str:
    """Have the server engine answer, begun again as often as it stops, and check the answers and the bills."""
    from catalog.errors import ShelfmarkError
    from classify.asking import ANSWERS, ask
    from classify.engines.server import ServerEngine, ServerOptions
    from classify.progress import silent
    from tests.openai_server.driving import CHANCES, at_once, some_requests

    draw = random.Random(f"chat {seed}")
    names = [name for name in sorted(CHANCES) if name.startswith(("http_", "after_"))]
    faults.update({name: draw.choice(CHANCES[name]) for name in draw.sample(names, draw.randint(0, 3))}, seed=seed)
    strange = random_oddity(seed)
    shown = {name: value for name, value in asdict(strange).items() if value and name != "hit"}
    requests = some_requests(ROWS)
    (folder / "requests.jsonl").write_text("".join(json.dumps(one.to_dict()) + "\n" for one in requests))

    async def at_last(seconds: float) -> None:
        del seconds

    with (
        odd_server(strange) as (server, stranger),
        at_once(),
        patch.object(ServerEngine, "sleep", staticmethod(at_last)),
    ):
        server.faults.update(faults)
        faults["odd"] = shown
        stops: list[str] = []
        for _ in range(STEADY):
            options = ServerOptions(
                llm="gpt-4o-mini", base_url=server.url, concurrency=4, timeout=5, retries=4, constrain="off"
            )
            try:
                ask(folder, ServerEngine(options), [folder / "requests.jsonl"], progress=silent)
                break
            except ShelfmarkError as stop:
                stops.append(str(stop))
        else:
            return f"stops again and again: {stops[-1][:200]}"
        lines = [json.loads(line) for line in (folder / ANSWERS).read_text().split("\n")[:-1]]
        times = Counter(line["id"] for line in lines)
        assert set(times) == {one.id for one in requests}, f"{len(requests) - len(times)} requests have no answer"
        assert max(times.values()) == 1, "an answer stands there twice"
        for line in lines:
            for name in ("prompt_tokens", "completion_tokens"):
                whole = type(line[name]) is int and 0 <= line[name] < 2**53
                assert whole, f"books {line[name]!r} {name}"
        _check_stranger(stranger.calls)
        calls = server.state.calls["POST /v1/chat/completions"]
        failed = sum(server.state.calls.values()) - ROWS + strange.hit.total() + len(stops) * 8
        bills = len(server.state.ledger)
        assert bills <= ROWS + failed, f"{bills} bills of {ROWS} requests by {calls} calls: paid twice"
    notes["begun again by a person"] += bool(stops)
    notes["odd answers"] += strange.hit.total()
    return ""


def provider(scale: float, seed: int, processes: int, only: Collection[str] = ()) -> list[Row]:
    """Carry the part out."""
    count = max(round(ALL * scale), 1)
    rows = {kind: Row(f"provider's faults: {kind}") for kind in KINDS}
    told = monotonic()
    first = seed * ALL
    seeds = [one for one in range(first, first + count) if not only or str(one) in only]
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        for number, outcome in enumerate(pool.map(one_seed, seeds, chunksize=4), start=1):
            rows[outcome.row].add(outcome)
            for failure in outcome.failures:
                print(failure.told(), flush=True)
            if monotonic() - told > 30:
                told = monotonic()
                print(f"  {PART}: {number:,} of {len(seeds):,}", flush=True)
    return list(rows.values())
