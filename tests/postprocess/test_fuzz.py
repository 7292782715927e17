"""Any bytes in, by way of a file: one row for each answer, a valid path or an explicit status, never an error."""

import json
import random

import pytest

from catalog.schema import PRESETS
from postprocess import Snapper, read_answers
from postprocess.files import snap_answers

SCHEMA = PRESETS["indoml"]
ROWS, MANY, SOME = 10_000, 3_000, 1_500
SIGNS = "abcxyz _|/>{}[]\"':,\\\n\r\t\0\u00e9\u0301\u200b\u2028\U0001f37a\ud800\ufeff"


def label(rng, path):
    """Return a label as text or as an object, whole or cut."""
    text = "__".join(path)
    if rng.random() < 0.3:
        text = json.dumps(dict(zip(SCHEMA.levels, path, strict=True)), ensure_ascii=rng.random() < 0.5)
    return text[: rng.randrange(len(text))] if rng.random() < 0.1 else text


def with_other_signs(rng, text):
    for _ in range(rng.randint(1, 5)):
        at, size = rng.randrange(len(text) + 1), rng.randint(0, 4)
        put = rng.choice(["", rng.choice(SIGNS) * rng.randint(1, 3), "\\ud83d", text[at : at + size].swapcase()])
        text = text[:at] + put + text[at + size :]
    return text


def with_other_bytes(rng, text):
    raw = bytearray(text.encode("utf-8", "surrogatepass"))
    for _ in range(rng.randint(1, 5)):
        at = rng.randrange(len(raw) + 1)
        raw[at : at + rng.randint(0, 2)] = rng.randbytes(rng.randint(0, 3))
    return bytes(raw).decode(*rng.choice([("utf-8", "replace"), ("utf-8", "surrogateescape"), ("latin-1",)]))


def in_another_form(rng, text):
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(text) + 1)
        pairs = zip(SCHEMA.levels, text.split("__"), strict=False)
        text = rng.choice(
            [
                text[at:] + text[:at],
                text[:at] + text[at : at + 6] + text[at:],
                text.replace("__", rng.choice(["_", " > ", "", "|", "____"])),
                "{" + ", ".join(f'"{level}": "{value}"' for level, value in pairs),
            ]
        )
    return text


def mutated(rng, text):
    for _ in range(rng.randint(1, 2)):
        text = rng.choice([with_other_signs, with_other_bytes, in_another_form])(rng, text)
    return text


@pytest.fixture(scope="module")
def answers(taxonomy, tmp_path_factory):
    """Write mutated answers, and all that are right: many or some of them."""
    rng = random.Random(20261121)
    right = ["__".join(path) for path in taxonomy.paths]
    texts = [label(rng, rng.choice(taxonomy.paths)) for _ in range(ROWS)]
    rows = [(at, mutated(rng, text)) for at, text in enumerate(texts)]

    def file(count):
        place = tmp_path_factory.mktemp("fuzz") / "answers.jsonl"
        lines = (json.dumps(dict(zip(("indoml_id", "answer"), row, strict=True))) for row in rows[:count])
        own = (json.dumps({"indoml_id": text, "answer": text}) for text in right)
        place.write_text("\n".join([*lines, *own, ""]), encoding="utf-8")
        return place

    return file


def snapped(file, snapper, out):
    """Snap a file and return the output's rows by id, each with whether its values are valid."""
    snap_answers(read_answers(file, SCHEMA), snapper, out, SCHEMA)
    rows = {}
    for line in out.read_text(encoding="utf-8").split("\n")[:-1]:
        row = json.loads(line)
        path = tuple(row[level] for level in SCHEMA.levels)
        rows[row["indoml_id"]] = (path, row["confidence"], row["status"])
    return rows


def check(taxonomy, rows, count, policy, leave_below):
    """Each answer has one row, a valid path or the explicit status of none; what was right is as it was."""
    assert len(rows) == count + len(taxonomy)
    statuses = {status for _, _, status in rows.values()}
    assert statuses == {"exact", "repaired", "fallback"} | ({"abstained"} if leave_below else set())
    for path, confidence, status in rows.values():
        assert 0.0 <= confidence <= 1.0
        if status == "abstained":
            assert confidence < leave_below
        else:
            assert taxonomy.is_valid(path, policy)
            assert status != "repaired" or confidence >= leave_below
    for path in taxonomy.paths:
        assert rows["__".join(path)] == (path, 1.0, "exact")


@pytest.mark.parametrize(("count", "policy", "leave_below"), [(ROWS, "path", 0.6), (MANY, "brand-free", 0.0)])
def test_whatever_comes_in_a_valid_path_or_a_status_comes_out(taxonomy, answers, tmp_path, count, policy, leave_below):
    rows = snapped(answers(count), Snapper(taxonomy, policy, leave_below=leave_below), tmp_path / "out.jsonl")
    check(taxonomy, rows, count, policy, leave_below)
    again = snapped(tmp_path / "out.jsonl", Snapper(taxonomy, policy), tmp_path / "again.jsonl")
    for name, (path, _, status) in rows.items():
        if status != "abstained":
            assert again[name] == (path, 1.0, "exact")


def test_no_answer_depends_on_the_others(taxonomy, answers, tmp_path):
    file = answers(SOME)
    straight = snapped(file, Snapper(taxonomy), tmp_path / "out.jsonl")
    check(taxonomy, straight, SOME, "path", 0.0)
    lines = file.read_text(encoding="utf-8").split("\n")[:-1]
    random.Random(7).shuffle(lines)
    (tmp_path / "shuffled.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    shuffled = snapped(tmp_path / "shuffled.jsonl", Snapper(taxonomy), tmp_path / "out.jsonl")
    assert list(shuffled) != list(straight)
    assert shuffled == straight


def test_predictions_and_changes_come_out_as_csv_too(taxonomy, answers, tmp_path):
    found = read_answers(answers(SOME), SCHEMA)
    for suffix in ("jsonl", "csv"):
        out, changes = tmp_path / f"out.{suffix}", tmp_path / f"changes.{suffix}"
        snap_answers(found, Snapper(taxonomy, leave_below=0.6), out, SCHEMA, changes=changes)
    assert read_answers(tmp_path / "out.csv", SCHEMA) == read_answers(tmp_path / "out.jsonl", SCHEMA)
