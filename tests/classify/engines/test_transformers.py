"""The engine that generates with transformers: real tokens of a tiny Llama."""

import json
import math
import re
from dataclasses import replace
from itertools import count

import pytest

from catalog.errors import ShelfmarkError
from catalog.extras import install_command
from catalog.messages import Completion, Request
from classify.engines.constraints import answers, choices
from classify.engines.transformers import TransformersEngine, TransformersOptions

pytestmark = pytest.mark.extras


def ask(tiny_llama, requests: list[Request], **options) -> dict[str, Completion]:
    engine = TransformersEngine(TransformersOptions(**{"llm": str(tiny_llama.folder), **options}))
    done = list(engine.complete(requests))
    assert sorted(one.id for one in done) == sorted(request.id for request in requests)
    return {one.id: one for one in done}


def hard(request: Request) -> Request:
    """Ask for a label that the model knows nothing of."""
    paths = [("œuvres", "žluťoučký kůň"), ("œuvres", "žluťoučký kůň úpěl"), ("日本", "🧂🧂"), ("日本", "🧈")]
    return replace(request, candidates=paths, scores=[0.25] * 4)


@pytest.mark.parametrize("constrain", ["choice", "json"])
@pytest.mark.parametrize("temperature", [0.0, 2.0])
def test_a_constrained_answer_is_a_candidate(tiny_llama, constrain: str, temperature: float):
    requests = tiny_llama.requests[:24] + [
        hard(replace(request, id=f"hard-{request.id}")) for request in tiny_llama.requests[24:40]
    ]
    done = ask(tiny_llama, requests, constrain=constrain, temperature=temperature)
    for request in requests:
        assert done[request.id].text in answers(request, constrain)
        if constrain == "json":
            assert json.loads(done[request.id].text)["label"] in choices(request)


@pytest.mark.parametrize("constrain", ["choice", "json", "off"])
def test_candidates_have_probabilities_that_add_up(tiny_llama, constrain: str):
    requests = tiny_llama.requests[:40]
    done = ask(tiny_llama, requests, constrain=constrain)
    best = 0
    for request, label in zip(requests, tiny_llama.labels, strict=False):
        one = done[request.id]
        assert one.logprobs is not None
        assert len(one.logprobs) == len(request.candidates)
        assert sum(map(math.exp, one.logprobs)) == pytest.approx(1, abs=1e-4)
        best += choices(request)[one.logprobs.index(max(one.logprobs))] == label
    assert best > 20  # it has learnt something, and the numbers know


def test_a_free_answer_ends_by_itself_and_counts_its_tokens(tiny_llama):
    request = replace(tiny_llama.requests[0], candidates=[], scores=[])
    one = ask(tiny_llama, [request])[request.id]
    tokenizer = TransformersEngine(TransformersOptions(llm=str(tiny_llama.folder)))
    tokenizer._load()
    library = tokenizer._tokenizer
    prompt = library.apply_chat_template(request.messages, add_generation_prompt=True, return_dict=False)
    assert one.text == tiny_llama.labels[0]
    assert one.logprobs is None
    assert -5 < one.logprob < 0
    assert one.prompt_tokens == len(prompt)
    assert one.completion_tokens == len(library.encode(one.text, add_special_tokens=False)) + 1


def write(tiny_writer, **options) -> dict[str, Completion]:
    """Ask for paths where no candidates are named."""
    engine = TransformersEngine(TransformersOptions(llm=str(tiny_writer.folder), batch_size=20, **options))
    engine.form = tiny_writer.form
    return {one.id: one for one in engine.complete(tiny_writer.requests)}


@pytest.mark.parametrize("constrain", ["choice", "json"])
@pytest.mark.parametrize("temperature", [0.0, 2.0])
def test_without_candidates_a_constrained_answer_is_a_valid_path(tiny_writer, constrain: str, temperature: float):
    done = write(tiny_writer, constrain=constrain, temperature=temperature)
    assert all(done[request.id].text in tiny_writer.form.answers for request in tiny_writer.requests)


