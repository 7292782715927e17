"""The engine vllm, on a CPU build of vLLM and a tiny Llama; and vLLM's own server and batch command with the same."""

import json
import math
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from catalog.errors import ShelfmarkError
from catalog.messages import Completion, Request
from catalog.taxonomy import Taxonomy
from classify.engines.base import ModelOptions
from classify.engines.constraints import answers, choices, messages
from classify.engines.forms import AnswerForm
from classify.engines.transformers import TransformersEngine, TransformersOptions
from classify.engines.vllm import VllmEngine, VllmOptions

pytestmark = pytest.mark.extras


class Asker:
    """One vLLM for all tests: its start takes half a minute, and two do not fit into one process."""

    def __init__(self, folder: Path) -> None:
        self.engine = VllmEngine(VllmOptions(llm=str(folder), dtype="float32"))

    def lazily(self, requests: Iterable[Request], **options) -> Iterator[Completion]:
        self.engine.options = VllmOptions(llm=self.engine.options.llm, dtype="float32", **options)
        return self.engine.complete(requests)

    def __call__(self, requests: list[Request], **options) -> dict[str, Completion]:
        done = list(self.lazily(requests, **options))
        assert sorted(one.id for one in done) == sorted(request.id for request in requests)
        return {one.id: one for one in done}


@pytest.fixture(scope="module")
def ask(tiny_llama, vllm_settings) -> Asker:
    return Asker(tiny_llama.folder)


@pytest.mark.parametrize("constrain", ["choice", "json", "off"])
def test_it_answers_as_transformers_does(tiny_llama, ask: Asker, constrain: str):
    requests = tiny_llama.requests
    ours = ask(requests, constrain=constrain)
    plain = TransformersOptions(llm=str(tiny_llama.folder), constrain=constrain, batch_size=32)
    theirs = {one.id: one for one in TransformersEngine(plain).complete(requests)}
    same = [name for name, one in theirs.items() if ours[name].text == one.text]
    # What the grammar forces at once (the start of an object), vLLM's grammar writes in the tokenizer's own cut alone,
    # where any cut is allowed elsewhere: what follows may differ where the model hardly prefers one candidate.
    # Elsewhere a tie may fall either way, for sums differ in their last digits.
    assert len(same) >= (0.97 if constrain == "json" else 0.99) * len(requests)
    for name in same:
        one, other = ours[name], theirs[name]
        assert one.prompt_tokens == other.prompt_tokens
        assert [math.exp(value) for value in one.logprobs or []] == pytest.approx(
            [math.exp(value) for value in other.logprobs or []], abs=0.02 if constrain == "json" else 0.005
        )
    right = sum(
        ours[request.id].text in (label, json.dumps({"label": label}, ensure_ascii=False))
        for request, label in zip(requests, tiny_llama.labels, strict=True)
    )
    assert constrain == "off" or right > 0.5 * len(requests)


@pytest.mark.parametrize("constrain", ["choice", "json"])
@pytest.mark.parametrize("temperature", [0.0, 2.0])
def test_a_constrained_answer_is_a_candidate(tiny_llama, ask: Asker, constrain: str, temperature: float):
    paths = [("œuvres", "žluťoučký kůň"), ("œuvres", "žluťoučký kůň úpěl"), ("日本", '🧂"🧂'), ("日本", "🧈\\n")]
    requests = tiny_llama.requests[:20]
    requests += [replace(one, id=f"hard-{one.id}", candidates=paths, scores=[0.25] * 4) for one in requests]
    done = ask(requests, constrain=constrain, temperature=temperature)
    for request in requests:
        one = done[request.id]
        assert one.text in answers(request, constrain)
        assert sum(map(math.exp, one.logprobs or [])) == pytest.approx(1, abs=1e-4)


