import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

import catalog.sample
from catalog.abbreviate import HouseStyle, Till, mistype, plain_words, shorten
from catalog.errors import ShelfmarkError
from catalog.invented_market import invented_market, market_tables
from catalog.market import LARGEST_SHARE, shares
from catalog.messages import LabelPath
from catalog.mixing import mix, stable_hash, uniform
from catalog.products import Products, read_products
from catalog.sample import sample_products, write_sample
from catalog.schema import PRESETS, Schema
from catalog.taxonomy import Taxonomy

INDOML = PRESETS["indoml"]
FILES = ["taxonomy.csv", "test.features", "test.labels", "train.features", "train.labels"]


def rows(count: int, *, start: int = 0, taxonomy: Taxonomy | None = None, seed: int = 0) -> Products:
    blocks = list(sample_products(count, start=start, taxonomy=taxonomy, seed=seed))
    labels = [path for block in blocks for path in block.require_labels()]
    return Products(
        [name for block in blocks for name in block.ids],
        {"description": [text for block in blocks for text in block.texts]},
        [retailer for block in blocks for retailer in block.retailers],
        np.concatenate([block.prices for block in blocks]),
        labels,
    )


@pytest.fixture(scope="module")
def sample() -> Products:
    return rows(12_000)


@pytest.fixture(scope="module")
def file_taxonomy() -> Taxonomy:
    paths = [
        ("drinks", "hot drinks", f"{kind} {form} ambient", brand)
        for kind in ("tea", "coffee", "malted drinks", "cocoa")
        for form in ("bags", "instant", "exc decaf")
        for brand in ("north/leaf", "a | b", "shop 3 finest", "receipt all", "&")
    ]
    retailers = [f"shop {number}" for number in range(9) for _ in paths]
    return Taxonomy.from_labels(paths * 9, INDOML.levels, retailers)


# The files


def test_the_files_are_what_readers_expect(tmp_path: Path) -> None:
    calls: list[int] = []
    write_sample(tmp_path / "new", rows=5000, test_rows=700, progress=calls.append)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == FILES
    train = read_products(tmp_path / "new", INDOML, labels=True)
    test = read_products(tmp_path / "new" / "test.features", INDOML, labels=True)
    assert train.ids == list(range(5000))
    assert test.ids == list(range(5000, 5700))
    assert calls == [4096, 5000 - 4096, 700]
    taxonomy = Taxonomy.read(tmp_path / "new" / "taxonomy.csv", INDOML)
    assert set(train.require_labels()) | set(test.require_labels()) <= set(taxonomy.paths)
    sold = zip(train.retailers, train.require_labels(), strict=True)
    assert all(path in taxonomy.retailers[retailer] for retailer, path in sold if retailer)
    first = json.loads((tmp_path / "new" / "train.features").read_text().splitlines()[0])
    assert list(first) == ["indoml_id", "description", "retailer", "price"]


def test_the_same_arguments_give_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    write_sample(tmp_path / "a", rows=300, test_rows=50, seed=5)
    code = (
        "import sys; from catalog.sample import write_sample; write_sample(sys.argv[1], rows=300, test_rows=50, seed=5)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "17"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "b")], check=True, env=environment)
    write_sample(tmp_path / "c", rows=300, test_rows=50, seed=6)
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        assert (tmp_path / "a" / name).read_bytes() != (tmp_path / "c" / name).read_bytes()


def test_its_own_files_alone_are_replaced_on_request_and_a_stop_leaves_them(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    write_sample(tmp_path, rows=10, test_rows=10)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path, rows=20, test_rows=10, force=True, progress=stop)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    write_sample(tmp_path, rows=20, test_rows=10, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*FILES, "notes.txt"])
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_columns_are_named_by_the_schema(tmp_path: Path) -> None:
    schema = Schema(name="own", id="sku", text=("title",), levels=("a", "b", "c", "d"))
    write_sample(tmp_path, rows=5, test_rows=5, schema=schema)
    features, labels = (
        json.loads((tmp_path / f"train.{kind}").read_text().splitlines()[0]) for kind in ("features", "labels")
    )
    assert list(features) == ["sku", "title"]
    assert list(labels) == ["sku", "a", "b", "c", "d"]


