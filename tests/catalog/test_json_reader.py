import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from catalog.errors import ShelfmarkError
from catalog.json_reader import checked, decode_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


class Line(BaseModel):
    model_config = ConfigDict(strict=True)

    id: str
    tokens: list[int]


@given(VALUES)
def test_what_json_writes_is_read(value):
    assert decode_json(json.dumps(value)) == value
    assert decode_json(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' stands twice"),
        ("[NaN]", "NaN"),
        ("[-Infinity]", "-Infinity"),
        ("[1e999]", "too large"),
        ("[-1e999]", "too large"),
        ("9" * 5000, "digits"),
        ("[" * 100_000, "deep"),
        ('{"a":' * 100_000, "deep"),
        ('"\\ud800"', "surrogate"),
        ('{"\\udc00": 1}', "surrogate"),
        ("{", "Expecting"),
        ("", "Expecting"),
        (b'"\xff"', "utf-8"),
    ],
)
def test_what_is_no_strict_json_is_a_value_error(text, said):
    with pytest.raises(ValueError, match=said):
        decode_json(text)


@given(st.text() | st.binary())
def test_nothing_else_is_raised(text):
    with contextlib.suppress(ValueError):
        decode_json(text)


def test_a_pair_of_surrogates_is_a_character():
    assert decode_json('"\\ud83d\\ude00"') == "\U0001f600"


def test_a_checked_value_has_its_type():
    assert checked(Line, {"id": "7", "tokens": [1]}, "a.jsonl, line 3", "delete it") == Line(id="7", tokens=[1])


@pytest.mark.parametrize("value", [[], None, 3, "text", {}, {"id": 7, "tokens": []}, {"id": "7", "tokens": ["1"]}])
def test_another_type_is_one_line_with_place_and_advice(value):
    with pytest.raises(ShelfmarkError, match=r"^a\.jsonl, line 3: damaged \(.*\); delete it$"):
        checked(Line, value, "a.jsonl, line 3", "delete it")


def test_the_field_that_is_wrong_is_named():
    with pytest.raises(ShelfmarkError, match=r"tokens\.1: "):
        checked(Line, {"id": "7", "tokens": [1, None]}, "a.jsonl", "delete it")
