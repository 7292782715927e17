import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import ShelfmarkError
from catalog.product_files import write_products
from catalog.products import Products, products_from_frame, read_labels, read_products, stream_products
from catalog.schema import PRESETS, Schema

INDOML = PRESETS["indoml"]
SMALL = Schema(name="small", id="id", text=("text",), levels=("module", "brand"), retailer="retailer", price="price")
ODD = st.text(st.characters(exclude_categories=["Cs"]), max_size=10) | st.sampled_from(
    ["a/b", "a | b", 'say "x"', "two\nlines", "two\r\nlines", "\r", "a,b;c\td", "日本", " ", "\u2028"]
)
VALUE = ODD.filter(lambda value: value and "__" not in value)
PRICE = st.just(math.nan) | st.floats(min_value=0, max_value=1e6, allow_nan=False)


@st.composite
def products(draw: st.DrawFn) -> Products:
    ids = draw(st.lists(st.integers() | st.sampled_from(["a-1", "é", "007"]), min_size=1, max_size=5, unique=True))
    rows = len(ids)

    def each(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=rows, max_size=rows))

    return Products(ids, {"text": each(ODD)}, each(ODD), np.array(each(PRICE)), each(st.tuples(VALUE, VALUE)))


def same(first: Products, second: Products) -> bool:
    return (
        (first.ids, first.columns, first.retailers, first.labels)
        == (second.ids, second.columns, second.retailers, second.labels)
    ) and np.array_equal(first.prices, second.prices, equal_nan=True)


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def feature(name: Any = 1, **changes: Any) -> dict[str, Any]:
    return {"indoml_id": name, "description": "tea", "retailer": "shop", "price": 1.5, **changes}


def label(name: Any = 1, **changes: Any) -> dict[str, Any]:
    return {"indoml_id": name, "supergroup": "s", "group": "g", "module": "m", "brand": "b", **changes}