@pytest.mark.parametrize(("start", "count"), [(1, 1), (4000, 200), (8191, 2)])
def test_rows_do_not_depend_on_how_many_are_asked_for(sample: Products, start: int, count: int) -> None:
    part = rows(count, start=start)
    assert part.ids == list(range(start, start + count))
    assert part.texts == sample.texts[start : start + count]
    assert part.labels == sample.require_labels()[start : start + count]
    assert np.array_equal(part.prices, sample.prices[start : start + count], equal_nan=True)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"rows": 0}, "--rows 0: a sample has at least 1 row; ask for more"),
        ({"test_rows": -1}, "--test-rows -1: a sample has at least 1 row; ask for more"),
        ({"seed": -1}, "--seed -1: the seed must be 0 or more"),
        (
            {"schema": PRESETS["esci"]},
            "schema 'esci': sample products have one text, this schema has 3 text columns",
        ),
        (
            {"schema": Schema(name="flat", id="id", text=("text",), levels=("module",))},
            "schema 'flat': the invented products have 4 levels, like supergroup__group__module__brand, "
            "this schema has 1; give a --taxonomy with its levels",
        ),
        (
            {"taxonomy": Taxonomy(("module",), {("tea",): 1})},
            "schema 'indoml': its levels are supergroup, group, module, brand, those of the taxonomy module; "
            "read the taxonomy with the same schema",
        ),
    ],
)
def test_what_cannot_be_sampled(tmp_path: Path, arguments: dict[str, object], problem: str) -> None:
    with pytest.raises(ShelfmarkError) as error:
        write_sample(tmp_path / "out", **{"rows": 1, "test_rows": 1, **arguments})  # type: ignore[arg-type]
    assert str(error.value) == problem
    assert not (tmp_path / "out").exists()


def test_files_that_are_there_are_not_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "train.labels").write_text("mine")
    with pytest.raises(ShelfmarkError, match=r"train\.labels: it is there; .* --force"):
        write_sample(tmp_path, rows=1, test_rows=1)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_a_stop_leaves_no_empty_folder(tmp_path: Path) -> None:
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path / "new", rows=1, test_rows=1, progress=stop)
    assert not (tmp_path / "new").exists()


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(ShelfmarkError, match="not a folder"):
        write_sample(tmp_path / "out", rows=1, test_rows=1)


# What the rows are like


def test_rows_look_like_till_lines(sample: Products) -> None:
    lengths = np.array([len(text) for text in sample.texts])
    assert lengths.min() >= 1
    assert lengths.max() <= 26
    assert 13 <= np.median(lengths) <= 20
    assert np.mean([text == text.lower() for text in sample.texts]) > 0.85
    assert all(text == text.strip() and "\n" not in text for text in sample.texts)


def test_some_values_are_missing(sample: Products) -> None:
    assert 0.005 < np.isnan(sample.prices).mean() < 0.02
    assert 0.002 < np.mean([not retailer for retailer in sample.retailers]) < 0.01
    prices = sample.prices[~np.isnan(sample.prices)]
    assert prices.min() > 0
    assert prices.max() < 200
    assert np.array_equal(prices, np.round(prices, 2))


def test_retailers_have_falling_shares(sample: Products) -> None:
    counts = Counter(sample.retailers)
    expected = dict(zip(market_tables()["shops"], shares(24), strict=True))
    for retailer, share in expected.items():
        assert counts[retailer] / len(sample) == pytest.approx(share, abs=0.012)
    assert max(counts.values()) / len(sample) < LARGEST_SHARE


@given(st.integers(1, 300))
def test_shares(shops: int) -> None:
    parts = shares(shops)
    assert parts.sum() == pytest.approx(1)
    assert (np.diff(parts) <= 1e-12).all()
    assert parts.max() <= max(LARGEST_SHARE, 1 / shops) + 1e-12


