"""Runs whose requests a language model answers."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import classify.asking
from catalog.errors import ShelfmarkError
from catalog.extras import install_command
from catalog.messages import Completion
from catalog.product_files import write_products
from catalog.schema import PRESETS
from classify.asking import ANSWERS, ASKED
from classify.held_out import HELD_OUT
from classify.job import Job
from classify.lines import GrowingLines
from classify.run import Run
from classify.strategies.rag import RagOptions

TREE = "neighbours,tree"


class Stall(NamedTuple):
    schema: Any
    train: Any
    test: Any
    folder: Path

    @property
    def train_file(self) -> Path:
        return self.folder / "train.features"

    @property
    def known(self) -> Path:
        return self.folder / "known" / "test.features"


KINDS = {"cider": ("drink", "beer"), "lager": ("drink", "beer"), "milk": ("food", "dairy"), "bread": ("food", "bakery")}
BRANDS = ("own", "bulmers", "stella")


@pytest.fixture(scope="session")
def shop(make_products, tmp_path_factory) -> Any:
    """Four kinds of products of three brands; a third of the texts do not tell the brand."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(350):
        kind, brand = list(KINDS)[rng.integers(4)], BRANDS[rng.integers(3)]
        told = brand[:4] if rng.random() < 0.65 else "xx"
        label = "__".join((*KINDS[kind], kind, brand))
        rows.append((f"{told} {kind[:3]} {number}" + "x" * int(rng.integers(5)), "tesco", float("nan"), label))
    every = make_products(rows)
    train, test = every.take(range(260)), every.take(range(260, 350))
    folder = tmp_path_factory.mktemp("stall")
    write_products(folder, "train", [train], PRESETS["indoml"])
    write_products(folder / "known", "test", [test], PRESETS["indoml"])
    return Stall(PRESETS["indoml"], train, test, folder)


@pytest.fixture
def job(shop):
    def make(engine: str = "server", **options) -> Job:
        given = RagOptions(**{"calibrate": 60, **options}).model_dump()
        return Job("rag", engine, shop.schema, given, 0, shop.known, (shop.train_file,))

    return make


def accuracy(folder) -> float:
    return json.loads((folder / "metrics.json").read_text())["evaluation"]["item_accuracy"]


def test_a_good_model_lifts_the_retriever(job, shop, clever, tmp_path, lines) -> None:
    Run.start(tmp_path / "alone", job("neighbours")).execute()
    run = Run.start(tmp_path / "run", job())
    run.execute()
    assert accuracy(tmp_path / "run") > accuracy(tmp_path / "alone") + 0.05
    manifest = run.manifest
    assert manifest["joint"]["rows"] == 60
    assert manifest["joint"]["used"]
    assert manifest["joint"]["joint"] > manifest["joint"]["retriever"]
    counts = manifest["asking"]
    assert (counts["answers"], counts["errors"], counts["asked_again"]) == (150, 0, 0)
    assert (counts["prompt_tokens"], counts["completion_tokens"]) == (15_000, 1_500)
    assert counts["patience"] == 1
    assert manifest["reading"]["outside"] == 0
    rows = lines(tmp_path / "run" / "predictions.jsonl")
    assert [row["indoml_id"] for row in rows] == shop.test.ids
    assert all(0 <= row["confidence"] <= 1 for row in rows)


def test_held_out_rows_are_not_their_own_neighbours(job, shop, clever, tmp_path, lines) -> None:
    Run.start(tmp_path / "run", job()).execute("requests")
    held = lines(tmp_path / "run" / HELD_OUT)
    assert len(held) == 60
    texts = dict(zip(shop.train.texts, shop.train.labels, strict=True))
    for line in held:
        content = line["messages"][1]["content"]
        text = json.JSONDecoder().raw_decode(content.partition("Product: ")[2])[0]
        assert texts[text] == tuple(line["label"])
        twins = shop.train.texts.count(text) - 1
        assert content.count(f"- {json.dumps(text, ensure_ascii=False)} |") <= twins


class Fool:
    """Always names the last candidate."""

    name, deterministic, needs = "fool", False, None

    def __init__(self, options) -> None:
        self.options, self.report = options, {}

    def complete(self, requests):
        for request in requests:
            yield Completion(request.id, "__".join(request.candidates[-1]))