def message(call: Callable[[], object]) -> str:
    with pytest.raises(ShelfmarkError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


@settings(max_examples=40)
@given(products())
def test_written_products_are_read_back(tmp_path_factory: pytest.TempPathFactory, written: Products) -> None:
    folder = tmp_path_factory.mktemp("p")
    half = len(written) // 2
    blocks = [written.take(range(half)), written.take(range(half, len(written)))]
    assert write_products(folder, "train", blocks, SMALL) == len(written)
    for path in (folder, folder / "train.features"):
        assert same(read_products(path, SMALL, labels=True), written)
    assert read_products(folder / "train.features", SMALL).labels is None
    assert list(read_labels(folder / "train.labels", SMALL).items()) == list(
        zip(written.ids, written.require_labels(), strict=True)
    )


@settings(max_examples=40)
@given(products())
def test_one_file_with_inputs_and_levels(tmp_path_factory: pytest.TempPathFactory, written: Products) -> None:
    frame = pd.DataFrame(
        {
            "id": pd.Series(written.ids, dtype=object).map(str),
            "text": written.texts,
            "retailer": written.retailers,
            "price": written.prices,
            **dict(zip(SMALL.levels, zip(*written.require_labels(), strict=True), strict=True)),
        }
    )
    folder = tmp_path_factory.mktemp("p")
    frame.to_parquet(folder / "a.parquet")
    frame.to_json(folder / "a.jsonl.gz", orient="records", lines=True, double_precision=15)
    for name in ("a.parquet", "a.jsonl.gz"):
        read = read_products(folder / name, SMALL, labels=True)
        assert [str(name) for name in read.ids] == [str(name) for name in written.ids]
        assert (read.texts, read.retailers, read.labels) == (written.texts, written.retailers, written.labels)
        assert read.prices == pytest.approx(written.prices, nan_ok=True)


def test_missing_price_and_empty_retailer_are_normal(tmp_path: Path) -> None:
    rows = [feature(1, price=None, retailer=None), feature(2, retailer=""), feature(3)]
    del rows[1]["price"]
    read = read_products(write(tmp_path / "a.features", *rows), INDOML)
    assert read.retailers == ["", "", "shop"]
    assert np.isnan(read.prices).tolist() == [True, True, False]


def test_a_price_column_that_is_nowhere_is_an_error(tmp_path: Path) -> None:
    row = feature()
    del row["price"]
    path = write(tmp_path / "a.features", row)
    assert message(lambda: read_products(path, INDOML)).startswith(f"{path}: no row has a column 'price'; columns here")


def test_other_columns_are_passed_over_and_labels_follow_the_ids(tmp_path: Path) -> None:
    write(tmp_path / "a.features", feature(2, note="x"), feature("b"))
    write(tmp_path / "a.labels", label("b", brand="bb"), label(2))
    assert read_products(tmp_path / "a.features", INDOML, labels=True).labels == [tuple("sgmb"), (*"sgm", "bb")]


def test_text_columns_are_joined() -> None:
    schema = PRESETS["relevance"]
    frame = pd.DataFrame({"query": ["a"], "title": [None], "description": ["c"]})
    assert products_from_frame(frame, schema).texts == ["a  c"]


@settings(max_examples=40)
@given(products(), st.integers(1, 3))
def test_a_stream_gives_the_same_rows_in_blocks(
    tmp_path_factory: pytest.TempPathFactory, written: Products, chunk: int
) -> None:
    folder = tmp_path_factory.mktemp("p")
    write_products(folder, "test", [written], SMALL)
    blocks = list(stream_products(folder, SMALL, chunk_rows=chunk))
    assert [name for block in blocks for name in block.ids] == written.ids
    assert all(len(block) == chunk for block in blocks[:-1])
    assert [len(block) for block in stream_products(folder, SMALL, limit=1)] == [1]


def test_take_picks_in_the_given_order() -> None:
    products = Products(
        [1, 2, 3], {"a": list("xyz")}, ["r", "", "s"], np.array([1, np.nan, 3]), [("m", c) for c in "xyz"]
    )
    taken = products.take(np.array([2, 0]))
    assert same(taken, Products([3, 1], {"a": ["z", "x"]}, ["s", "r"], np.array([3.0, 1.0]), [("m", "z"), ("m", "x")]))
    assert len(products.take([])) == 0


# Bad input: one line each, with the file and what to do.


def test_duplicate_ids(tmp_path: Path) -> None:
    path = write(tmp_path / "a.features", feature(1), feature(2), feature(1))
    expected = f"{path}, line 3, column 'indoml_id': the id 1 occurs twice, first in line 1; each row needs its own"
    assert message(lambda: read_products(path, INDOML)) == expected
    assert message(lambda: list(stream_products(path, INDOML, chunk_rows=1))) == expected
    labels = write(tmp_path / "a.labels", label(1), label(1))
    assert message(lambda: read_labels(labels, INDOML)) == (
        f"{labels}, line 2, column 'indoml_id': the id 1 occurs twice; each row needs its own"
    )


def test_missing_ids(tmp_path: Path) -> None:
    path = write(tmp_path / "a.features", feature(1), feature(None))
    assert message(lambda: read_products(path, INDOML)) == (
        f"{path}, line 2, column 'indoml_id': the id is missing; give each row one"
    )
    row = feature()
    del row["indoml_id"]
    path = write(tmp_path / "a.features", row)
    assert message(lambda: read_products(path, INDOML)).startswith(
        f"{path}, line 1: no column 'indoml_id'; columns here"
    )


def test_unequal_features_and_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.features", feature(1), feature(2))
    labels = write(tmp_path / "a.labels", label(1))
    assert message(lambda: read_products(path, INDOML, labels=True)) == (
        f"{labels}: no label for the id 2 of a.features (2 products, 1 labels)"
    )
    write(labels, label(1), label(2), label(3))
    assert message(lambda: read_products(path, INDOML, labels=True)) == (
        f"{labels}: the id 3 is not in a.features (2 products, 3 labels)"
    )
    # A part of the features needs a part of the labels only.
    assert len(read_products(path, INDOML, labels=True, limit=1)) == 1


def test_a_train_file_without_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.features", feature())
    assert message(lambda: read_products(path, INDOML, labels=True)) == (
        f"{path}: no labels beside it; put a.labels into the same folder"
    )
    path = write(tmp_path / "a.jsonl", feature())
    assert message(lambda: read_products(path, INDOML, labels=True)).startswith(
        f"{path}, line 1: no column 'supergroup'; columns here: indoml_id, description"
    )
    assert message(read_products(path, INDOML).require_labels) == "these products have no labels; training needs them"


def test_a_folder_without_the_file(tmp_path: Path) -> None:
    assert message(lambda: read_products(tmp_path, INDOML, labels=True)) == (
        f"{tmp_path}: a folder without train.features (or train.csv, .jsonl, .parquet); name the file"
    )
    assert "without test.features" in message(lambda: list(stream_products(tmp_path, INDOML)))


@pytest.mark.parametrize(
    ("row", "column", "problem"),
    [
        (feature(price=-1), "price", "the price -1 is negative"),
        (feature(price=math.nan), "price", "nan is not a price"),
        (feature(description=["a"]), "description", "['a'] is not text"),
        (feature(retailer=True), "retailer", "True is not text"),
    ],
)
def test_wrong_values(tmp_path: Path, row: dict[str, Any], column: str, problem: str) -> None:
    path = write(tmp_path / "a.features", feature(7), row)
    assert message(lambda: read_products(path, INDOML)).startswith(f"{path}, line 2, column '{column}': {problem}")


def test_wrong_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.features", feature(1))
    labels = write(tmp_path / "a.labels", label(1, group="x__y"))
    assert message(lambda: read_products(path, INDOML, labels=True)).startswith(
        f"{labels}, line 1, column 'group': 'x__y' contains '__'"
    )
    write(labels, label(1, group=""))
    assert message(lambda: read_products(path, INDOML, labels=True)).startswith(
        f"{labels}, line 1, column 'group': the label is empty"
    )


def test_frames() -> None:
    frame = pd.DataFrame([feature(5, **{"price": None}), feature(6, retailer=None)]).assign(
        **dict.fromkeys(INDOML.levels, "x")
    )
    read = products_from_frame(frame, INDOML, labels=True)
    assert read.ids == [5, 6]
    assert read.retailers == ["shop", ""]
    assert read.labels == [("x",) * 4] * 2
    assert products_from_frame(frame.drop(columns="indoml_id"), INDOML).ids == [0, 1]


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (pd.DataFrame([feature()])[[]], "the frame has no column 'description'; columns: "),
        (pd.DataFrame([feature()]).iloc[:0], "the frame has no rows"),
        (pd.DataFrame([feature(1), feature(1)]), "the frame, row 1, column 'indoml_id': the id 1 occurs twice"),
        (pd.DataFrame([feature(), feature(price=-2)]), "the frame, row 1, column 'price': the price -2.0 is negative"),
        (pd.DataFrame([feature(None)]), "the frame, row 0, column 'indoml_id': the id is missing"),
    ],
)
def test_wrong_frames(frame: pd.DataFrame, expected: str) -> None:
    assert message(lambda: products_from_frame(frame, INDOML)).startswith(expected)


def test_nothing_is_written_when_some_blocks_have_labels_and_some_not(tmp_path: Path) -> None:
    plain = Products([1], {"text": ["a"]}, [""], np.array([1.0]))
    labelled = Products([2], {"text": ["a"]}, [""], np.array([1.0]), [("m", "b")])
    for blocks in ([plain, labelled], [labelled, plain]):
        assert "write them apart" in message(lambda blocks=blocks: write_products(tmp_path, "a", blocks, SMALL))
    assert message(lambda: write_products(tmp_path, "a", [], SMALL)) == f"{tmp_path / 'a'}: no products to write"
    assert list(tmp_path.iterdir()) == []
    write_products(tmp_path, "a", [plain], SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["a.features"]
