"""From prompts on one machine to a real Llama's answers on another: by resume, by a server, and by files."""

import json
import shutil
import subprocess
import sys

import pytest

from classify.asking import ANSWERS

pytestmark = pytest.mark.extras


@pytest.fixture(scope="module")
def written(shop, model, tiny_llama, tmp_path_factory):
    """A run whose requests are written, short enough for the tiny Llama by its own tokenizer."""
    from classify.job import Job
    from classify.model import describe
    from classify.run import Run
    from classify.strategies.rag_options import RagOptions

    given = {
        "candidates": 4,
        "top_k": 2,
        "max_prompt_tokens": 400,
        "tokenizer": str(tiny_llama.folder),
        "calibrate": 40,
    }
    options = RagOptions(**{**describe(model)["options"], **given}).model_dump()
    folder = tmp_path_factory.mktemp("written") / "run"
    Run.start(folder, Job("rag", "", shop.schema, options, 0, shop.known, model=model)).execute("requests")
    return folder


def answered(folder, lines) -> dict[str, str]:
    return {line["id"]: line["text"] for line in lines(folder / ANSWERS)}


def test_each_way_to_the_same_predictions(
    written, tiny_llama, vllm_settings, vllm_server, vllm_flags, shop, tmp_path, command, lines
) -> None:
    requests = lines(written / "requests.jsonl")
    ways = {name: shutil.copytree(written, tmp_path / name) for name in ("transformers", "vllm", "server", "batch")}
    llm = ["--llm", tiny_llama.folder]
    for name, more in {"transformers": llm, "vllm": llm, "server": ["--base-url", vllm_server]}.items():
        done = command("resume", ways[name], "--engine", name, *more)
        assert done.code == 0, done.err

    folder = ways["batch"]
    done = command("export", folder, "--format", "openai-batch", *llm, "--constrain", "choice")
    assert done.code == 0, done.err
    out = tmp_path / "output.jsonl"
    batch = [sys.executable, "-m", "vllm.entrypoints.openai.run_batch", "-i", folder / "export" / "requests-001.jsonl"]
    batch += ["-o", out, "--model", tiny_llama.folder, *vllm_flags]
    subprocess.run([str(part) for part in batch], check=True, capture_output=True)
    assert "130 answers taken, 0 errors; none is missing" in command("import", folder, out).out
    assert command("resume", folder).code == 0

    first = answered(ways["vllm"], lines)
    assert len(first) == 130
    for folder in ways.values():
        mine = answered(folder, lines)
        differ = [name for name in first if mine[name] != first[name]]
        assert len(differ) <= 1, differ  # sums differ in their last digits: a tie may fall either way
        rows = lines(folder / "predictions.jsonl")
        assert [row["indoml_id"] for row in rows] == shop.test.ids
        assert {row["status"] for row in rows} == {"exact"}
        for row, request in zip(rows, requests, strict=True):
            assert [row[level] for level in shop.schema.levels] in request["candidates"]
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["joint"]["rows"] == 40
        assert manifest["asking"]["prompt_tokens"] > 0
        assert manifest["reading"]["outside"] == 0
        assert max(line["prompt_tokens"] for line in lines(folder / ANSWERS)) <= 400


def test_level_by_level_with_a_real_model(shop, model, tiny_llama, vllm_settings, tmp_path, command, lines) -> None:
    done = command("--model", model, "--test", shop.known, "--run", tmp_path / "run", "--ask-by", "level",
                   "--top-k", 1, "--candidates", 4, "--calibrate", 0, "--limit", 20,
                   "--engine", "transformers", "--llm", tiny_llama.folder)  # fmt: skip
    assert done.code == 0, done.err
    requests = lines(tmp_path / "run" / "requests.jsonl")
    answers = answered(tmp_path / "run", lines)
    assert all(answers[request["id"]].split("__") in request["candidates"] for request in requests)


def test_free_answers_are_parsed_snapped_and_counted(
    written, tiny_llama, vllm_settings, tmp_path, command, lines
) -> None:
    folder = shutil.copytree(written, tmp_path / "run")
    done = command("resume", folder, "--engine", "transformers", "--llm", tiny_llama.folder, "--constrain", "off",
                   "--max-tokens", "12")  # fmt: skip
    assert done.code == 0, done.err
    for row, request in zip(lines(folder / "predictions.jsonl"), lines(folder / "requests.jsonl"), strict=True):
        assert list(row.values())[1:5] in request["candidates"]
