import math
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from catalog.errors import ShelfmarkError
from catalog.products import Products
from catalog.schema import Schema
from rag.encoders import Vectors, make_encoder
from rag.index import Index, log_prices
from rag.ngram import NgramEncoder


@pytest.fixture(scope="module")
def index(shop) -> Index:
    return Index.build(shop.train, shop.schema, make_encoder("ngram"))


def test_a_retailer_is_one_slice(index: Index, shop) -> None:
    rows = index.products
    assert sorted(index.slices) == sorted({name for name in shop.train.retailers if name})
    for retailer, (start, end) in index.slices.items():
        assert set(rows.retailers[start:end]) == {retailer}
        assert rows.retailers.count(retailer) == end - start
    assert sorted(rows.ids) == sorted(shop.train.ids)


def test_rows_keep_their_order_within_a_retailer(index: Index, shop) -> None:
    places = {name: place for place, name in enumerate(shop.train.ids)}
    for start, end in index.slices.values():
        order = [places[name] for name in index.products.ids[start:end]]
        assert order == sorted(order)


def test_products_without_a_retailer_are_in_no_slice(make_products, shop) -> None:
    train = make_products(
        [("milk", "", 1.0, "a__b__c__d"), ("tea", "x", 1.0, "a__b__c__d"), ("jam", "", 1, "a__b__c__d")]
    )
    index = Index.build(train, shop.schema, make_encoder("ngram"))
    assert index.slices == {"x": (2, 3)}
    assert index.taxonomy.retailers == {"x": {("a", "b", "c", "d"): 1}}


def test_log_prices() -> None:
    found = log_prices(np.array([0.0, 0.01, 1.0, math.nan]))
    np.testing.assert_allclose(found, [math.log(0.01), math.log(0.01), 0.0, math.nan])


def test_labels_are_needed(shop) -> None:
    bare = shop.train.take(range(3))
    bare.labels = None
    with pytest.raises(ShelfmarkError, match="no labels"):
        Index.build(bare, shop.schema, make_encoder("ngram"))


def test_save_and_load(index: Index, shop, tmp_path) -> None:
    index.save(tmp_path)
    loaded = Index.load(tmp_path, shop.schema)
    assert len(loaded) == len(index)
    assert (loaded.vectors.sparse != index.vectors.sparse).nnz == 0
    assert loaded.vectors.dense.shape == index.vectors.dense.shape == (len(index), 0)
    assert (loaded.labels, loaded.slices) == (index.labels, index.slices)
    assert (loaded.products.texts, loaded.products.retailers) == (index.products.texts, index.products.retailers)
    np.testing.assert_array_equal(loaded.products.prices, index.products.prices)
    assert (loaded.taxonomy.counts, loaded.taxonomy.retailers) == (index.taxonomy.counts, index.taxonomy.retailers)


def test_the_same_products_give_the_same_files(shop, index: Index, tmp_path) -> None:
    Index.build(shop.train, shop.schema, make_encoder("ngram")).save(tmp_path / "one")
    index.save(tmp_path / "other")
    names = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert {"sparse_data.npy", "rows.parquet"} <= set(names)
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes(), name


def test_the_metadata_are_a_plain_table(index: Index, tmp_path) -> None:
    index.save(tmp_path)
    table = pq.read_table(tmp_path / "rows.parquet").to_pandas()
    assert list(table.columns) == [
        "id",
        "text.description",
        "retailer",
        "price",
        "level.supergroup",
        "level.group",
        "level.module",
        "level.brand",
    ]
    assert list(table["id"]) == [str(name) for name in index.products.ids]
    assert table["price"].isna().sum() == np.isnan(index.products.prices).sum()


def test_any_values_come_back(make_products, shop, tmp_path) -> None:
    texts = ['quo"te', "line\nbreak", "tab\t", "ünïcödé 牛奶 🥛", "a/b|c,d & e", "", " ", "\r", "\x00nul"]
    rows = [(text, text, float(row), f"{text or 'x'}__{text or 'x'}__c__d") for row, text in enumerate(texts)]
    train = make_products(rows)
    Index.build(train, shop.schema, make_encoder("ngram")).save(tmp_path)
    loaded = Index.load(tmp_path, shop.schema)
    assert sorted(loaded.products.texts) == sorted(texts)
    assert sorted(loaded.labels) == sorted(train.labels)


