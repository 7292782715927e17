"""Every engine, strategy and way to hold an answer, end to end, to a server that answers well, badly, and both."""

import json
from pathlib import Path
from typing import Any

import pytest

from catalog.messages import Completion, Request
from catalog.schema import SEPARATOR
from classify.provider.client import Provider
from tests.openai_server import KEY, ORG, Server, running
from tests.openai_server.answers import bad, candidates, good, mixed
from tests.openai_server.driving import check_books
from tests.openai_server.state import Tuned
from tests.openai_server.taught import Taught

ROWS = 6
WAYS = {"well": good, "badly": bad, "mixed": mixed}
PLAIN = "gpt-4o-mini"
TUNED = "ft:gpt-4o-mini-2024-07-18:loopback::model"
STRATEGIES = {
    "rag": ("--calibrate", 0),
    "rag, held-out rows": ("--calibrate", 4),
    "rag by level": ("--calibrate", 0, "--ask-by", "level"),
    "openai": (),
}
ENGINES = ("server", "batch", "import")


class _Bad(Taught):
    """A fine-tuned model that forgot all."""

    def answer(self, user: str) -> str:
        return bad({"messages": user})


@pytest.fixture(scope="module")
def served(shop, tmp_path_factory: pytest.TempPathFactory) -> Any:
    taught = Taught()
    for text, label in zip(shop.train.texts, shop.train.labels, strict=True):
        taught.learn([{"role": "user", "content": text}, {"role": "assistant", "content": SEPARATOR.join(label)}])
    with running(tmp_path_factory.mktemp("server")) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", KEY)
        patch.setenv("OPENAI_BASE_URL", server.url)
        patch.setattr(Provider, "sleep", staticmethod(lambda seconds: None))
        yield server, {"well": taught, "badly": _Bad(), "mixed": taught}


CELLS = [
    (engine, strategy, constrain, way)
    for engine in ENGINES
    for strategy in STRATEGIES
    for constrain in ("choice", "json", "off")
    for way in WAYS
    # Batches know no choice, and cannot ask one question by the answer to another; of the rest, each pair once.
    if not (engine != "server" and (constrain == "choice" or strategy == "rag by level"))
    if not (strategy != "rag" and (way == "badly" or constrain == "off"))
    if not (strategy == "rag, held-out rows" and (constrain, way) != ("json", "mixed"))
]


@pytest.mark.parametrize("cell", CELLS, ids="-".join)
def test_a_run(served: Any, shop, model: Path, command, lines, tmp_path: Path, cell: tuple[str, ...]) -> None:
    (server, taught), (engine, strategy, constrain, way) = served, cell
    state = server.state
    state.ledger.clear()
    state.batches.clear()
    state.answer, state.knows_choices = WAYS[way], constrain == "choice"
    state.tuned[TUNED] = Tuned(TUNED, ORG, 0, taught[way])
    run, name = tmp_path / "run", PLAIN if strategy.startswith("rag") else TUNED
    known = ("--model", model) if strategy.startswith("rag") else ("--model", TUNED, "--train", shop.train_file)
    begin = ("--strategy", strategy.partition(" ")[0].strip(","), *known, "--test", shop.test_file, "--run", run)
    begin += ("--limit", ROWS, *STRATEGIES[strategy])
    asked = ("--engine", engine, "--llm", name, "--constrain", constrain)
    if engine == "import":
        assert command(*begin, "--engine", "server", "--llm", name, "--until", "requests").code == 0
        export = ("export", run, "--format", "openai-batch", "--llm", name, "--constrain", constrain)
        assert command(*export, "--out", tmp_path / "export").code == 0
        answers = tmp_path / "answers.jsonl"
        answers.write_text(
            "".join(answered(server, line) for line in lines(tmp_path / "export" / "requests-001.jsonl"))
        )
        done = command("import", run, answers)
        assert done.code == 0, done.err
        done = command("resume", run)
    else:
        done = command(*begin, *asked, *(("--poll", 0.01) if engine == "batch" else ()))
    assert done.code == 0, done.err
    if engine == "batch":
        check_books(run / "batches", state)
        assert set(state.processed().values()) == {1}
    found = lines(run / "predictions.jsonl")
    assert len(found) == ROWS
    requests = [Request.from_dict(line) for line in lines(run / "requests.jsonl")]
    told = [Completion.from_dict(line) for line in lines(run / "completions.jsonl")]
    by_id = {request.id: request for request in requests}
    for completion in told:
        if completion.id in by_id:
            completion.check_answers(by_id[completion.id])
    if way == "well":
        assert {row["status"] for row in found} <= {"exact", "repaired"}
        assert all(one.error is None for one in told)
        if strategy.startswith("rag"):
            assert all(one.logprobs is not None for one in told)
        else:
            assert all(one.logprob is not None for one in told)
    if way == "badly":
        assert {row["status"] for row in found} == {"fallback"}


def answered(server: Server, line: dict[str, Any]) -> str:
    """Return the line of an output file for one of an input file."""
    from tests.openai_server.chat import complete

    body = complete(server.state, ORG, line["body"])
    response = {"status_code": 200, "request_id": "r", "body": body}
    return json.dumps({"id": "b", "custom_id": line["custom_id"], "response": response, "error": None}) + "\n"


def test_a_good_answer_is_a_candidate() -> None:
    turns = [{"role": "user", "content": "Possible labels:\n- a__b\n- c__d\nProduct: x\nLabel:"}]
    assert candidates({"messages": turns}) == ["a__b", "c__d"]
    assert good({"messages": turns}) in ("a__b", "c__d")
    assert good({"messages": [{"role": "user", "content": "x"}]}) == "x"