def test_paths_have_a_long_tail(sample: Products) -> None:
    counts = sorted(Counter(sample.require_labels()).values(), reverse=True)
    assert len(counts) > 2000
    assert sum(count == 1 for count in counts) > 0.25 * len(counts)
    assert sum(counts[: len(counts) // 10]) > 0.35 * len(sample)
    unseen = set(rows(3000, start=12_000).require_labels()) - set(sample.require_labels())
    assert unseen


def test_shops_differ_in_price(sample: Products) -> None:
    logs = np.log(sample.prices)
    by_path: dict[LabelPath, list[int]] = defaultdict(list)
    for row in np.flatnonzero(~np.isnan(logs)):
        by_path[sample.require_labels()[row]].append(row)
    # What a shop takes above the other shops' price for the same brand and module.
    above: dict[str, list[float]] = defaultdict(list)
    for path_rows in by_path.values():
        for row in path_rows:
            others = [other for other in path_rows if sample.retailers[other] != sample.retailers[row]]
            if others and sample.retailers[row]:
                above[sample.retailers[row]].append(logs[row] - logs[others].mean())
    shops = market_tables()["shops"]
    known = [name for name in shops if len(above[name]) > 50]
    levels = [shops[name]["price"] for name in known]
    assert len(known) > 12
    assert np.corrcoef(levels, [np.mean(above[name]) for name in known])[0, 1] > 0.6


def test_own_brands_stand_in_their_own_shop_alone(sample: Products) -> None:
    shop_of = {brand: name for name, shop in market_tables()["shops"].items() for brand in shop["own"]}
    assert not set(shop_of) & set(market_tables()["brands"])
    own = 0
    for retailer, path in zip(sample.retailers, sample.require_labels(), strict=True):
        if path[-1] in shop_of and retailer:
            own += 1
            assert shop_of[path[-1]] == retailer
    assert 0.25 < own / len(sample) < 0.6


def test_retailer_and_price_tell_what_the_text_does_not(sample: Products) -> None:
    """The nearest text is right more often when the same retailer, or nearly the same price, brings it nearer."""
    train, test = sample.take(range(10_000)), sample.take(range(10_000, 12_000))
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, dtype=np.float32)
    matrix = vectorizer.fit_transform(train.texts)
    text = (vectorizer.transform(test.texts) @ matrix.T).toarray()
    retailer = np.array(test.retailers)[:, None] == np.array(train.retailers)[None, :]
    logs, test_logs = (np.log(products.prices).astype(np.float32) for products in (train, test))
    apart = np.abs(test_logs[:, None] - logs[None, :])
    price = np.nan_to_num(np.exp(-apart / 0.15), nan=0.0).astype(np.float32)

    def accuracy(similarity: NDArray[np.float32]) -> float:
        answers = [train.require_labels()[row] for row in similarity.argmax(axis=1)]
        return float(np.mean([answer == path for answer, path in zip(answers, test.require_labels(), strict=True)]))

    alone = accuracy(text)
    assert 0.3 < alone < 0.6
    assert accuracy(text + 0.3 * retailer) > alone + 0.03
    assert accuracy(text + 0.2 * price) > alone + 0.01
    assert accuracy(text + 0.3 * retailer + 0.2 * price) > alone + 0.05


def test_the_invented_taxonomy_is_of_the_size_promised() -> None:
    data = market_tables()
    modules = [module for groups in data["modules"].values() for members in groups.values() for module in members]
    groups = [group for groups in data["modules"].values() for group in groups]
    assert 10 <= len(data["modules"]) <= 14
    assert 45 <= len(groups) <= 60
    assert 130 <= len(modules) <= 170
    assert len(set(modules)) == len(modules)
    assert len(data["brands"]) >= 300
    assert len(data["shops"]) == 24
    for brand, values in data["brands"].items():
        assert set(values["sells"]) <= {*modules, *groups}, brand
        assert "__" not in brand
    for shop in data["shops"].values():
        assert shop["kind"] in data["kinds"]
    for kind in data["kinds"].values():
        assert set(kind) - {"other"} <= set(data["modules"])


def test_every_module_has_brands_of_different_price() -> None:
    market = invented_market(INDOML.levels, 0)
    prices: dict[LabelPath, set[float]] = defaultdict(set)
    for shelf in market.shelves:
        prices[shelf.path[:-1]].add(shelf.low)
    assert len({shelf.path for shelf in market.shelves}) == len(market.shelves)
    assert all(max(values) / min(values) > 1.5 for values in prices.values())


# A taxonomy from a file


def test_rows_of_a_file_taxonomy_are_sold_where_it_says(file_taxonomy: Taxonomy) -> None:
    sample = rows(4000, taxonomy=file_taxonomy)
    assert set(sample.require_labels()) <= set(file_taxonomy.paths)
    assert set(sample.retailers) == {*file_taxonomy.retailers, ""}
    assert max(Counter(sample.retailers).values()) / 4000 < LARGEST_SHARE + 0.02
    words = " ".join(sample.texts).casefold()
    assert "tea" in words
    # Words that classify but name nothing, and brands that are none, are never printed.
    for silent in ("ambient", "receipt", "exc"):
        assert silent not in words


def test_retailers_of_a_file_differ_in_what_they_sell() -> None:
    paths = [("s", "g", f"module {letter}", f"brand {letter}") for letter in "abcdefgh"]
    taxonomy = Taxonomy.from_labels(paths, INDOML.levels, [f"shop {number}" for number in range(8)])
    sample = rows(500, taxonomy=taxonomy)
    for retailer, path in zip(sample.retailers, sample.require_labels(), strict=True):
        assert not retailer or path in taxonomy.retailers[retailer]


def test_counts_of_a_file_are_weights() -> None:
    taxonomy = Taxonomy(INDOML.levels, {("s", "g", "m", "often"): 90, ("s", "g", "m", "seldom"): 10})
    sample = rows(3000, taxonomy=taxonomy)
    # Without retailers in the file, the invented shops sell a part each.
    assert set(sample.retailers) <= {*market_tables()["shops"], ""}
    assert 0.7 < np.mean([path[-1] == "often" for path in sample.require_labels()]) < 0.97


def test_own_brands_of_a_file_are_not_spelled_out_in_their_shop(file_taxonomy: Taxonomy) -> None:
    sample = rows(6000, taxonomy=file_taxonomy)
    spelled = Counter(
        (retailer == "shop 3", "finest" in text or "shop" in text)
        for text, retailer, path in zip(sample.texts, sample.retailers, sample.require_labels(), strict=True)
        if path[-1] == "shop 3 finest" and retailer
    )
    assert spelled[True, True] == 0
    assert spelled[True, False] > 0
    assert spelled[False, True] > 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.text(min_size=1, max_size=5), min_size=4, max_size=4), min_size=1, max_size=5))