def test_a_bad_model_takes_nothing_away(job, use_engine, tmp_path) -> None:
    from classify.engines.base import ModelOptions

    Fool.options_class = ModelOptions
    use_engine(Fool)
    Run.start(tmp_path / "alone", job("neighbours", top_k=15)).execute()
    Run.start(tmp_path / "run", job(top_k=15)).execute()
    assert accuracy(tmp_path / "run") >= accuracy(tmp_path / "alone") - 0.02
    # Without held-out rows nobody knows better, and its answers are taken as they are.
    trusting = Run.start(tmp_path / "trusting", job(top_k=15, calibrate=0))
    trusting.execute()
    assert accuracy(tmp_path / "trusting") < accuracy(tmp_path / "alone") - 0.1
    assert "joint" not in trusting.manifest


def test_two_machines(job, shop, clever, tmp_path, command) -> None:
    folder = tmp_path / "run"
    done = command("--strategy", "rag", "--train", shop.train_file, "--test", shop.known, "--run", folder,
                   "--calibrate", 60, "--until", "requests")  # fmt: skip
    assert done.code == 0, done.err
    assert not (folder / ANSWERS).exists()
    moved = tmp_path / "elsewhere"  # and neither the training file nor the model goes along
    folder.rename(moved)
    for file in (moved / "model").rglob("*"):
        if file.is_file():
            file.unlink()
    done = command("resume", moved, "--engine", "vllm", "--model", "some/llm", "--gpu-price", "1.5")
    assert done.code == 0, done.err
    assert "weighed with the retriever" in done.out
    assert "cost" in done.out
    Run.start(tmp_path / "one", job()).execute()
    assert (moved / "predictions.jsonl").read_bytes() == (tmp_path / "one" / "predictions.jsonl").read_bytes()


def test_only_what_tree_doubts_is_asked(job, clever, tmp_path, lines) -> None:
    run = Run.start(tmp_path / "run", job(candidates_from=TREE, llm_below=0.5))
    run.execute()
    asked = [line for line in lines(tmp_path / "run" / "requests.jsonl") if line["messages"]]
    settled = run.manifest["settled"]
    assert 0 < settled["rows"] < 90
    assert settled["rows"] == 90 - len(asked)
    assert settled["accuracy_settled"] > settled["accuracy_asked"]
    held = lines(tmp_path / "run" / HELD_OUT)
    assert len(lines(tmp_path / "run" / ANSWERS)) == len(asked) + len(held)
    predictions = lines(tmp_path / "run" / "predictions.jsonl")
    for request, row in zip(lines(tmp_path / "run" / "requests.jsonl"), predictions, strict=True):
        if not request["messages"]:
            assert row["status"] == "exact"
            assert row["confidence"] >= 0.5
            assert [[row[level] for level in run.schema.levels]] == request["candidates"]


def test_both_sources_give_candidates(job, shop, clever, tmp_path, lines) -> None:
    Run.start(tmp_path / "both", job(candidates_from=TREE)).execute()
    Run.start(tmp_path / "one", job()).execute()
    both, one = (lines(tmp_path / name / "requests.jsonl") for name in ("both", "one"))
    more, right = 0, [0, 0]
    for wide, narrow, label in zip(both, one, shop.test.labels, strict=True):
        paths = [tuple(path) for path in wide["candidates"]]
        right[0] += label in paths
        right[1] += list(label) in narrow["candidates"]
        assert len(set(paths)) == len(paths) <= 20
        assert wide["scores"] == sorted(wide["scores"], reverse=True)
        more += len(paths) > len(narrow["candidates"])
    assert more > 20
    assert right[0] > right[1]  # how the choice among them is learned, 90 rows do not tell


def test_several_top_k_are_compared_before_the_job(job, clever, tmp_path, command) -> None:
    run = Run.start(tmp_path / "run", job(top_k="1,3,0"))
    run.execute()
    compared = run.manifest["top_k"]
    assert [scores["top_k"] for scores in compared["compared"]] == [1, 3, 0]
    assert all(scores["rows"] == 60 for scores in compared["compared"])
    best = max(compared["compared"], key=lambda scores: scores.get("joint", scores["answers"]))
    assert compared["chosen"] == best["top_k"]
    assert "(chosen)" in command("resume", tmp_path / "run").out
    # The held-out rows of the chosen number are not asked about twice.
    ids = [request.id for request in clever.asked]
    assert len(set(ids)) == len(ids)


def test_without_a_model_the_vote_compares(job, tmp_path) -> None:
    run = Run.start(tmp_path / "run", job("neighbours", top_k="1,5"))
    run.execute()
    assert {"top_k", "rows", "retriever"} == set(run.manifest["top_k"]["compared"][0])