def test_draws_differ_by_seed_alone(tiny_llama, ask: Asker):
    requests = [replace(request, candidates=[], scores=[]) for request in tiny_llama.requests[:16]]
    texts = [{name: one.text for name, one in ask(requests, temperature=1.5, seed=seed).items()} for seed in (1, 1, 2)]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


@pytest.fixture(scope="module")
def shelves(tiny_llama) -> AnswerForm:
    """The label paths that the tiny Llama knows, as it writes them where it is not asked for JSON."""
    paths = {path for request in tiny_llama.requests for path in request.candidates}
    return AnswerForm(Taxonomy(("department", "shelf", "product"), dict.fromkeys(paths, 1)), "path", "joined")


def freely(tiny_llama, rows: int = 40) -> list[Request]:
    """Ask half as the model learned it, and half for what it knows nothing of."""
    plain = [replace(request, candidates=[], scores=[]) for request in tiny_llama.requests[:rows]]
    odd = [replace(one, id=f"odd-{one.id}", messages=[{"role": "user", "content": one.id}]) for one in plain]
    return plain + odd


@pytest.mark.parametrize("temperature", [0.0, 2.0])
def test_without_candidates_an_answer_is_a_valid_path(
    tiny_llama, ask: Asker, shelves: AnswerForm, monkeypatch: pytest.MonkeyPatch, temperature: float
):
    requests = freely(tiny_llama)
    free = ask(requests, constrain="off", temperature=temperature)
    monkeypatch.setattr(ask.engine, "form", shelves)
    ask.engine.report.pop("held to paths", None)
    done = ask(requests, temperature=temperature)
    assert all(one.text in shelves.answers for one in done.values())
    again = ask.engine.report["held to paths"]
    assert 0 < again < len(requests)
    assert again == sum(one.text not in shelves.answers for one in free.values())
    for name, one in free.items():
        if one.text in shelves.answers:  # it is kept
            assert done[name] == replace(one, logprob=done[name].logprob)
            assert done[name].logprob == pytest.approx(one.logprob, abs=0.01)
        else:
            assert done[name].completion_tokens > one.completion_tokens  # both count


def test_without_candidates_it_answers_as_transformers_does(
    tiny_llama, ask: Asker, shelves: AnswerForm, monkeypatch: pytest.MonkeyPatch
):
    requests = freely(tiny_llama)
    monkeypatch.setattr(ask.engine, "form", shelves)
    ours = ask(requests)
    other = TransformersEngine(TransformersOptions(llm=str(tiny_llama.folder), batch_size=32))
    other.form = shelves
    theirs = {one.id: one for one in other.complete(requests)}
    same = [name for name, one in theirs.items() if ours[name].text == one.text]
    assert len(same) >= 0.95 * len(requests)  # a forced beginning is cut into tokens as the tokenizer does it
    kept = [name for name in same if not name.startswith("odd")]
    assert sum(abs(ours[name].logprob - theirs[name].logprob) < 0.02 for name in kept) >= 0.9 * len(kept)


def test_a_schema_holds_levels_with_few_values(
    tiny_llama, ask: Asker, shelves: AnswerForm, monkeypatch: pytest.MonkeyPatch
):
    paths = {path for request in tiny_llama.requests for path in request.candidates}
    form = AnswerForm(Taxonomy(("department", "shelf", "product"), dict.fromkeys(paths, 1)), "path", "json")
    monkeypatch.setattr(ask.engine, "form", form)
    for one in ask(freely(tiny_llama, 6), constrain="json", max_tokens=200).values():
        value = json.loads(one.text)
        assert list(value) == ["department", "shelf", "product"]
        assert value["department"] in {path[0] for path in paths}


def test_limits_are_kept_and_a_prompt_that_is_too_long_is_an_error(tiny_llama, ask: Asker):
    request = tiny_llama.requests[0]
    long = replace(request, id="long", messages=[{"role": "user", "content": "milk " * 2000}])
    done = ask([long, replace(request, max_tokens=2)])
    assert "reads 512" in (done["long"].error or "")
    assert done[request.id].completion_tokens == 2
    assert ask([request], max_tokens=3)[request.id].completion_tokens == 3