def test_any_words_can_be_sampled(values: list[list[str]]) -> None:
    paths = {tuple(value.replace("_", "-") for value in path) for path in values}
    taxonomy = Taxonomy.from_labels(paths, INDOML.levels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog.sample, "BLOCK_ROWS", 20)  # a block is made as a whole
        sample = rows(20, taxonomy=taxonomy)
    assert set(sample.require_labels()) <= paths


def test_one_level_is_enough() -> None:
    schema = Schema(name="flat", id="id", text=("text",), levels=("module",))
    taxonomy = Taxonomy.from_labels([("green tea",), ("coffee",)], schema.levels)
    block = next(sample_products(50, schema=schema, taxonomy=taxonomy))
    assert len(block) == 50


# Writing


@pytest.mark.parametrize(
    ("way", "expected"), [("full", "chicken"), ("vowels", "chckn"), ("cut", "chic"), ("both", "chck")]
)
def test_ways_to_shorten(way: str, expected: str) -> None:
    assert shorten("chicken", way, 4) == expected


def test_short_words_and_numbers_stay() -> None:
    assert [shorten(word, "both", 2) for word in ("oil", "2023", "a4x5")] == ["oil", "2023", "a4x5"]
    assert plain_words("Sweet & sour 1.5 L, 50%") == ["sweet", "sour", "15", "l", "50"]


@given(st.text("abcdefgh", max_size=8), st.floats(0, 1, exclude_max=True))
def test_a_slip_changes_one_or_two_letters(text: str, place: float) -> None:
    slipped = mistype(text, place)
    assert len(text) - 1 <= len(slipped) <= len(text)
    if len(text) < 3:
        assert slipped == text
    if len(slipped) == len(text):
        assert sum(first != second for first, second in zip(text, slipped, strict=True)) <= 2


def test_a_line_fits_and_is_always_the_same() -> None:
    style = HouseStyle(words="vowels", keep=4, brand="full", code="xy", named=1.0, sizes="last", width=12, caps=True)
    lines = {
        Till(style, 7).write("north leaf", own, "strong", "breakfast tea", "80 pk", choice)
        for own in (True, False)
        for choice in (0, 2**64 - 1, 0x5A5A5A5A5A5A5A5A)
        for _ in range(2)
    }
    assert 2 <= len(lines) <= 6
    assert all(0 < len(line) <= 12 and line == line.upper() for line in lines)


def test_mixed_bits_are_spread_and_fixed() -> None:
    keys = np.arange(20_000, dtype=np.uint64)
    numbers = uniform(mix(keys, 7))
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert np.histogram(numbers, 10, (0, 1))[0] == pytest.approx(2000, rel=0.1)
    assert len(set(mix(keys, 7).tolist()) & set(mix(keys, 8).tolist())) == 0
    # The numbers of a sample rest on these: they may not change with a release.
    assert stable_hash("shelf", 7) == stable_hash("shelf", 7) != stable_hash("shelf7")
