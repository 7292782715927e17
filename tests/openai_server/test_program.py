"""The server as a program."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.openai_server.asking import client_of, request, run

ROOT = Path(__file__).parents[2]


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.openai_server", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps({"red shoe": "shoes > red"}))
    arguments = ("--folder", tmp_path / "files", "--key", "sk-mine", "--answers", answers, "--steps", 1)
    with start(*arguments, "--faults", '{"expire": 1}') as program:
        assert program.stdout is not None
        line = program.stdout.readline()
        url = line.split()[0]
        assert line.endswith(f"export OPENAI_BASE_URL={url} OPENAI_API_KEY=sk-mine\n")
        client = client_of(url, "sk-mine")
        assert client.chat.completions.create(**request()).choices[0].message.content == "shoes > red"
        assert client.chat.completions.create(**request("?")).choices[0].message.content == "?"
        assert [run(client).status for _ in range(2)] == ["expired", "completed"]
        assert any((tmp_path / "files").iterdir())
        program.send_signal(number)
        out, errors = program.communicate(timeout=60)
    assert (program.returncode, out, errors) == (0, "", "")


def test_it_explains_itself() -> None:
    with start("--help") as program:
        assert "/control/faults" in program.communicate(timeout=60)[0]
    with start("--faults", '{"nothing": 1}') as program:
        assert "no such fault: nothing" in program.communicate(timeout=60)[1]
    assert program.returncode == 2