def test_zero_shot_shows_nothing_and_any_path_may_be_answered(job, clever, tmp_path, lines) -> None:
    Run.start(tmp_path / "run", job(top_k=0)).execute()
    for line in lines(tmp_path / "run" / "requests.jsonl"):
        assert line["candidates"] == []
        assert "Similar products" not in line["messages"][1]["content"]
    assert accuracy(tmp_path / "run") > 0.7


def test_level_by_level(job, clever, tmp_path, lines) -> None:
    Run.start(tmp_path / "run", job(ask_by="level", calibrate=0)).execute()
    asked = [request for request in clever.asked if "/" in request.id]
    assert asked
    assert all(len(request.candidates) > 1 for request in asked)  # nothing is asked that has one answer
    assert all(len(path) == 1 for request in asked for path in request.candidates)
    answers = {line["id"]: line for line in lines(tmp_path / "run" / ANSWERS)}
    assert len(answers) == 90
    for line in lines(tmp_path / "run" / "requests.jsonl"):
        assert "Possible" not in line["messages"][1]["content"]
        assert answers[line["id"]]["text"].split("__") in line["candidates"]


def test_level_by_level_down_the_whole_taxonomy(job, clever, tmp_path) -> None:
    Run.start(tmp_path / "run", job(ask_by="level", top_k=0, calibrate=0)).execute()
    assert accuracy(tmp_path / "run") > 0.3
    first = next(request for request in clever.asked if request.id.endswith("/0"))
    assert "Possible values of supergroup" in first.messages[-1]["content"]


class Broken(Fool):
    """Answers some, fails on some, and dies after so many."""

    die_after, asked = 0, 0

    def complete(self, requests):
        for number, answer in enumerate(super().complete(requests)):
            if Broken.asked == Broken.die_after:
                raise ShelfmarkError("the server is gone; classify resume RUN carries on")
            Broken.asked += 1
            yield Completion(answer.id, error="time out") if number % 10 == 3 else answer