def test_answers_come_while_requests_wait(tiny_llama, ask: Asker, monkeypatch: pytest.MonkeyPatch):
    ask(tiny_llama.requests[:1])
    assert ask.engine._room >= 4  # by default several times what vLLM answers at once
    monkeypatch.setattr(ask.engine, "_room", 4)
    drawn = count()
    done = ask.lazily(request for request in tiny_llama.requests if next(drawn) >= 0)
    next(done)
    assert next(drawn) <= 8
    done.close()  # what is under way is taken back
    assert not ask.engine._engine.has_unfinished_requests()


def test_a_model_that_is_not_there_is_one_line(vllm_settings, capfd: pytest.CaptureFixture[str]):
    with pytest.raises(ShelfmarkError) as error:
        list(VllmEngine(VllmOptions(llm="/no/such/folder")).complete([Request("1", [])]))
    assert str(error.value).startswith("--llm /no/such/folder: cannot be loaded")
    assert "\n" not in str(error.value)
    assert "INFO" not in "".join(capfd.readouterr())


def test_without_a_gpu_it_says_what_else_there_is(vllm_settings, monkeypatch: pytest.MonkeyPatch):
    import vllm.platforms

    monkeypatch.setattr(vllm.platforms, "current_platform", vllm.platforms.interface.UnspecifiedPlatform())
    with pytest.raises(ShelfmarkError, match=r"finds no GPU here.*--engine transformers"):
        list(VllmEngine(VllmOptions()).complete([Request("1", [])]))


def test_it_reports_what_answered(tiny_llama, ask: Asker):
    ask(tiny_llama.requests[:1])
    assert ask.engine.report["model"] == str(tiny_llama.folder)
    assert ask.engine.report["vllm"].startswith("0.")
    assert ask.engine.report["quantization"] == "none"


def body(request: Request, **more) -> dict:
    return {"model": "tiny", "messages": request.messages, "max_tokens": 160, "temperature": 0, **more}


def schema(request: Request) -> dict:
    value = {"type": "object", "properties": {"label": {"enum": choices(request)}}, "required": ["label"]}
    return {"type": "json_schema", "json_schema": {"name": "label", "schema": {**value, "additionalProperties": False}}}


def test_the_server_keeps_to_candidates(tiny_llama, vllm_server: str):
    def post(asked: dict) -> str:
        data = json.dumps(asked).encode()
        kind = {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(f"{vllm_server}/chat/completions", data, kind)) as answer:
            return json.load(answer)["choices"][0]["message"]["content"]

    for request in tiny_llama.requests[:8]:
        assert post(body(request, structured_outputs={"choice": choices(request)})) in choices(request)
        turns = messages(request, ModelOptions(constrain="json").constrain)
        text = post(body(request, messages=turns, response_format=schema(request)))
        assert json.loads(text)["label"] in choices(request)


def test_the_batch_command_answers_a_file(tiny_llama, vllm_settings, vllm_flags, tmp_path: Path):
    requests = tiny_llama.requests[:40]
    asked, answered = tmp_path / "asked.jsonl", tmp_path / "answered.jsonl"
    rows = [
        {
            "custom_id": request.id,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": body(request, structured_outputs={"choice": choices(request)}),
        }
        for request in requests
    ]
    asked.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "-m", "vllm.entrypoints.openai.run_batch", "-i", str(asked), "-o", str(answered)]
    command += ["--model", str(tiny_llama.folder), "--served-model-name", "tiny", *vllm_flags]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stderr[-3000:]
    got = [json.loads(line) for line in answered.read_text().splitlines()]
    texts = {row["custom_id"]: row["response"]["body"]["choices"][0]["message"]["content"] for row in got}
    assert all(texts[request.id] in choices(request) for request in requests)
