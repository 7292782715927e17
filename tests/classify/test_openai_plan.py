"""``classify plan --strategy openai`` and ``--run``: what a provider would be paid, before it is paid anything."""

import json
import math
import socket

import pytest

from catalog.extras import install_command
from catalog.messages import Completion
from catalog.schema import SEPARATOR
from classify.asking import ANSWERS
from classify.authority import name_all
from classify.lines import GrowingLines
from classify.rundir import RunDirectory
from classify.token_counts import TokenCounts, token_counts
from classify.training_rows import choose_within
from finetune.examples import Selection, hold_out

WORDS = TokenCounts("tiktoken words", True, lambda text: len(text.split()))


@pytest.fixture(autouse=True)
def _no_network_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a plan needs no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    # The same figures wherever the tests run, tiktoken or not.
    monkeypatch.setattr("classify.token_counts._tables", lambda model: None)


@pytest.fixture
def plan(command, shop):
    """Plan for the sample shop; returns the JSON object."""

    def run(*options: object) -> dict:
        done = command("plan", "--strategy", "openai", "--train", shop.train_file, *options, "--json")
        assert done.code == 0, done.err
        return json.loads(done.out)

    return run


@pytest.fixture
def asked(command, shop, tmp_path):
    """A run whose requests are written, none answered."""
    folder = tmp_path / "run"
    options = ("--train", shop.train_file, "--test", shop.test_file, "--run", folder, "--calibrate", 20)
    done = command("--strategy", "rag", *options, "--until", "requests")
    assert done.code == 0, done.err
    return folder


def test_the_rows_are_those_of_the_fine_tune(plan, shop) -> None:
    training = plan()["training"]
    rest, held = hold_out(len(shop.train), 500, seed=0)
    known = shop.train.take(rest)
    counts = token_counts("gpt-4o-mini")
    rows, expected, most = choose_within(known, shop.schema, Selection(28000), counts, 2_000_000, 0)
    assert (training["rows"], training["held_out"]) == (len(rows), len(held)) == (234, 26)
    assert training["rows_over_budget"] == 0
    assert training["file_tokens"] == {"expected": pytest.approx(expected), "most": most}
    assert training["training_tokens"] == {"expected": pytest.approx(2 * expected), "most": 2 * most}
    assert training["dollars"] == {"expected": pytest.approx(6e-6 * expected), "most": pytest.approx(6e-6 * most)}
    a_row = training["prompt_tokens_a_row"] + training["answer_tokens_a_row"]
    assert a_row * len(rows) == pytest.approx(expected)
    assert training["label_paths"] <= training["all_label_paths"] == len(set(shop.train.require_labels()))


def test_a_budget_leaves_rows_out(plan) -> None:
    whole = plan("--epochs", 1, "--validation", 0)["training"]
    budget = int(whole["file_tokens"]["expected"]) - 200
    fewer = plan("--epochs", 1, "--validation", 0, "--max-training-tokens", budget)["training"]
    assert budget - 200 < fewer["file_tokens"]["expected"] <= budget
    assert fewer["rows_over_budget"] == whole["rows"] - fewer["rows"] > 0
    assert fewer["training_tokens"] == fewer["file_tokens"]
    assert fewer["label_paths"] == whole["label_paths"] == whole["all_label_paths"]


def test_prediction_of_a_file(plan, shop) -> None:
    value = plan("--test", shop.test_file, "--calibrate", 5)
    found = value["prediction"]
    assert (found["model"], found["rows"], found["files"]) == ("ft:gpt-4o-mini-2024-07-18", len(shop.test) + 5, 1)
    counts, labels = token_counts("gpt-4o-mini"), shop.train.require_labels()
    longest = max(counts.answer(SEPARATOR.join(label))[1] for label in labels)
    mean = sum(counts.answer(SEPARATOR.join(label))[0] for label in labels) / len(labels)
    assert found["written"] == {"expected": pytest.approx(mean * 95), "most": longest * 95}
    read, written = found["read"], found["written"]
    for which in ("expected", "most"):
        dollars = (read[which] * 0.3 + written[which] * 1.2) / 1e6
        assert found["dollars_without_batch"][which] == pytest.approx(dollars)
        assert found["dollars"][which] == pytest.approx(dollars / 2)
        assert value["dollars"][which] == pytest.approx(dollars / 2 + value["training"]["dollars"][which])
    assert read["expected"] < read["most"]
    bounded = plan("--test", shop.test_file, "--calibrate", 5, "--max-tokens", 3)["prediction"]
    assert bounded["written"] == {"expected": 3 * 95, "most": 3 * 95}


