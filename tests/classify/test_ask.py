"""Which rows are asked about, and that their answers can be given back."""

import csv
from pathlib import Path

import numpy as np
import pytest

from catalog.errors import ShelfmarkError
from catalog.products import read_products
from classify.ask import ask, choose
from classify.job import Job
from classify.run import Run
from classify.strategies.rag import RagOptions


def test_the_uncertain_come_first():
    texts = ["red apples", "tinned tuna", "dish soap", "oat drink"]
    assert set(choose(texts, np.array([0.9, 0.1, 0.95, 0.2]), 2)) == {1, 3}


def test_of_two_alike_one_is_asked_about():
    texts = ["tinned tuna in brine", "tinned tuna in brine", "dish soap lemon"]
    assert set(choose(texts, np.array([0.10, 0.11, 0.3]), 2)) == {0, 2}


def test_all_rows_where_more_are_asked_for():
    assert sorted(choose(["a", "b", ""], np.array([0.5, 0.5, 0.5]), 10)) == [0, 1, 2]


def test_answers_are_training_data(shop, tmp_path: Path):
    job = Job("rag", "neighbours", shop.schema, RagOptions().model_dump(), 0, shop.known, (shop.train_file,))
    run = Run.start(tmp_path / "run", job)
    run.execute()
    place = tmp_path / "ask.csv"
    assert ask(run, 12, place) == 12
    with open(place, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 12
    assert all(row[level] == "" for row in rows for level in shop.schema.levels)
    with pytest.raises(ShelfmarkError, match=r"ask\.csv, line 2, column 'supergroup': the label is empty"):
        read_products(place, shop.schema, labels=True)
    truth = dict(zip(shop.test.ids, shop.test.require_labels(), strict=True))
    for row in rows:
        row.update(zip(shop.schema.levels, truth[int(row["indoml_id"])], strict=True))
    with open(place, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    more = Job("rag", "neighbours", shop.schema, RagOptions().model_dump(), 0, shop.known, (shop.train_file, place))
    second = Run.start(tmp_path / "second", more)
    second.execute()
    assert second.manifest["stages"]["fit"]["rows"] == len(shop.train) + 12
    with pytest.raises(ShelfmarkError, match="may hold somebody's work"):
        ask(run, 12, place)
