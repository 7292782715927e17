"""The strategy ``openai``: what it asks, what it keeps, and by which engine its model answers."""

import json

import pytest

from catalog.errors import ShelfmarkError
from catalog.schema import SEPARATOR
from classify.engines.chat import body
from classify.held_out import HELD_OUT
from classify.model import describe, fit, load
from classify.provider.client import DEFAULT_URL
from classify.registry import default_engine, engine_options, own_llm
from finetune.examples import Selection
from finetune.piped import piped_prompts


@pytest.fixture
def saved(bench):
    model = fit(bench.train, strategy="openai", stop="|", validation=20, work=bench.work)
    model.save(bench.out)
    return bench.out


def test_requests(bench, saved, shop):
    model = load(saved)
    requests = model.strategy.requests(shop.test)
    assert [request.messages for request in requests] == piped_prompts(shop.test, shop.schema, Selection())
    longest = max(len(SEPARATOR.join(path)) for path in model.strategy.taxonomy.paths)
    assert all(longest / 6 < request.max_tokens <= longest for request in requests)
    assert not any(request.candidates for request in requests)
    held = model.strategy.held_out_requests(200)
    assert len(held) == 20
    assert len(model.strategy.held_out_requests(5)) == 5
    turns = piped_prompts(shop.train, shop.schema, Selection())
    users = [turn[1]["content"] for turn in turns]
    pairs = set(zip(users, shop.train.labels, strict=True))
    assert {(request.messages[1]["content"], label) for request, label in held} <= pairs
    taught = [json.loads(line)["messages"][1]["content"] for line in bench.jobs[0].training.path.open()]
    assert sorted([*taught, *(request.messages[1]["content"] for request, _ in held)]) == sorted(users)


def test_the_model_answers_over_the_server(bench, saved, shop):
    table = load(saved).predict(shop.train.take(range(30)), engine="server")
    assert set(table["status"]) == {"exact"}
    told = map(tuple, table[list(shop.schema.levels)].to_numpy())
    right = sum(row == label for row, label in zip(told, shop.train.labels[:30], strict=True))
    assert right >= 20  # it was taught most of them, and the server's models remember
    assert bench.server.state.billed()["chat"]["bills"] == 30


def test_a_run(bench, saved, command, lines):
    run = bench.folder / "run"
    files = ("--model", saved, "--test", bench.test, "--run", run)
    done = command("--strategy", "openai", *files, "--engine", "server")
    assert done.code == 0, done.err
    assert len(lines(run / "predictions.jsonl")) == 90
    assert len(lines(run / HELD_OUT)) == 20
    assert command("resume", run).code == 0


def test_a_model_that_the_provider_has(bench, saved, command, refused, lines):
    name = bench.jobs[0].tuned
    calls = bench.calls
    files = ("--train", bench.train, "--test", bench.test, "--run", bench.folder / "run", "--engine", "server")
    done = command("--strategy", "openai", "--model", name, *files, "--stop", "|", "--until", "requests")
    assert done.code == 0, done.err
    assert bench.calls == calls
    manifest = json.loads((bench.folder / "run" / "manifest.json").read_text())
    assert manifest["options"]["tuned"] == name
    assert command("resume", bench.folder / "run").code == 0
    assert len(lines(bench.folder / "run" / "predictions.jsonl")) == 90
    assert len(bench.jobs) == 1
    said = refused("--strategy", "openai", "--model", name, "--test", bench.test)
    assert "give --train TRAIN as well, for the valid label paths" in said
    said = refused("--preset", "openai-4o-mini", "--model", name, "--test", bench.test)
    assert "give --train TRAIN as well" in said


def test_a_tuned_model_needs_no_key_and_no_money(shop, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    model = fit(shop.train_file, strategy="openai", tuned="ft:gpt-4o-mini:org::abc", max_cost=0)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.strategy.held_out_requests(100) == []
    assert describe(tmp_path / "model")["provenance"] == {"job": "", "llm": "ft:gpt-4o-mini:org::abc"}
    with pytest.raises(ShelfmarkError, match="leave one out"):
        fit(shop.train_file, strategy="openai", tuned="x", job="ftjob-1")


def test_options_that_the_fit_fixed(saved):
    assert load(saved, calibrate=0, policy="brand-free", max_cost=1.0).strategy.options.calibrate == 0
    with pytest.raises(ShelfmarkError, match=r"--stop ;: this model was fitted with \|; fit another one"):
        load(saved, stop=";")


def test_engines(saved, bench, monkeypatch):
    assert default_engine("openai") == "batch"
    options = load(saved).strategy.options
    name = bench.jobs[0].tuned
    for engine in ("server", "batch"):
        usual = engine_options(engine, {}, "openai").model_dump()
        assert (usual["llm"], usual["temperature"], usual["constrain"]) == ("", 0, "off")
        assert usual["base_url"] == bench.server.url
        own = own_llm("openai", engine, usual, saved, options)
        assert (own["llm"], own["stop"]) == (name, "|")
        assert own_llm("openai", engine, {**usual, "llm": "other"}, saved, options)["stop"] == ""
        with pytest.raises(ShelfmarkError, match="is not on this machine"):
            own_llm("openai", engine, usual, None, options)
    assert own_llm("openai", "vllm", {"llm": ""}, None, options) == {"llm": ""}
    assert own_llm("lora", "server", {"llm": ""}, None, options) == {"llm": ""}
    elsewhere = options.model_copy(update={"base_url": "http://localhost:1/v1"})
    assert own_llm("openai", "server", usual, saved, elsewhere)["base_url"] == "http://localhost:1/v1"
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert engine_options("server", {}, "openai").base_url == DEFAULT_URL
    assert engine_options("server", {}, "rag").base_url == "http://localhost:8000/v1"


def test_the_stop_is_sent(saved, shop):
    (request, *_) = load(saved).strategy.requests(shop.test)
    options = engine_options("server", {"llm": "x", "stop": "|"}, "openai")
    assert body(request, options, constrain="off", logprobs=True)["stop"] == "|"
    options = engine_options("server", {"llm": "x"}, "openai")
    assert "stop" not in body(request, options, constrain="off", logprobs=True)


def test_the_provider_s_own_address_wants_a_key(saved, bench, shop, monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL")
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ShelfmarkError, match="OPENAI_API_KEY is not set"):
        load(saved).predict(shop.test, engine="server")


def test_presets(bench, command):
    fitted = command("fit", "--preset", "openai-4o-mini-no-price", "--train", bench.train, "--out", bench.out)
    assert fitted.code == 0, fitted.err
    options = describe(bench.out)["options"]
    assert (options["sample"], options["epochs"], options["stop"], options["ignore_price"]) == (28_000, 1, "|", True)
    run = bench.folder / "run"
    flags = ("--model", bench.out, "--test", bench.test, "--run", run, "--engine", "server", "--until", "requests")
    assert command("--preset", "openai-4o-mini-no-price", *flags).code == 0
    asked = json.loads((run / "manifest.json").read_text())["engine_options"]
    assert (asked["temperature"], asked["max_tokens"]) == (0.1, 64)