def test_prediction_of_a_number_of_rows(plan) -> None:
    one = plan("--test-rows", 260, "--calibrate", 0)["prediction"]
    many = plan("--test-rows", 200_000, "--calibrate", 0)["prediction"]
    assert (many["rows"], many["files"]) == (200_000, 4)
    for what in ("read", "written", "dollars"):
        for which in ("expected", "most"):
            assert many[what][which] == pytest.approx(one[what][which] * 200_000 / 260)
    waves = [math.ceil(many["read"]["expected"] / most) for most in many["enqueued"]]
    assert many["waves"] == waves
    assert waves[0] > 1
    assert waves[-1] == 1
    assert one["waves"] == [1] * len(waves)
    assert plan("--test-rows", 100_001, "--calibrate", 20)["prediction"]["files"] == 3


def test_what_is_shown_counts(plan) -> None:
    plain = plan("--test-rows", 50)
    for option in ("--ignore-price", "--clean-text"):
        less = plan("--test-rows", 50, option)
        assert less["training"]["file_tokens"]["most"] < plain["training"]["file_tokens"]["most"]
        assert less["prediction"]["read"]["most"] < plain["prediction"]["read"]["most"]


def test_an_existing_model_is_not_trained(plan, command, shop) -> None:
    value = plan("--llm", "ft:gpt-4o:shop::abc", "--test-rows", 40)
    assert value["training"] is None
    assert (value["base"], value["prediction"]["model"]) == ("gpt-4o", "ft:gpt-4o:shop::abc")
    assert value["prediction"]["rows"] == 40
    assert value["prediction"]["price"]["input"] == 3.75
    assert value["dollars"] == value["prediction"]["dollars"]
    done = command("plan", "--strategy", "openai", "--train", shop.train_file, "--llm", "gpt-4o", "--test-rows", 40)
    assert "fine-tune" not in done.out
    assert "prediction by gpt-4o" in done.out


def test_nothing_to_predict(plan, command, shop) -> None:
    value = plan()
    assert value["prediction"] is None
    assert value["dollars"] == value["training"]["dollars"]
    assert "prediction" not in command("plan", "--strategy", "openai", "--train", shop.train_file).out


def test_an_unknown_price_is_unknown_never_nothing(plan, command, shop) -> None:
    value = plan("--base", "gpt-9", "--test-rows", 100)
    assert value["dollars"] is None
    for part in (value["training"], value["prediction"]):
        assert part["dollars"] is part["price"] is None
    assert value["prediction"]["dollars_without_batch"] is value["prediction"]["waves"] is None
    options = ("--base", "gpt-9", "--test-rows", 100)
    done = command("plan", "--strategy", "openai", "--train", shop.train_file, *options)
    priced = [line for line in done.out.splitlines() if "dollars" in line]
    assert len(priced) == 4
    for line in priced:
        assert line.count("unknown") == 2
        assert "0" not in line
    assert "price of gpt-9: unknown; give a file of prices with --prices" in done.out


def test_half_known_is_unknown_in_all(plan) -> None:
    value = plan("--base", "gpt-4.1-nano", "--test-rows", 100)
    assert value["training"]["price"]["input"] == 0.1
    assert value["training"]["dollars"] is None  # what training it costs is not known
    assert value["dollars"] is None


