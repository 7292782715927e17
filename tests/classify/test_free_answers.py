"""Runs of a strategy whose requests name no candidates, and whose LLM is its own."""

import importlib.util
import json
import math
import shutil
import types
from typing import ClassVar

import pandas as pd
import pytest

import classify.registry
from catalog.errors import ShelfmarkError
from catalog.messages import Completion
from catalog.schema import Schema
from classify.asking import ANSWERS
from classify.engines.base import ModelOptions
from classify.held_out import HELD_OUT
from classify.job import Job
from classify.model import fit, load
from classify.registry import default_engine, engine_options
from classify.run import Run


@pytest.fixture
def oracle(shop, use_engine) -> type:
    """An engine that writes the right path as JSON, and now and then a wrong or a broken one, of which it is less sure.

    What it says of its sureness is far too low: 0.3 where it is right.
    """
    known = {
        text: dict(zip(shop.schema.levels, label, strict=True))
        for part in (shop.test, shop.train)
        for text, label in zip(part.texts, part.labels, strict=True)
    }

    class Oracle:
        name, deterministic, needs, options_class = "oracle", False, None, ModelOptions
        made: ClassVar[list] = []

        def __init__(self, options) -> None:
            self.options, self.report, self.form = options, {}, None
            Oracle.made.append(self)

        def complete(self, requests):
            for request in requests:
                text = json.loads(request.messages[0]["content"])["description"]
                right = json.dumps(known[text], ensure_ascii=False)
                kind = len(text) % 7
                if kind == 0:
                    wrong = json.dumps(dict(zip(shop.schema.levels, shop.train.labels[-1], strict=True)))
                    yield Completion(request.id, wrong, logprob=math.log(0.05))
                elif kind == 1:
                    yield Completion(request.id, right[:-2], logprob=math.log(0.3))  # cut
                elif kind == 2 and len(text) % 3 == 0:
                    yield Completion(request.id, "?" * 9, logprob=math.log(0.01))
                elif kind == 3 and len(text) % 3 == 0:
                    yield Completion(request.id, error="time out")
                else:
                    yield Completion(request.id, right, logprob=math.log(0.3))

    use_engine(Oracle)
    return Oracle


@pytest.fixture
def job(shop, writer):
    def make(engine: str = "server", **options) -> Job:
        given = writer.options_class(**options).model_dump()
        return Job("writer", engine, shop.schema, given, 0, shop.known, (shop.train_file,))

    return make


def test_free_answers_are_read_and_their_confidence_is_learned(job, shop, oracle, tmp_path, lines, command) -> None:
    run = Run.start(tmp_path / "run", job())
    run.execute()
    answers = {line["id"]: line for line in lines(tmp_path / "run" / ANSWERS)}
    assert len(answers) == 90 + 60
    rows = lines(tmp_path / "run" / "predictions.jsonl")
    statuses = {row["status"] for row in rows}
    assert statuses == {"exact", "repaired", "fallback", "failed"}
    for row, request in zip(rows, lines(tmp_path / "run" / "requests.jsonl"), strict=True):
        if row["status"] in ("fallback", "failed"):
            assert row["confidence"] == 0
        elif row["status"] == "exact" and answers[request["id"]]["logprob"] > math.log(0.2):
            assert row["confidence"] > 0.75  # not the 0.3 that the engine says
        elif row["status"] == "exact":
            assert row["confidence"] < 0.3
    trust = run.manifest["trust"]
    assert trust["rows"] <= 60
    assert trust["ece_after"] < 0.15 < trust["ece_before"]
    assert "joint" not in run.manifest
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["evaluation"]["ece"] < trust["ece_before"] / 2
    assert "what confidences are worth" in command("resume", tmp_path / "run").out


def test_without_held_out_rows_the_engine_s_sureness_stands(job, oracle, tmp_path, lines) -> None:
    run = Run.start(tmp_path / "run", job(calibrate=0))
    run.execute()
    assert "trust" not in run.manifest
    assert not (tmp_path / "run" / HELD_OUT).exists()
    exact = [row for row in lines(tmp_path / "run" / "predictions.jsonl") if row["status"] == "exact"]
    assert {row["confidence"] for row in exact} == {0.3, 0.05}


def test_the_engine_is_told_what_may_be_answered(job, oracle, shop, tmp_path) -> None:
    run = Run.start(tmp_path / "run", job())
    run.execute()
    form = oracle.made[-1].form
    assert all(form.write(path) in form.answers for path in run.taxonomy().paths)


def test_the_strategy_s_defaults_lie_under_what_the_user_says(job, oracle, shop, writer, tmp_path) -> None:
    files = ["--strategy", "writer", "--train", shop.train_file, "--test", shop.known, "--run", tmp_path / "run"]
    assert engine_options("vllm", {"max_tokens": 7}, "writer").model_dump()["max_tokens"] == 7
    run = Run.start(tmp_path / "run", job())
    assert run.manifest["engine_options"]["llm"] == ""
    assert run.manifest["engine_options"]["max_tokens"] == 120
    run.execute()
    again = Run.start(tmp_path / "run", job())  # the same job: nothing to complain of
    again.execute()
    again.execute(engine="server")
    assert files


def test_an_option_that_an_older_run_knew_nothing_of_is_no_other_job(job, oracle, tmp_path) -> None:
    run = Run.start(tmp_path / "run", job())
    run.execute()
    older = {name: value for name, value in run.manifest["engine_options"].items() if name != "seed"}
    run.record(engine_options=older)
    Run.start(tmp_path / "run", job())
    run.record(engine_options={**older, "temperature": 1.0})
    with pytest.raises(ShelfmarkError, match="temperature was"):
        Run.start(tmp_path / "run", job())


