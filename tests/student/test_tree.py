import json
import math
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import student.encoding
from catalog.errors import ShelfmarkError
from catalog.products import Products
from catalog.schema import PRESETS
from rag.encoders import Vectors
from student import TreeClassifier

pytestmark = pytest.mark.filterwarnings("error")

SCHEMA = PRESETS["indoml"]


@pytest.fixture(scope="module")
def fitted(shop) -> TreeClassifier:
    return TreeClassifier.fit(shop.train, SCHEMA)


def test_it_learns(fitted: TreeClassifier, shop) -> None:
    truth = shop.test.require_labels()
    found = fitted.predict(shop.test)
    right = np.mean([paths[0] == path for paths, path in zip(found.paths, truth, strict=True)])
    common = max(set(shop.train.labels), key=shop.train.labels.count)
    assert right > 0.1
    assert right > 3 * np.mean([common == path for path in truth])
    tops = np.mean([paths[0][0] == path[0] for paths, path in zip(found.paths, truth, strict=True)])
    assert tops > 0.3


@pytest.mark.parametrize("policy", ["path", "brand-free"])
def test_paths_are_valid_and_probabilities_make_sense(fitted: TreeClassifier, shop, policy) -> None:
    found = fitted.predict(shop.test, top_n=5, policy=policy)
    uppers, lasts = {path[:-1] for path in shop.train.labels}, {path[-1] for path in shop.train.labels}
    for paths, chances in zip(found.paths, found.probabilities, strict=True):
        assert 1 <= len(paths) <= 5
        assert len(set(paths)) == len(paths)
        assert all(path[:-1] in uppers and path[-1] in lasts for path in paths)
        if policy == "path":
            assert set(paths) <= set(shop.train.labels)
        assert (np.diff(chances) <= 0).all()
        assert not chances[len(paths) :].any()
    levels = found.level_probabilities
    assert ((levels >= 0) & (levels <= 1)).all()
    assert (np.diff(levels, axis=1) <= 0).all()
    np.testing.assert_array_equal(levels[:, -1], found.probabilities[:, 0])


def test_the_same_seed_gives_the_same_model(fitted: TreeClassifier, shop) -> None:
    again = TreeClassifier.fit(shop.train, SCHEMA).predict(shop.test, top_n=2)
    found = fitted.predict(shop.test, top_n=2)
    assert again.paths == found.paths
    np.testing.assert_array_equal(again.probabilities, found.probabilities)


def test_a_row_is_judged_the_same_alone_and_among_others(fitted: TreeClassifier, shop) -> None:
    together = fitted.predict(shop.test)
    for row in (0, 5, 17):
        alone = fitted.predict(shop.test.take([row]))
        assert alone.paths == [together.paths[row]]
        np.testing.assert_allclose(alone.probabilities[0], together.probabilities[row], atol=1e-4)