def test_prices_of_ones_own(plan, tmp_path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(
        '["gpt-9"]\ninput = 1\noutput = 1\ntraining = 100\nenqueued = [1000]\nas_of = "today"\nsource = "me"\n'
        '["ft:gpt-9"]\ninput = 10\noutput = 0\nbatch = 0.1\n'
    )
    value = plan("--base", "gpt-9", "--test-rows", 100, "--calibrate", 0, "--prices", file)
    training, found = value["training"], value["prediction"]
    assert training["dollars"]["most"] == pytest.approx(training["training_tokens"]["most"] / 1e4)
    assert (training["price"]["source"], training["price"]["as_of"]) == ("me", "today")
    assert found["dollars"]["most"] == pytest.approx(found["read"]["most"] * 1e-6)
    assert found["waves"] == [math.ceil(found["read"]["expected"] / 1000)]


def test_estimated_or_counted(command, shop, monkeypatch) -> None:
    train = ("plan", "--strategy", "openai", "--train", shop.train_file)
    out = command(*train).out
    assert "tokens: estimated" in out
    assert install_command("tokens") in out
    assert "tiktoken.encoding_for_model('gpt-4o-mini-2024-07-18')" in out
    assert "price of gpt-4o-mini-2024-07-18: published price list, as told by others, 2026-04" in out
    monkeypatch.setattr("classify.token_counts.token_counts", lambda model: WORDS)
    out = command(*train).out
    assert "tokens: counted by tiktoken words" in out
    assert "pip install" not in out
    value = json.loads(command(*train, "--json").out)
    assert value["tokens"] == {"counted_by": "tiktoken words", "exact": True}
    assert value["training"]["file_tokens"]["expected"] == value["training"]["file_tokens"]["most"]


def test_more_than_it_may_cost(plan, command, shop) -> None:
    options = ("plan", "--strategy", "openai", "--train", shop.train_file, "--test-rows", 1000)
    most = plan("--test-rows", 1000)["dollars"]["most"]
    assert command(*options, "--max-cost", most * 1.001).code == 0
    done = command(*options, "--max-cost", most * 0.999)
    assert done.code == 2
    assert "dollars, fine-tune and batches" in done.out  # the plan is shown all the same
    assert f"what is planned could cost ${most:,.4f}; raise --max-cost" in done.err
    assert done.err.count("\n") == 1
    done = command(*options, "--base", "gpt-9", "--max-cost", 5, "--json")
    assert json.loads(done.out)["dollars"] is None
    assert done.code == 2
    assert "--max-cost 5: the price of training gpt-9 is unknown" in done.err
    done = command(*options, "--llm", "gpt-9", "--max-cost", 5)
    assert "--max-cost 5: the price of gpt-9 is unknown" in done.err


def test_mistakes(refused, shop, tmp_path) -> None:
    train = ("plan", "--strategy", "openai", "--train", shop.train_file)
    assert "--epochs 2.5: Input should be a valid integer" in refused(*train, "--epochs", 2.5)
    assert "--epochs 0" in refused(*train, "--epochs", 0)
    line = refused(*train, "--grouped")
    assert line.startswith("classify: --grouped is not an option of plan --strategy openai; it has --base, --sample,")
    assert "did you mean '--epochs'" not in refused(*train, "--recipe", "x")
    assert "one of --test and --test-rows" in refused(*train, "--test", shop.test_file, "--test-rows", 5)
    assert "--sample 3: a sample of 3 rows cannot hold" in refused(*train, "--sample", 3)
    assert "--max-training-tokens 9: one row of each of the" in refused(*train, "--max-training-tokens", 9)
    assert "nothing is trained; leave --epochs out" in refused(*train, "--llm", "gpt-4o", "--epochs", 1)
    assert "nothing is trained; say with --test" in refused(*train, "--llm", "gpt-4o")
    assert "--stop" in refused(*train, "--stop", "toolong")
    assert "cannot be read" in refused(*train, "--prices", tmp_path / "none.toml")
    assert refused(*train, "--max-cost", -1)
    assert refused(*train, "--test", tmp_path / "none.features")


def test_a_run_that_waits_for_answers(command, asked, lines) -> None:
    done = command("plan", "--run", asked, "--llm", "gpt-4o-mini", "--json")
    assert done.code == 0, done.err
    value = json.loads(done.out)
    requests = lines(asked / "requests.jsonl") + lines(asked / "calibration.jsonl")
    found = value["prediction"]
    assert (value["strategy"], value["training"], found["rows"]) == ("rag", None, len(requests))
    assert found["written"]["most"] == sum(request["max_tokens"] for request in requests)
    assert found["written"]["expected"] < found["written"]["most"]
    counts = token_counts("gpt-4o-mini")
    # The schema that holds an answer to its candidates is read, too.
    assert found["read"]["most"] > sum(counts.prompt(request["messages"])[1] for request in requests) * 1.1
    bounded = json.loads(command("plan", "--run", asked, "--llm", "gpt-4o-mini", "--max-tokens", 2, "--json").out)
    assert bounded["prediction"]["written"] == {"expected": 2 * len(requests), "most": 2 * len(requests)}
    table = command("plan", "--run", asked, "--llm", "gpt-4o-mini")
    assert "prediction by gpt-4o-mini" in table.out
    assert "fine-tune" not in table.out


def test_what_is_answered_costs_nothing_more(command, refused, asked, lines) -> None:
    requests = lines(asked / "calibration.jsonl") + lines(asked / "requests.jsonl")

    def answer(some: list[dict]) -> None:
        with GrowingLines(asked / ANSWERS) as out:
            out.append(Completion(request["id"], "x").to_dict() for request in some)

    answer(requests[:30])
    value = json.loads(command("plan", "--run", asked, "--llm", "gpt-4o-mini", "--json").out)
    assert value["prediction"]["rows"] == len(requests) - 30
    answer(requests[30:])
    assert "every request has an answer" in refused("plan", "--run", asked, "--llm", "gpt-4o-mini")


def test_a_run_is_not_changed_by_a_plan(command, asked) -> None:
    before = {path.name: path.read_bytes() for path in asked.rglob("*") if path.is_file()}
    command("plan", "--run", asked, "--llm", "gpt-4o-mini")
    assert {path.name: path.read_bytes() for path in asked.rglob("*") if path.is_file()} == before


def test_what_the_run_was_told_of_money_stands(command, asked, tmp_path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text("[own]\ninput = 1e6\noutput = 0\nbatch = 1\n")
    run = RunDirectory.open(asked)
    run.record(max_cost=2.0, prices=str(file))
    name_all({"prices": str(file)})  # as the job that was told of them does
    done = command("plan", "--run", asked, "--llm", "own", "--json")
    value = json.loads(done.out)["prediction"]
    assert value["dollars"]["most"] == value["read"]["most"]
    assert done.code == 2
    assert done.err.startswith("classify: --max-cost 2: what is planned could cost $")
    assert command("plan", "--run", asked, "--llm", "own", "--max-cost", 1e9).code == 0


def test_mistakes_with_a_run(command, refused, asked, shop, tmp_path) -> None:
    plan = ("plan", "--run", asked)
    assert "--llm NAME: name the model" in refused(*plan)
    line = refused(*plan, "--llm", "gpt-4o", "--epochs", 2)
    assert line.startswith("classify: --epochs is not an option of plan --run")
    assert "--test-rows is not an option of plan --run" in refused(*plan, "--llm", "gpt-4o", "--test-rows", 2)
    assert "--strategy is not an option of plan --run" in refused(*plan, "--llm", "gpt-4o", "--strategy", "lora")
    assert "not a run directory" in refused("plan", "--run", tmp_path / "none")
    done = command(*plan, "--llm", "gpt-4o", "--max-cost", 0)
    assert done.code == 2
    assert "--max-cost 0: what is planned could cost $" in done.err
    tree = tmp_path / "tree"
    assert command("--strategy", "tree", "--train", shop.train_file, "--test", shop.test_file, "--run", tree).code == 0
    assert "the strategy tree asks no LLM" in refused("plan", "--run", tree, "--llm", "gpt-4o")
