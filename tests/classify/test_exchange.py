"""Requests out to files, answers back in."""

import json
import random
from pathlib import Path

import pytest

import classify.exchange
from classify.asking import ANSWERS
from classify.held_out import HELD_OUT


@pytest.fixture
def run(command, shop, model, tmp_path) -> Path:
    """A run whose requests are written, no more."""
    folder = tmp_path / "run"
    files = ["--model", model, "--test", shop.known, "--run", folder]
    assert command(*files, "--until", "requests", "--calibrate", 40).code == 0
    return folder


def exported(run: Path) -> list[dict]:
    return [json.loads(text) for file in sorted((run / "export").glob("*.jsonl")) for text in file.open()]


def answered(line: dict, *, label: str | None = None) -> dict:
    """What a batch gives back for a request: the first candidate."""
    labels = line["body"]["response_format"]["json_schema"]["schema"]["properties"]["label"]["enum"]
    content = json.dumps({"label": label or labels[0]})
    body = {
        "choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 50, "completion_tokens": 5},
    }
    return {"id": "r", "custom_id": line["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}


def failed(line: dict) -> dict:
    error = {"code": "batch_expired", "message": "too late"}
    return {"id": "r", "custom_id": line["custom_id"], "response": None, "error": error}


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_there_and_back(run, shop, command, lines, tmp_path) -> None:
    done = command("export", run, "--format", "openai-batch", "--llm", "gpt-4o-mini")
    assert done.code == 0, done.err
    rows = exported(run)
    assert len(rows) == 90 + 40
    assert {row["url"] for row in rows} == {"/v1/chat/completions"}
    assert {row["method"] for row in rows} == {"POST"}
    assert {row["body"]["model"] for row in rows} == {"gpt-4o-mini"}
    assert len({row["custom_id"] for row in rows}) == len(rows)
    assert "structured_outputs" not in rows[0]["body"]  # which OpenAI would refuse

    outputs = [answered(row) for row in rows]
    random.Random(0).shuffle(outputs)
    half = [*outputs[:60], outputs[3], {**outputs[4], "custom_id": "another-run"}]
    done = command("import", run, write(tmp_path / "a.jsonl", half))
    assert done.code == 0, done.err
    assert "60 answers taken, 0 errors; 1 of other runs; 1 given twice; 70 requests have no answer yet" in done.out

    done = command("resume", run)
    assert done.code == 2
    assert "70 requests have no answer yet; classify export" in done.err
    command("export", run, "--format", "openai-batch", "--llm", "gpt-4o-mini")
    assert {row["custom_id"] for row in exported(run)} == {row["custom_id"] for row in outputs[60:]}

    errors = write(tmp_path / "errors.jsonl", [failed(row) for row in rows[:2]])
    rest = write(tmp_path / "b.jsonl", outputs[50:])
    done = command("import", run, errors, rest)
    assert "none is missing" in done.out
    assert command("resume", run).code == 0
    found = lines(run / "predictions.jsonl")
    assert [row["indoml_id"] for row in found] == shop.test.ids
    assert {row["status"] for row in found} == {"exact"}
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["engine"] == "import"
    assert manifest["joint"]["rows"] == 40
    assert manifest["asking"]["prompt_tokens"] >= 50 * 130


def test_errors_are_recorded_and_exported_again(run, command, lines, tmp_path) -> None:
    command("export", run, "--format", "openai-batch", "--llm", "m")
    rows = exported(run)
    outputs = [failed(row) if at % 10 == 0 else answered(row) for at, row in enumerate(rows)]
    done = command("import", run, write(tmp_path / "a.jsonl", outputs))
    assert "117 answers taken, 13 errors" in done.out
    assert command("resume", run).code == 0
    statuses = [row["status"] for row in lines(run / "predictions.jsonl")]
    assert statuses.count("failed") == 9
    command("export", run, "--format", "openai-batch", "--llm", "m")
    again = exported(run)
    assert [row["custom_id"] for row in again] == [row["custom_id"] for row in rows[::10]]
    command("import", run, write(tmp_path / "b.jsonl", [answered(row) for row in again]))
    assert command("resume", run).code == 0
    assert "failed" not in [row["status"] for row in lines(run / "predictions.jsonl")]


def test_nothing_is_asked_of_who_gives_up(run, command, lines, tmp_path) -> None:
    command("export", run, "--format", "openai-batch", "--llm", "m")
    rows = [row for row in exported(run) if not row["custom_id"].startswith("held")]
    command("import", run, write(tmp_path / "a.jsonl", [answered(row) for row in rows[:50]]))
    assert command("resume", run, "--give-up").code == 0
    statuses = [row["status"] for row in lines(run / "predictions.jsonl")]
    assert (statuses.count("exact"), statuses.count("failed")) == (50, 40)


def test_files_keep_to_the_limits(run, command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classify.exchange, "MOST_ROWS", 50)
    done = command("export", run, "--format", "openai-batch", "--llm", "m")
    assert [line.rpartition(": ")[2] for line in done.out.splitlines()[:3]] == [
        "50 requests",
        "50 requests",
        "30 requests",
    ]
    rows = exported(run)
    monkeypatch.setattr(classify.exchange, "MOST_BYTES", 20_000)
    command("export", run, "--format", "openai-batch", "--llm", "m")
    assert exported(run) == rows
    sizes = [file.stat().st_size for file in (run / "export").iterdir()]
    assert max(sizes) <= 20_000
    assert len(sizes) > 3
    monkeypatch.undo()
    command("export", run, "--format", "openai-batch", "--llm", "m")
    assert [file.name for file in (run / "export").iterdir()] == ["requests-001.jsonl"]


def test_vllm_s_own_constraint_on_request(run, command) -> None:
    command("export", run, "--format", "openai-batch", "--llm", "m", "--constrain", "choice")
    row = exported(run)[0]
    assert row["body"]["structured_outputs"]["choice"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"custom_id": "1-a", "resp', "a.jsonl, line 1: not JSON"),
        ('{"x": 1}\n', "a.jsonl, line 1: not a batch's output"),
        ("[]\n", "a.jsonl, line 1: not a batch's output"),
        ('\n{"custom_id": "1-a", "response": null, "error": null}\n', "nothing in the files answers"),
        ("", "nothing in the files answers"),
        (b"\xff\xfe", "UTF-16"),
        (b"\x80", "not UTF-8"),
    ],
)
def test_files_that_are_none(run, refused, tmp_path, content, message: str) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert message in refused("import", run, file)
    assert not (run / ANSWERS).exists()


def test_one_damaged_file_of_two_records_nothing(run, command, refused, tmp_path) -> None:
    command("export", run, "--format", "openai-batch", "--llm", "m")
    good = write(tmp_path / "good.jsonl", [answered(row) for row in exported(run)])
    bad = tmp_path / "bad.jsonl"
    bad.write_text(good.read_text()[:-20])
    assert "bad.jsonl, line 130: not JSON" in refused("import", run, good, bad)
    assert "no such file" in refused("import", run, good, tmp_path / "none")
    assert not (run / ANSWERS).exists()


def test_what_cannot_be_done(run, finished, command, refused, tmp_path) -> None:
    assert "--llm NAME" in refused("export", run, "--format", "openai-batch")
    assert "did you mean 'openai-batch'" in refused("export", run, "--format", "openai-batches", "--llm", "m")
    assert "every request has an answer" in refused("export", finished, "--format", "openai-batch", "--llm", "m")
    assert "the retriever has answered" in refused("import", finished, tmp_path / "x")
    notes = run / "export" / "requests-notes.jsonl"
    notes.parent.mkdir()
    notes.write_text("mine")
    assert command("export", run, "--format", "openai-batch", "--llm", "m").code == 0
    assert notes.read_text() == "mine"
    assert (run / HELD_OUT).exists()


@pytest.mark.parametrize("status", [None, "200", 500])
def test_odd_statuses(run, command, lines, tmp_path, status) -> None:
    command("export", run, "--format", "openai-batch", "--llm", "m")
    rows = [answered(row) for row in exported(run)]
    rows[0]["response"] = {"status_code": status, "body": {}}
    rows[1]["response"] = {"status_code": status, "body": None}
    assert "128 answers taken, 2 errors" in command("import", run, write(tmp_path / "a.jsonl", rows)).out


def test_files_may_fill_what_an_engine_failed_at(run, command, lines, tmp_path, use_engine) -> None:
    from catalog.messages import Completion
    from classify.engines.base import ModelOptions

    class Flaky:
        name, deterministic, needs, options_class = "flaky", False, None, ModelOptions

        def __init__(self, options) -> None:
            self.report = {}

        def complete(self, requests):
            for number, request in enumerate(requests):
                if number % 10:
                    yield Completion(request.id, "__".join(request.candidates[0]))
                else:
                    yield Completion(request.id, error="time out")

    use_engine(Flaky)
    assert command("resume", run, "--engine", "server").code == 0
    assert command("export", run, "--format", "openai-batch", "--llm", "m").code == 0
    rows = exported(run)
    assert len(rows) == 13
    assert (
        "13 answers taken" in command("import", run, write(tmp_path / "a.jsonl", [answered(row) for row in rows])).out
    )
    assert command("resume", run).code == 0
    assert "failed" not in [row["status"] for row in lines(run / "predictions.jsonl")]
    assert json.loads((run / "manifest.json").read_text())["engine"] == "server"


def test_what_files_cannot_do_is_said(run, command, refused, tmp_path) -> None:
    command("export", run, "--format", "openai-batch", "--llm", "m")
    command("import", run, write(tmp_path / "a.jsonl", [answered(row) for row in exported(run)]))
    assert "its answers came in files; classify export" in refused("resume", run, "--retry-failed")
    assert "say which --engine" in refused("resume", run, "--llm", "x")


def test_levels_cannot_be_asked_in_a_file(shop, model, command, refused, tmp_path) -> None:
    folder = tmp_path / "levels"
    command("--model", model, "--test", shop.known, "--run", folder, "--ask-by", "level", "--until", "requests")
    assert "--ask-by level" in refused("export", folder, "--format", "openai-batch", "--llm", "m")
