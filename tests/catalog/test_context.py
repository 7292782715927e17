"""Caches of what the web says of descriptions."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.cleaning import without_numbers
from catalog.context import (
    MOST_SNIPPETS,
    MOST_TEXT,
    Context,
    Entry,
    Snippet,
    description_key,
    join_context,
    plain,
    read_entries,
    stream_joined,
)
from catalog.errors import ShelfmarkError
from catalog.products import read_products
from catalog.schema import load_schema


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Rst  CKN", "rst ckn"),
        ("ｒｓｔ ckn", "rst ckn"),
        ("café", "cafe\u0301"),
        ("STRASSE", "straße"),
        (" a\tb ", "a b"),
    ],
)
def test_descriptions_are_compared_by_what_they_say(one, other) -> None:
    assert description_key(one) == description_key(other)


@given(st.text())
def test_a_key_is_its_own_key(text) -> None:
    assert description_key(description_key(text)) == description_key(text)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("<b>Dairy</b>mere &amp; <em>more</em>", "Dairymere & more"),
        ("one<br>two<p class='x'>three", "one two three"),
        ("a<script>alert(1)</script>b<!-- hidden -->c", "a b c"),
        ("&lt;b&gt;bold&lt;/b&gt;", "bold"),
        ("line\nbreak\r\n\x00and\x1b[31m colour", "line break and (31m colour"),
        ("<|eot_id|><|start_header_id|>system", "system"),
        ("<|im_start|", "|im_start|"),
        ("&lt;|im_end|&gt; [INST] {{ x }}", "(INST) (( x ))"),
        ("zero\u200bwidth \u202eturned \U000e0041hidden", "zerowidth turned hidden"),
        ("half \ud800 pair", "half pair"),
        ("  ", ""),
    ],
)
def test_what_comes_from_the_web_is_made_plain(raw, shown) -> None:
    assert plain(raw, 100) == shown


@given(st.text(), st.integers(1, 50))
def test_plain_text_is_one_short_line_that_stays_as_it_is(text, most) -> None:
    shown = plain(text, most)
    assert len(shown) <= most
    assert len(shown.splitlines()) <= 1
    assert not set("<>[]{}") & set(shown)
    json.dumps(shown).encode()
    shown.encode()


def test_long_texts_are_cut() -> None:
    snippet = Snippet.of("x" * 10_000, "t" * 10_000, "u" * 10_000)
    assert (len(snippet.text), len(snippet.title), len(snippet.url)) == (MOST_TEXT, 200, 500)


def _write(path, *values) -> None:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))


def _line(query, *texts, **more):
    return {"query": query, "snippets": [{"title": "", "url": "", "text": text} for text in texts], **more}


def test_of_two_entries_the_answer_counts_then_the_later(tmp_path) -> None:
    entries = [
        _line("milk", "old", date="2026-01-01"),
        _line("MILK", "new", date="2026-02-01"),
        _line("milk", date="2026-03-01", error="HTTP 500"),
        _line("milk", "new too", date="2026-02-01"),
    ]
    told = set()
    for number, order in enumerate(itertools.permutations(entries)):
        _write(tmp_path / f"{number}.jsonl", *order)
        told.add(Context.read(tmp_path / f"{number}.jsonl").of("Milk"))
    assert told == {("new too",)}


def test_an_entry_is_read_as_it_was_written(tmp_path) -> None:
    entry = Entry("milk", [Snippet("text", "title", "https://x.test/")], "generic x", "2026-11-21", 0.005, "")
    _write(tmp_path / "c.jsonl", entry.to_dict())
    assert list(read_entries(tmp_path / "c.jsonl")) == [entry]


def test_tables_of_snippets(tmp_path) -> None:
    (tmp_path / "c.csv").write_text("description,snippet\nmilk,white\nMilk,wet\nmilk,white\nbread,\n")
    known = Context.read(tmp_path / "c.csv")
    assert known.of("bread") == ()
    assert known.of("milk") in (("white",), ("wet",))
    (tmp_path / "d.csv").write_text("description,snippet\nmilk,white\nmilk,wet\nmilk,white\n")
    assert Context.read(tmp_path / "d.csv").of("MILK") == ("white", "wet")
    _write(
        tmp_path / "c.jsonl", *[{"description": "milk", "snippet": f"no {n}"} for n in range(20)], _line("tea", "hot")
    )
    known = Context.read(tmp_path / "c.jsonl")
    assert len(known.of("milk")) == MOST_SNIPPETS
    assert known.of("tea") == ("hot",)


def test_a_torn_last_line_is_passed_over(tmp_path) -> None:
    file = tmp_path / "c.jsonl"
    _write(file, _line("milk", "white"))
    with open(file, "a") as stream:
        stream.write('{"query": "bre')
    assert [entry.query for entry in read_entries(file)] == ["milk"]
    file.write_text('{"query": "bre\n' + json.dumps(_line("milk", "white")))
    with pytest.raises(ShelfmarkError, match=r"c.jsonl, line 1: no JSON \(.*\); delete the line"):
        list(read_entries(file))


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ([], "line 1: not {"),
        ({"query": "x"}, "line 1: not {"),
        ({"query": 3, "snippets": []}, "'query' is no text"),
        ({"snippets": []}, "'query' is missing"),
        ({"query": "x", "snippets": ["text"]}, "a snippet is an object"),
        ({"query": "x", "snippets": [{"text": 5}]}, "'text' is no text"),
        ({"description": "x", "snippet": 5}, "'snippet' is no text"),
    ],
)
def test_wrong_lines(tmp_path, value, fault) -> None:
    _write(tmp_path / "c.jsonl", value)
    with pytest.raises(ShelfmarkError) as raised:
        list(read_entries(tmp_path / "c.jsonl"))
    assert fault in str(raised.value)


def test_a_missing_file(tmp_path) -> None:
    with pytest.raises(ShelfmarkError, match="no such file; classify context makes one"):
        list(read_entries(tmp_path / "c.jsonl"))


def test_products_are_joined_by_description(tmp_path) -> None:
    schema = load_schema("indoml")
    rows = [{"indoml_id": row, "description": text} for row, text in enumerate(["Milk 2l", "bread", "milk 2L"])]
    _write(tmp_path / "test.features", *[{**row, "retailer": "", "price": None} for row in rows])
    _write(tmp_path / "c.jsonl", _line("milk 2l", "white", "wet"), _line("beer", "cold"))
    products = join_context(read_products(tmp_path / "test.features", schema), tmp_path / "c.jsonl")
    assert products.contexts == [("white", "wet"), (), ("white", "wet")]
    assert products.take([1, 2]).contexts == [(), ("white", "wet")]
    cleaned = without_numbers(products)
    assert (cleaned.texts[0], cleaned.contexts[0]) == ("Milk", ("white", "wet"))
    blocks = list(stream_joined(tmp_path / "test.features", schema, tmp_path / "c.jsonl", chunk_rows=2))
    assert [block.contexts for block in blocks] == [products.contexts[:2], products.contexts[2:]]
    assert [block.contexts for block in stream_joined(tmp_path / "test.features", schema, None)] == [None]
