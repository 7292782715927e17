from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import ShelfmarkError
from catalog.schema import Schema
from catalog.taxonomy import Taxonomy

SCHEMA = Schema(name="two", id="id", text=("text",), levels=("module", "brand"))
LEVELS = SCHEMA.levels
# No underscores: values that touch them can make two paths look the same when joined.
VALUE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="_"), min_size=1, max_size=8)
PATHS = st.lists(
    st.tuples(VALUE | st.sampled_from(["a/b", "a|b", 'a "b"', "a\nb", "a\r\nb", "a,b"]), VALUE), min_size=1, max_size=8
)


def tree(*paths: tuple[str, ...]) -> Taxonomy:
    return Taxonomy.from_labels(paths, LEVELS)


@given(PATHS, st.data())
def test_write_then_read(
    tmp_path_factory: pytest.TempPathFactory, labels: Sequence[tuple[str, str]], data: st.DataObject
) -> None:
    retailers = data.draw(
        st.none() | st.lists(st.sampled_from(["", "shop", "a,b"]), min_size=len(labels), max_size=len(labels))
    )
    taxonomy = Taxonomy.from_labels(labels, LEVELS, retailers)
    path = tmp_path_factory.mktemp("t") / "taxonomy.csv"
    taxonomy.write(path)
    again = Taxonomy.read(path, SCHEMA)
    assert again.counts == taxonomy.counts
    assert again.retailers == taxonomy.retailers
    assert again.paths == sorted(set(labels))
    assert sum(again.counts.values()) == len(labels)


def test_counts_and_retailers() -> None:
    labels = [("milk", "x"), ("milk", "x"), ("tea", "y"), ("tea", "x")]
    taxonomy = Taxonomy.from_labels(labels, LEVELS, ["b", "a", "a", ""])
    assert len(taxonomy) == 3
    assert taxonomy.counts == {("milk", "x"): 2, ("tea", "x"): 1, ("tea", "y"): 1}
    assert taxonomy.retailers == {"a": {("milk", "x"): 1, ("tea", "y"): 1}, "b": {("milk", "x"): 1}}
    assert list(taxonomy.retailers) == ["a", "b"]
    assert taxonomy.brands == {"x", "y"}


def test_the_tree() -> None:
    taxonomy = tree(("milk", "x"), ("tea", "y"), ("tea", "x"))
    assert taxonomy.children(()) == ["milk", "tea"]
    assert taxonomy.children(("tea",)) == ["x", "y"]
    assert taxonomy.children(("milk", "x")) == []
    assert taxonomy.children(("jam",)) == []


def test_policies() -> None:
    taxonomy = tree(("milk", "x"), ("tea", "y"))
    assert ("milk", "x") in taxonomy
    assert taxonomy.is_valid(("milk", "x"))
    assert ("milk", "y") not in taxonomy
    assert not taxonomy.is_valid(("milk", "y"))
    assert taxonomy.is_valid(("milk", "y"), "brand-free")
    for path in [("jam", "y"), ("milk", "z"), ("milk",), ("milk", "x", "y"), ()]:
        assert not taxonomy.is_valid(path)
        assert not taxonomy.is_valid(path, "brand-free")
    flat = Taxonomy.from_labels([("e",), ("s",)], ("grade",))
    assert flat.is_valid(("e",), "brand-free")
    assert not flat.is_valid(("x",), "brand-free")


def test_joined_paths_are_read_back() -> None:
    taxonomy = tree(("a/b, c", "x | y"))
    assert taxonomy.parse("a/b, c__x | y") == ("a/b, c", "x | y")
    assert taxonomy.parse("a/b, c__x") is None


def test_paths_that_join_to_the_same_text_are_refused() -> None:
    with pytest.raises(ShelfmarkError, match="two label paths are both written 'a___b': rename a value"):
        tree(("a_", "b"), ("a", "_b"))


def test_an_empty_taxonomy_is_refused() -> None:
    with pytest.raises(ShelfmarkError, match="the taxonomy is empty"):
        tree()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("module\nmilk\n", ", line 1: no column 'brand'; columns here: module; where they have"),
        ("module,brand\nmilk,x\nmilk,\n", ", line 3, column 'brand': the label is empty; every level needs a value"),
        ("module,brand\nmi__lk,x\n", ", line 2, column 'module': 'mi__lk' contains '__'"),
        ("module,brand,count\nmilk,x,0\n", ", line 2, column 'count': '0' is not a whole number of at least 1"),
    ],
)
def test_a_wrong_file_says_where(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "taxonomy.csv"
    path.write_text(text)
    with pytest.raises(ShelfmarkError) as error:
        Taxonomy.read(path, SCHEMA)
    assert str(error.value).startswith(f"{path}{expected}")


def test_counts_of_a_path_add_up_over_retailers(tmp_path: Path) -> None:
    path = tmp_path / "taxonomy.csv"
    path.write_text("retailer,module,brand,count\na,milk,x,2\nb,milk,x,\n,milk,x,4\n,tea,y,1\n")
    taxonomy = Taxonomy.read(path, SCHEMA)
    assert taxonomy.counts == {("milk", "x"): 7, ("tea", "y"): 1}
    assert taxonomy.retailers == {"a": {("milk", "x"): 2}, "b": {("milk", "x"): 1}}