def test_a_schema_without_retailer_and_price(tmp_path) -> None:
    schema = Schema("pairs", "id", ("query", "title"), ("grade",))
    train = Products([1, "x"], {"query": ["tea", "jam"], "title": ["green tea", ""]}, ["", ""], np.full(2, np.nan))
    train.labels = [("good",), ("bad",)]
    Index.build(train, schema, make_encoder("ngram")).save(tmp_path)
    loaded = Index.load(tmp_path, schema)
    assert (loaded.products.texts, loaded.slices) == (["tea green tea", "jam "], {})
    assert np.isnan(loaded.log_prices).all()


FILES = (
    "encoder.json",
    "ngram.npz",
    "rows.parquet",
    "sparse_data.npy",
    "sparse_indices.npy",
    "sparse_indptr.npy",
    "sparse_shape.npy",
)


def test_all_files_are_known(index: Index, tmp_path) -> None:
    index.save(tmp_path)
    assert tuple(sorted(file.name for file in tmp_path.iterdir())) == FILES


def test_dense_vectors_are_kept_beside_the_others(index: Index, shop, tmp_path) -> None:
    dense = np.random.default_rng(0).normal(size=(len(index), 3)).astype(np.float32)
    both = Index(index.encoder, Vectors(dense, index.vectors.sparse), index.products, shop.schema)
    both.save(tmp_path)
    loaded = Index.load(tmp_path, shop.schema)
    assert (loaded.vectors.dense == dense).all()
    assert (loaded.vectors.sparse != index.vectors.sparse).nnz == 0
    (tmp_path / "index.faiss").unlink()
    with pytest.raises(ShelfmarkError, match="damaged"):
        Index.load(tmp_path, shop.schema)


def test_dense_vectors_alone(index: Index, shop, tmp_path) -> None:
    dense = np.random.default_rng(0).normal(size=(len(index), 3)).astype(np.float32)
    Index(index.encoder, Vectors(dense, None), index.products, shop.schema).save(tmp_path)
    loaded = Index.load(tmp_path, shop.schema)
    assert (loaded.vectors.dense == dense).all()
    assert (loaded.vectors.sparse, loaded.vocabulary) == (None, None)


@pytest.fixture(scope="module")
def saved(index: Index, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index")
    index.save(folder)
    return folder


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "garbled"])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file(saved: Path, shop, tmp_path, name: str, damage: str) -> None:
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    file = tmp_path / name
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        garbled = bytes(255 - byte for byte in content[:60]) + content[60:]
        file.write_bytes({"empty": b"", "cut": content[: len(content) * 2 // 3], "garbled": garbled}[damage])
    with pytest.raises(ShelfmarkError) as caught:
        Index.load(tmp_path, shop.schema)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_files_of_different_indexes(index: Index, shop, tmp_path) -> None:
    index.save(tmp_path / "one")
    other = Index.build(shop.train.take(range(50)), shop.schema, NgramEncoder())
    other.save(tmp_path / "other")
    (tmp_path / "other" / "rows.parquet").replace(tmp_path / "one" / "rows.parquet")
    with pytest.raises(ShelfmarkError, match="50 rows, 260 vectors"):
        Index.load(tmp_path / "one", shop.schema)


def test_an_index_of_an_earlier_version(index: Index, shop, tmp_path) -> None:
    index.save(tmp_path)
    np.save(tmp_path / "exact_shape.npy", np.array([2**21, 1024]))
    with pytest.raises(ShelfmarkError, match=r"of another version \(its n-grams are sketched.*fit the model again"):
        Index.load(tmp_path, shop.schema)


def test_no_pickle_is_read(index: Index, shop, tmp_path) -> None:
    index.save(tmp_path)
    np.save(tmp_path / "sparse_data.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(ShelfmarkError, match="damaged"):
        Index.load(tmp_path, shop.schema)