def test_what_failed_is_asked_again_on_request_and_what_was_in_flight_is_counted(
    job, use_engine, tmp_path, lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    from classify.engines.base import ModelOptions

    Broken.options_class = Fool.options_class = ModelOptions
    monkeypatch.setattr(Broken, "asked", 0)
    monkeypatch.setattr(Broken, "die_after", 40)
    monkeypatch.setattr(classify.asking, "FLUSH_ROWS", 1)
    use_engine(Broken)
    run = Run.start(tmp_path / "run", job(calibrate=0))
    with pytest.raises(ShelfmarkError, match="the server is gone"):
        run.execute()
    assert len(lines(tmp_path / "run" / ANSWERS)) == 40
    assert len(lines(tmp_path / "run" / ASKED)) == 41
    monkeypatch.setattr(Broken, "die_after", 10**9)
    run = Run.open(tmp_path / "run")
    run.execute()
    assert run.manifest["asking"]["asked_again"] == 1
    failed = run.manifest["asking"]["errors"]
    assert failed == 9
    statuses = [line["status"] for line in lines(run.predictions)]
    assert statuses.count("failed") == failed
    use_engine(Fool)
    run = Run.open(tmp_path / "run")
    run.execute(again=True)
    assert run.manifest["asking"]["errors"] == 0
    assert "failed" not in [line["status"] for line in lines(run.predictions)]
    assert len(lines(tmp_path / "run" / ANSWERS)) == 90 + failed  # answers stay, whatever came after


def test_an_engine_that_leaves_rows_out(job, use_engine, tmp_path) -> None:
    from classify.engines.base import ModelOptions

    class Lazy(Fool):
        options_class = ModelOptions

        def complete(self, requests):
            yield from list(super().complete(requests))[5:]

    use_engine(Lazy)
    with pytest.raises(ShelfmarkError, match="5 of 90 requests got no answer"):
        Run.start(tmp_path / "run", job(calibrate=0)).execute()


def test_options_that_change_answers_are_fixed_once_there_are_some(job, clever, tmp_path, refused, command) -> None:
    Run.start(tmp_path / "run", job()).execute("completions")
    assert "server with another --temperature are recorded" in refused("resume", tmp_path / "run", "--temperature", "1")
    assert "answers of the engine server are recorded" in refused("resume", tmp_path / "run", "--engine", "vllm")
    assert command("resume", tmp_path / "run").code == 0


def test_own_wording_is_part_of_the_job(job, shop, clever, tmp_path, lines) -> None:
    file = tmp_path / "own.jinja"
    file.write_text("{% block system %}{% endblock %}{% block user %}shelf of {{ product.text }}?{% endblock %}")
    own = job(prompt=str(file), calibrate=0)
    file.unlink()
    Run.start(tmp_path / "run", own).execute("requests")
    messages = [line["messages"] for line in lines(tmp_path / "run" / "requests.jsonl")]
    assert messages[0] == [{"role": "user", "content": f"shelf of {shop.test.texts[0]}?"}]
    with pytest.raises(ShelfmarkError, match="belongs to another job"):
        Run.start(tmp_path / "run", job(calibrate=0))


def test_requests_keep_to_their_limit(job, clever, tmp_path, lines) -> None:
    from rag.tokens import estimate_tokens

    Run.start(tmp_path / "run", job(max_prompt_tokens=300)).execute("requests")
    rows = lines(tmp_path / "run" / "requests.jsonl")
    counts = [estimate_tokens(line["messages"]) for line in rows]
    assert max(counts) <= 300
    assert min(line["messages"][1]["content"].count("->") for line in rows) < 5


def test_a_missing_package_is_told_before_the_work(
    job, shop, tmp_path, refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    files = ["--train", shop.train_file, "--test", shop.known]
    assert install_command("vllm") in refused(*files, "--run", tmp_path / "run", "--engine", "vllm")
    assert not (tmp_path / "run").exists()


def test_from_python(shop, clever) -> None:
    from classify import fit

    model = fit(shop.train)
    alone, asked = (model.predict(shop.test, **given) for given in ({}, {"engine": "server", "llm": "x"}))
    assert asked["indoml_id"].tolist() == shop.test.ids
    right = [label[-1] for label in shop.test.labels]
    assert (asked["brand"] == right).mean() > (alone["brand"] == right).mean()


def test_answers_to_a_comparison_outlive_a_failure(
    job, shop, model_of, use_engine, tmp_path, lines, monkeypatch
) -> None:
    from classify.engines.base import ModelOptions

    Broken.options_class = ModelOptions
    monkeypatch.setattr(Broken, "asked", 0)
    monkeypatch.setattr(Broken, "die_after", 25)
    use_engine(Broken)

    def made(top_k: str) -> Job:
        options = RagOptions(calibrate=60, top_k=top_k).model_dump()
        return Job("rag", "server", shop.schema, options, 0, shop.known, model=model_of)

    with pytest.raises(ShelfmarkError, match="the server is gone"):
        Run.start(tmp_path / "run", made("1,3")).execute()
    assert len(lines(tmp_path / "run" / ANSWERS)) == 25
    with pytest.raises(ShelfmarkError, match="belongs to another job"):
        Run.start(tmp_path / "run", made("1,4"))
    monkeypatch.setattr(Broken, "die_after", 10**9)
    recorded = lines(tmp_path / "run" / ANSWERS)
    Run.start(tmp_path / "run", made("1,3")).execute()
    assert lines(tmp_path / "run" / ANSWERS)[:25] == recorded


@pytest.fixture
def model_of(shop, tmp_path) -> Path:
    from classify import fit

    fit(shop.train).save(tmp_path / "model")
    return tmp_path / "model"


def test_a_comparison_before_the_answers_are_asked_for_elsewhere(job, clever, tmp_path, command) -> None:
    Run.start(tmp_path / "run", job(top_k="1,3")).execute("requests")
    assert clever.asked == []
    assert command("resume", tmp_path / "run", "--until", "requests").code == 0


def test_a_run_for_no_model_goes_on_with_one(job, clever, tmp_path) -> None:
    Run.start(tmp_path / "run", job("neighbours")).execute("requests")
    (tmp_path / "run" / HELD_OUT).unlink()
    run = Run.open(tmp_path / "run")
    run.execute(engine="server")
    assert run.manifest["joint"]["rows"] == 60
    Run.start(tmp_path / "other", job("neighbours")).execute("requests")
    (tmp_path / "other" / HELD_OUT).unlink()
    (tmp_path / "other" / "model" / "model.json").unlink()
    with pytest.raises(ShelfmarkError, match="the model is not here"):
        Run.open(tmp_path / "other").execute(engine="server")


def test_a_torn_answer_is_cut_off_and_asked_again(job, clever, tmp_path, lines, command) -> None:
    Run.start(tmp_path / "run", job()).execute("completions")
    file = tmp_path / "run" / ANSWERS
    whole = file.read_bytes()
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    del manifest["stages"]["completions"]
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    file.write_bytes(whole[:-7])
    before = len(clever.asked)
    done = command("resume", tmp_path / "run")
    assert done.code == 0, done.err
    assert len(clever.asked) == before + 1
    assert len(lines(file)) == 150


def test_talk_is_no_answer_level_by_level(job, use_engine, tmp_path, lines) -> None:
    from classify.engines.base import ModelOptions

    class Talker(Fool):
        options_class = ModelOptions

        def complete(self, requests):
            for request in requests:
                yield Completion(request.id, "xyzzy 42")

    use_engine(Talker)
    Run.start(tmp_path / "run", job(ask_by="level", calibrate=0, top_k=9)).execute()
    statuses = [line["status"] for line in lines(tmp_path / "run" / "predictions.jsonl")]
    assert "fallback" in statuses
    assert any("xyzzy 42" in line["text"] for line in lines(tmp_path / "run" / ANSWERS))


def test_levels_keep_to_the_limit(job, clever, tmp_path) -> None:
    from rag.tokens import estimate_tokens

    Run.start(tmp_path / "run", job(ask_by="level", calibrate=0, top_k=9, max_prompt_tokens=600)).execute()
    assert max(estimate_tokens(request.messages) for request in clever.asked) <= 600


def test_what_cannot_be_resumed_so(job, shop, clever, tmp_path, refused, lines) -> None:
    Run.start(tmp_path / "run", job()).execute("requests")
    wrong = refused("resume", tmp_path / "run", "--give-up", "--engine", "server", "--constrain", "nosuch")
    assert "--constrain nosuch" in wrong
    assert not (tmp_path / "run" / ANSWERS).exists()
    files = ["--train", shop.train_file, "--test", shop.known, "--run", tmp_path / "tree"]
    assert "the strategy tree asks no engine" in refused("--strategy", "tree", "--engine", "server", *files)
    assert not (tmp_path / "tree").exists()


def test_zero_shot_holds_no_rows_out(job, clever, tmp_path, lines) -> None:
    Run.start(tmp_path / "run", job(top_k=0)).execute()
    assert len(lines(tmp_path / "run" / ANSWERS)) == 90
    system = lines(tmp_path / "run" / "requests.jsonl")[0]["messages"][0]["content"]
    assert "you are given" not in system


def test_answers_that_were_taken_away_were_not_in_flight(job, clever, tmp_path) -> None:
    run = Run.start(tmp_path / "run", job())
    run.execute()
    (tmp_path / "run" / ANSWERS).unlink()
    again = Run.open(tmp_path / "run")
    again.execute()
    assert again.manifest["asking"]["asked_again"] == 0


def test_options_of_the_fit_cannot_be_changed_after_it(model_of, shop, tmp_path, refused, command) -> None:
    files = ["--model", model_of, "--test", shop.known, "--run", tmp_path / "run"]
    assert "--clean-text: this model was fitted otherwise" in refused(*files, "--clean-text")
    assert command("fit", "--train", shop.train_file, "--top-k", "1,3", "--out", tmp_path / "several").code == 0
    done = command("--model", tmp_path / "several", "--test", shop.known, "--run", tmp_path / "one", "--top-k", "3")
    assert done.code == 0
    assert "held out" not in done.out


def test_a_full_disk_tears_the_last_answer_alone(job, clever, tmp_path, lines, monkeypatch) -> None:
    Run.start(tmp_path / "run", job(calibrate=0)).execute("requests")
    write, failed = GrowingLines.append, []

    def full(self: GrowingLines, values) -> None:
        rows = list(values)
        if self.path.name == ANSWERS and self.lines == 5 and not failed:
            failed.append(self.path)
            self._stream.write(b'{"id": "torn')
            raise OSError(28, "No space left on device", str(self.path))
        write(self, rows)

    monkeypatch.setattr(GrowingLines, "append", full)
    with pytest.raises(OSError, match="No space left"):
        Run.open(tmp_path / "run").execute()
    run = Run.open(tmp_path / "run")
    run.execute()
    names = [line["id"] for line in lines(tmp_path / "run" / ANSWERS)]
    assert len(names) == len(set(names)) == 90
    assert run.manifest["asking"]["errors"] == 0
