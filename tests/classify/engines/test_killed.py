"""A run whose requests a server answers, killed in the middle."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from classify.asking import ANSWERS, ASKED

STOP = 35
"""The server answers so many requests, and hangs on all others."""


@pytest.mark.parametrize("constrain", ["choice", "json"])
def test_nothing_recorded_is_lost_or_asked_again(loopback, shop, model, tmp_path, command, lines, constrain) -> None:
    folder = tmp_path / "run"

    def first(body) -> str:
        if constrain == "json":
            labels = body["response_format"]["json_schema"]["schema"]["properties"]["label"]["enum"]
            return '{"label": "' + labels[0] + '"}'
        return body["structured_outputs"]["choice"][0]

    def script(number, body):
        return loopback.reply(value=loopback.answer(first(body)), hang=number > STOP)

    loopback.script = script
    arguments = ["--model", model, "--test", shop.known, "--run", folder, "--engine", "server", "--calibrate", "0",
                 "--base-url", loopback.url, "--concurrency", "8", "--constrain", constrain]  # fmt: skip
    with subprocess.Popen([sys.executable, "-m", "classify.cli", *map(str, arguments)]) as process:
        while not (folder / ANSWERS).exists() or len(lines(folder / ANSWERS)) < STOP:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    recorded = lines(folder / ANSWERS)
    in_flight = set(lines(folder / ASKED)) - {line["id"] for line in recorded}
    assert 0 < len(in_flight) <= 8

    loopback.script = lambda number, body: loopback.reply(value=loopback.answer(first(body)))
    sent = len(loopback.bodies)
    done = command("resume", folder)
    assert done.code == 0, done.err
    assert f"{len(in_flight)} that were in flight when a process ended" in done.out
    assert lines(folder / ANSWERS)[:STOP] == recorded
    assert len(loopback.bodies) == sent + 90 - STOP
    again = Counter(lines(folder / ASKED))
    assert {name for name, times in again.items() if times > 1} == in_flight
    assert len(lines(folder / "predictions.jsonl")) == 90


def test_stumbles_on_the_way_change_no_prediction(loopback, shop, model, tmp_path, command, monkeypatch) -> None:
    from classify.engines.server import ServerEngine

    async def at_once(seconds: float) -> None:
        del seconds

    monkeypatch.setattr(ServerEngine, "sleep", staticmethod(at_once))
    reply, answer = loopback.reply, loopback.answer

    def good(number, body):
        return reply(value=answer(body["structured_outputs"]["choice"][0]))

    stumbles = {
        1: reply(status=429, value={}, headers={"Retry-After": "3"}),
        2: reply(status=429, value={}),
        3: reply(status=500, content=b"<html>"),
        4: reply(reset=True),
        5: reply(content=b'{"choices": [{"mess', headers={"Content-Length": "19"}),
        6: reply(value={"choices": []}),
        7: reply(status=503, value={}),
    }

    def script(number, body):
        return stumbles.get(number % 10) or good(number, body)

    files = ["--model", model, "--test", shop.known, "--engine", "server", "--base-url", loopback.url,
             "--calibrate", "0", "--retries", "50"]  # fmt: skip
    loopback.script = good
    assert command(*files, "--run", tmp_path / "smooth").code == 0
    loopback.script = script
    done = command(*files, "--run", tmp_path / "rough", "--timeout", "5")
    assert done.code == 0, done.err
    smooth, rough = ((tmp_path / name / "predictions.jsonl").read_bytes() for name in ("smooth", "rough"))
    assert rough == smooth


def test_the_key_reaches_no_file(loopback, shop, model, tmp_path, command, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    loopback.script = lambda number, body: loopback.reply(
        status=400 if number % 3 else 200,
        value={"error": {"message": "wrong key sk-very-secret"}} if number % 3 else loopback.answer("x"),
    )
    done = command("--model", model, "--test", shop.known, "--run", tmp_path / "run", "--engine", "server",
                   "--base-url", loopback.url, "--calibrate", "0", "--retries", "0")  # fmt: skip
    assert "sk-very-secret" not in done.out + done.err
    assert any("authorization: bearer sk-very-secret" in head.lower() for head in loopback.headers)
    for file in (tmp_path / "run").rglob("*"):
        assert not file.is_file() or b"sk-very-secret" not in file.read_bytes()
    assert os.environ["OPENAI_API_KEY"] == "sk-very-secret"