def test_a_model_read_back_says_the_same(fitted: TreeClassifier, shop, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m")
    again = TreeClassifier.load(tmp_path / "m")
    one, other = fitted.predict(shop.test, top_n=3), again.predict(shop.test, top_n=3)
    assert one.paths == other.paths
    np.testing.assert_array_equal(one.probabilities, other.probabilities)
    assert again.report == fitted.report
    assert again.path_counts == fitted.path_counts
    assert {path.suffix for path in (tmp_path / "m").iterdir()} == {".npy", ".json"}


def test_a_damaged_model_is_refused(fitted: TreeClassifier, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m")
    facts = json.loads((tmp_path / "m" / "tree.json").read_text())
    del facts["lasts"]
    (tmp_path / "m" / "tree.json").write_text(json.dumps(facts))
    with pytest.raises(ShelfmarkError, match=r"damaged .*fit the model again"):
        TreeClassifier.load(tmp_path / "m")
    with pytest.raises(ShelfmarkError, match="no such file"):
        TreeClassifier.load(tmp_path / "nowhere")


def test_soft_labels_teach_as_hard_ones_do(fitted: TreeClassifier, shop) -> None:
    labels = shop.train.require_labels()
    bare = Products(shop.train.ids, shop.train.columns, shop.train.retailers, shop.train.prices)
    soft = TreeClassifier.fit(bare, SCHEMA, soft=[[(path, 1.0)] for path in labels]).predict(shop.test)
    assert soft.paths == fitted.predict(shop.test).paths


def test_a_doubtful_teacher_is_learned_from(make_products) -> None:
    rows = [("acme milk", "", 1.0, "d__m__m__acme"), ("zeta bread", "", 2.0, "b__b__b__zeta")] * 10
    soft = [[(("d", "m", "m", "acme"), 0.8), (("d", "c", "c", "acme"), 0.2)], [(("b", "b", "b", "zeta"), 1.0)]] * 10
    found = TreeClassifier.fit(make_products(rows), SCHEMA, soft=soft).predict(make_products(rows[:2]), top_n=2)
    assert [paths[0] for paths in found.paths] == [("d", "m", "m", "acme"), ("b", "b", "b", "zeta")]
    assert ("d", "c", "c", "acme") in found.paths[0]


ODD = ["", " ", "x", "milk " * 2000, "牛乳 2l", "حليب", "\U0001f95b\u2028\x85", "a\nb\tc", "'", "0"]


def test_odd_input_gets_a_sensible_answer(fitted: TreeClassifier, make_products) -> None:
    prices = [math.nan, 0.0, 1e300, -1.0, 5.0]
    rows = [(text, shop, price, "a__b__c__d") for text in ODD for shop in ("", "never seen") for price in prices]
    found = fitted.predict(make_products(rows), top_n=2)
    assert np.isfinite(found.probabilities).all()
    assert all(len(path) == 4 for paths in found.paths for path in paths)


@pytest.mark.parametrize(
    "rows",
    [
        [("milk", "x", 1.0, "a__b__c__d")],
        [("", "", math.nan, "a__b__c__d"), ("", "", math.nan, "a__b__c__e")],
        [("milk", "x", 1.0, "a__b__c__d")] * 5,
        [(text, "x", 1.0, f"a__b__c__{number}") for number, text in enumerate(ODD)],
        [(text, "x", 1.0, f"{number}__b__c__d") for number, text in enumerate(ODD)],
    ],
    ids=["one row", "no text", "one label", "each brand once", "each path once"],
)
def test_thin_training_data_is_enough(make_products, rows: list) -> None:
    train = make_products(rows)
    for policy in ("path", "brand-free"):
        found = TreeClassifier.fit(train, SCHEMA).predict(train, top_n=3, policy=policy)
        assert np.isfinite(found.probabilities).all()
        assert all(paths and set(paths) <= set(train.labels) for paths in found.paths)


def test_a_sentence_encoder_is_used_by_one_thread(make_products, monkeypatch: pytest.MonkeyPatch) -> None:
    class OneThread:
        """Stands in for a sentence encoder, whose cache is bound to the thread that opened it."""

        def encode(self, texts) -> Vectors:
            assert threading.current_thread() is threading.main_thread()
            return Vectors(np.ones((len(texts), 2), np.float32), None)

    monkeypatch.setattr(student.encoding, "make_encoder", lambda name: OneThread())
    train = make_products([("milk", "", 1.0, "a__b__c__d"), ("tea", "", 2.0, "a__b__c__e")] * 5)
    found = TreeClassifier.fit(train, SCHEMA, sentences="minilm").predict(train)
    assert [paths[0] for paths in found.paths] == train.labels


def test_nothing_in_nothing_out(fitted: TreeClassifier, shop) -> None:
    assert fitted.predict(shop.test.take([])).paths == []


def test_price_and_retailer_are_used(make_products) -> None:
    rows = [
        ("milk", shop, price, f"d__{kind}__{kind}__own")
        for shop, price, kind in (("x", 1.0, "small"), ("x", 30.0, "large"), ("y", 1.0, "goat"), ("y", 30.0, "herd"))
    ] * 30
    found = TreeClassifier.fit(make_products(rows), SCHEMA).predict(make_products(rows[:4]))
    assert [paths[0][1] for paths in found.paths] == ["small", "large", "goat", "herd"]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"top_n": 0}, "top_n is 0; it must be at least 1"), ({"policy": "any"}, "policy 'any' is unknown; use one of")],
)
def test_wrong_options_are_refused(fitted: TreeClassifier, shop, options: dict, message: str) -> None:
    with pytest.raises(ShelfmarkError, match=message):
        fitted.predict(shop.test, **options)


def test_wrong_training_data_is_refused(shop) -> None:
    with pytest.raises(ShelfmarkError, match="no products to learn from"):
        TreeClassifier.fit(shop.train.take([]), SCHEMA)
    with pytest.raises(ShelfmarkError, match="1 soft labels for"):
        TreeClassifier.fit(shop.train, SCHEMA, soft=[[(shop.train.labels[0], 1.0)]])


def test_training_rows_are_told_what_a_model_that_never_saw_them_would_tell(
    fitted: TreeClassifier, shop, tmp_path
) -> None:
    rows, told = fitted.as_if_new(top_n=5, policy="path")
    assert rows.tolist() == list(range(len(shop.train)))
    labels = shop.train.require_labels()
    counts = Counter(labels)
    assert min(counts.values()) == 1
    for row, paths in zip(rows.tolist(), told.paths, strict=True):
        if counts[labels[row]] == 1:
            assert labels[row] not in paths  # no other row has it
    fresh = np.mean([paths[0] == labels[row] for row, paths in zip(rows.tolist(), told.paths, strict=True)])
    seen = np.mean([paths[0] == label for paths, label in zip(fitted.predict(shop.train).paths, labels, strict=True)])
    assert fresh < seen
    fitted.save(tmp_path / "tree")
    with pytest.raises(ShelfmarkError, match="fit it again"):
        TreeClassifier.load(tmp_path / "tree").as_if_new()
