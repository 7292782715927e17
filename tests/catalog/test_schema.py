from pathlib import Path

import pytest

from catalog.errors import ShelfmarkError
from catalog.schema import PRESETS, Schema, load_schema

TOML = """
id = "sku"
text = ["title", "subtitle"]
levels = ["department", "shelf"]
price = "cost"
"""


def test_the_default_preset_is_the_datathons() -> None:
    schema = load_schema("indoml")
    assert schema.inputs == ("description", "retailer", "price")
    assert schema.joined == "supergroup__group__module__brand"


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_being_written_out(name: str) -> None:
    assert Schema.from_dict(PRESETS[name].to_dict()) == PRESETS[name]


def test_a_toml_file_is_a_schema(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(TOML)
    expected = Schema(name="shop", id="sku", text=("title", "subtitle"), levels=("department", "shelf"), price="cost")
    assert load_schema(str(path)) == expected


def test_one_text_column_needs_no_list() -> None:
    assert Schema.from_dict({"id": "a", "text": "b", "levels": ["c"]}).text == ("b",)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (TOML + 'shop = "x"', "unknown key 'shop'; known: name, id, text, levels, retailer, price"),
        (TOML + 'retailr = "x"', "unknown key 'retailr' (did you mean 'retailer'?)"),
        (TOML.replace('id = "sku"', ""), "'id' is missing; it names the column(s) of the id"),
        (TOML.replace('id = "sku"', "id = 7"), "'id' must be a column name"),
        (TOML.replace('"department", "shelf"', '"department", 7'), "'levels' must be a list of column names"),
        (TOML.replace('["department", "shelf"]', '"shelf"'), "'levels' must be a list of column names"),
        (TOML.replace('"department", "shelf"', ""), "it needs at least one text column and one level"),
        (TOML.replace("cost", "sku"), "column 'sku' has two roles; give it one"),
        ("id = ", "not TOML"),
    ],
)
def test_a_wrong_file_gets_one_line_that_names_it(tmp_path: Path, toml: str, message: str) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(toml)
    with pytest.raises(ShelfmarkError) as error:
        load_schema(str(path))
    assert message in str(error.value)
    assert "shop" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_schema_names_the_presets() -> None:
    with pytest.raises(ShelfmarkError, match=r"--schema indomi: neither a preset \(indoml, esci, relevance\)") as error:
        load_schema("indomi")
    assert str(error.value).endswith("(did you mean 'indoml'?)")