def test_without_candidates_the_probability_is_that_of_the_whole_answer(tiny_writer):
    held, free = write(tiny_writer), write(tiny_writer, constrain="off")
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_writer.folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_writer.folder)
    strayed = 0
    for request in tiny_writer.requests:
        one = free[request.id]
        if one.text not in tiny_writer.form.answers:
            strayed += 1
            continue
        assert held[request.id].text == one.text
        assert held[request.id].logprob == pytest.approx(one.logprob, abs=1e-3)
        prompt = tokenizer.apply_chat_template(request.messages, add_generation_prompt=True, return_dict=False)
        rest = [*tokenizer.encode(one.text, add_special_tokens=False), tokenizer.eos_token_id]
        if len(rest) != one.completion_tokens:
            continue  # the model's cut is another than the tokenizer's
        with torch.inference_mode():
            chances = torch.log_softmax(model(torch.tensor([prompt + rest])).logits[0].float(), dim=-1)
        places = range(len(prompt) - 1, len(prompt) + len(rest) - 1)
        expected = sum(float(chances[place, token]) for place, token in zip(places, rest, strict=True))
        assert one.logprob == pytest.approx(expected, abs=1e-2)
    assert strayed < len(tiny_writer.requests) / 2


def test_neighbours_in_a_batch_change_nothing(tiny_llama):
    requests = tiny_llama.requests[:12]
    together, alone = ask(tiny_llama, requests), ask(tiny_llama, requests, batch_size=1)
    for request in requests:
        assert together[request.id].text == alone[request.id].text
        assert together[request.id].logprobs == pytest.approx(alone[request.id].logprobs, abs=1e-3)


def test_an_answer_stops_at_the_limit_of_its_own_request(tiny_llama):
    short, long = replace(tiny_llama.requests[0], max_tokens=2), tiny_llama.requests[1]
    done = ask(tiny_llama, [short, long])
    assert done[short.id].completion_tokens == 2
    assert done[long.id].text in choices(long)
    assert ask(tiny_llama, [long], max_tokens=3)[long.id].completion_tokens == 3


def test_draws_differ_by_seed_and_not_by_batch(tiny_llama):
    requests = [hard(request) for request in tiny_llama.requests[:16]]
    texts = [
        {name: one.text for name, one in ask(tiny_llama, requests, temperature=1.5, **options).items()}
        for options in ({"seed": 1}, {"seed": 1, "batch_size": 3}, {"seed": 2})
    ]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_a_prompt_that_is_too_long_is_an_error_of_its_own(tiny_llama):
    request = tiny_llama.requests[0]
    long = replace(request, id="long", messages=[{"role": "user", "content": "milk " * 2000}])
    done = ask(tiny_llama, [long, request])
    assert "reads 512" in (done["long"].error or "")
    assert done[request.id].error is None


def test_requests_are_drawn_when_there_is_room(tiny_llama):
    drawn = count()
    engine = TransformersEngine(TransformersOptions(llm=str(tiny_llama.folder), batch_size=2))
    done = engine.complete(request for request in tiny_llama.requests if next(drawn) >= 0)
    next(done)
    assert next(drawn) <= 8


def test_no_request_loads_nothing():
    assert list(TransformersEngine(TransformersOptions(llm="no such model")).complete([])) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"llm": "/no/such/folder"}, "--llm /no/such/folder: cannot be loaded"),
        ({"device": "cuda:99"}, "--device cuda:99: cannot be used"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(tiny_llama, options: dict, said: str):
    with pytest.raises(ShelfmarkError) as error:
        ask(tiny_llama, tiny_llama.requests[:1], **options)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_model_without_a_chat_template_is_one_line(tiny_llama):
    engine = TransformersEngine(TransformersOptions(llm=str(tiny_llama.folder)))
    engine._load()
    engine._tokenizer.chat_template = None
    with pytest.raises(ShelfmarkError, match=r"chat template cannot be used .*-Instruct"):
        list(engine.complete(tiny_llama.requests[:1]))


def test_without_torch_it_says_how_to_install_it(tiny_llama, monkeypatch: pytest.MonkeyPatch):
    def missing(name: str, *arguments, **keywords):
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    monkeypatch.setattr("catalog.errors.importlib.import_module", missing)
    with pytest.raises(ShelfmarkError, match=re.escape(install_command("embed"))):
        ask(tiny_llama, tiny_llama.requests[:1])