def test_the_llm_is_the_model_s_own(job, shop, oracle, tmp_path) -> None:
    Run.start(tmp_path / "run", job("transformers")).execute()
    assert oracle.made[-1].options.llm == str(tmp_path / "run" / "model" / "merged")
    folder = tmp_path / "model"
    fit(shop.train, strategy="writer").save(folder)
    other = Job("writer", "vllm", shop.schema, {"policy": "path", "calibrate": 0}, 0, shop.known, model=folder)
    Run.start(tmp_path / "other", other).execute()
    assert oracle.made[-1].options.llm == str(folder / "merged")
    Run.start(tmp_path / "server", job("server", calibrate=0)).execute()
    assert oracle.made[-1].options.llm == ""  # the server's first
    Run.start(tmp_path / "named", Job(**{**vars(job("vllm")), "engine_options": {"llm": "mine"}})).execute()
    assert oracle.made[-1].options.llm == "mine"
    load(folder).predict(shop.known, engine="vllm")
    assert oracle.made[-1].options.llm == str(folder / "merged")
    assert oracle.made[-1].form is not None
    with pytest.raises(ShelfmarkError, match="say with --llm"):
        fit(shop.train, strategy="writer").predict(shop.known, engine="vllm")


def test_where_the_model_is_not_here_its_llm_must_be_named(job, oracle, tmp_path, refused, command) -> None:
    Run.start(tmp_path / "run", job("transformers")).execute("requests")
    (tmp_path / "run" / "model" / "model.json").unlink()
    assert "say with --llm where its LLM is" in refused("resume", tmp_path / "run")
    assert command("resume", tmp_path / "run", "--llm", "there").code == 0
    assert oracle.made[-1].options.llm == "there"


def test_no_neighbours_can_vote(job, tmp_path) -> None:
    with pytest.raises(ShelfmarkError, match="--engine neighbours: the strategy writer has no neighbours"):
        Run.start(tmp_path / "run", job("neighbours")).execute()


@pytest.mark.parametrize(
    ("installed", "gpu", "engine"),
    [((), False, "transformers"), (("vllm", "torch"), False, "transformers"), (("vllm", "torch"), True, "vllm")],
)
def test_the_engine_is_the_best_that_is_here(writer, monkeypatch, installed, gpu: bool, engine: str) -> None:
    torch = types.SimpleNamespace(cuda=types.SimpleNamespace(is_available=lambda: gpu))
    real_find, real_import = importlib.util.find_spec, importlib.import_module

    def find_spec(name: str):
        return (name if name in installed else None) if name in ("vllm", "torch") else real_find(name)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    monkeypatch.setattr(
        classify.registry.importlib, "import_module", lambda name: torch if name == "torch" else real_import(name)
    )
    assert default_engine("writer") == engine
    assert (default_engine("rag"), default_engine("tree")) == ("neighbours", "")


def test_answers_come_back_in_files_with_their_probability(job, shop, oracle, command, tmp_path, lines) -> None:
    run = Run.start(tmp_path / "run", job())
    run.execute("requests")
    assert command("export", tmp_path / "run", "--format", "openai-batch", "--llm", "m").code == 0
    rows = lines(tmp_path / "run" / "export" / "requests-001.jsonl")
    assert rows[0]["body"]["logprobs"] is True
    assert "top_logprobs" not in rows[0]["body"]
    assert rows[0]["body"]["response_format"]["json_schema"]["schema"]["required"] == list(shop.schema.levels)
    text = json.dumps(dict(zip(shop.schema.levels, shop.train.labels[0], strict=True)))
    choice = {
        "message": {"content": text},
        "finish_reason": "stop",
        "logprobs": {"content": [{"token": text, "logprob": -0.5}]},
    }
    out = [{"custom_id": row["custom_id"], "response": {"body": {"choices": [choice]}}} for row in rows]
    (tmp_path / "out.jsonl").write_text("".join(json.dumps(line) + "\n" for line in out))
    assert "none is missing" in command("import", tmp_path / "run", tmp_path / "out.jsonl").out
    assert {line["logprob"] for line in lines(tmp_path / "run" / ANSWERS)} == {-0.5}


@pytest.mark.extras
def test_a_real_llm_of_the_model_s_own(tiny_writer, writer, tmp_path, lines) -> None:
    schema = Schema("shelves", "id", ("description",), ("department", "shelf", "product"))
    rows = [
        {"id": at, **json.loads(request.messages[0]["content"]), **json.loads(answer)}
        for at, (request, answer) in enumerate(zip(tiny_writer.requests, tiny_writer.answers, strict=True))
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "train.csv", index=False)
    pd.DataFrame(rows[40:]).to_csv(tmp_path / "test.csv", index=False)
    model = tmp_path / "model"
    fit(tmp_path / "train.csv", strategy="writer", schema=schema).save(model)
    shutil.copytree(tiny_writer.folder, model / "merged")
    options = writer.options_class(calibrate=40).model_dump()
    run = Run.start(
        tmp_path / "run", Job("writer", "transformers", schema, options, 0, tmp_path / "test.csv", model=model)
    )
    run.execute()
    assert run.manifest["asking"]["model"] == str(model / "merged")
    assert run.manifest["trust"]["rows"] == 40  # each held to a valid path: none is of no use
    told = lines(tmp_path / "run" / "predictions.jsonl")
    assert {row["status"] for row in told} == {"exact"}
    right = [all(row[level] == rows[row["id"]][level] for level in schema.levels) for row in told]
    assert sum(right) >= len(told) / 2
