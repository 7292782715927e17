"""What an answer may be: the regular expression, the continuations and the schema say the same."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.schema import SEPARATOR
from catalog.taxonomy import Taxonomy
from classify.engines.forms import MOST_VALUES, AnswerForm, Answers

LEVELS = ("group", "brand")
ODD = st.text(st.sampled_from('ab"\\\n\t /|.*+?()[]{}^$-#&~é朝🍫'), min_size=1, max_size=5)
PATHS = st.sets(st.tuples(ODD, ODD), min_size=1, max_size=12)
WRITINGS = pytest.mark.parametrize("writing", ["json", "joined"])


def form(paths, policy: str = "path", writing: str = "json") -> AnswerForm:
    return AnswerForm(Taxonomy(LEVELS, dict.fromkeys(paths, 1)), policy, writing)


@given(PATHS, st.sampled_from(["path", "brand-free"]), st.sampled_from(["json", "joined"]))
def test_every_valid_path_is_an_answer_and_no_other(paths, policy: str, writing: str) -> None:
    made = form(paths, policy, writing)
    valid = Taxonomy(LEVELS, dict.fromkeys(paths, 1))
    pattern = re.compile(made.regex())
    for top in {path[0] for path in paths}:
        for brand in {path[1] for path in paths}:
            text, right = made.write((top, brand)), valid.is_valid((top, brand), policy)
            assert bool(pattern.fullmatch(text)) == (text in made.answers) == right
            assert pattern.fullmatch(text[:-1]) is None or text[:-1] in made.answers
            assert pattern.fullmatch(text + "x") is None
            assert not right or made.answers.begins(text.encode()[: len(text) // 2])
            for end in range(0, len(text) + 1, 4) if right else ():
                beginning = re.compile(made.regex(text[:end]))
                assert beginning.fullmatch(text)
                assert all(
                    bool(beginning.fullmatch(other)) == other.startswith(text[:end]) for other in map(made.write, paths)
                )
            assert not right or not made.answers.begins(b"x" + text.encode())


@given(st.sets(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=20), st.text("ab", max_size=4),
       st.integers(1, 4))  # fmt: skip
def test_what_follows_is_what_a_look_at_each_text_says(texts, written: str, most: int) -> None:
    onward = [text[len(written) :] for text in texts if text.startswith(written)]
    expected = {rest[:most].encode() for rest in onward if rest}
    for answers in (Answers([""], texts), Answers(texts, [""])):
        assert answers.following(written.encode(), most) == (expected, "" in onward)


def test_starts_and_ends_are_put_together() -> None:
    answers = Answers(["a", "ab"], ["bc", "d"])
    assert answers.following(b"", 2) == ({b"ab", b"ad"}, False)
    assert answers.following(b"ab", 9) == ({b"c", b"bc", b"d"}, False)
    assert "abd" in answers
    assert "ab" not in answers


@WRITINGS
def test_an_answer_is_what_a_fine_tune_learns(writing: str) -> None:
    text = form({("é", 'b"')}, writing=writing).write(("é", 'b"'))
    assert text == ('{"group": "é", "brand": "b\\""}' if writing == "json" else f'é{SEPARATOR}b"')


def test_the_schema_lists_the_values_of_levels_that_have_few() -> None:
    made = form({("a", f"b{number}") for number in range(MOST_VALUES + 1)})
    schema = made.json_schema()
    assert schema["properties"] == {"group": {"type": "string", "enum": ["a"]}, "brand": {"type": "string"}}
    assert schema["required"] == list(json.loads(made.write(("a", "b1"))))
    assert schema["additionalProperties"] is False
    assert form({("a", "b")}, writing="joined").json_schema() is None


def test_a_taxonomy_of_one_level_has_no_free_brand() -> None:
    made = AnswerForm(Taxonomy(("brand",), {("a",): 1, ("b",): 1}), "brand-free", "json")
    assert '{"brand": "a"}' in made.answers
    assert re.fullmatch(made.regex(), '{"brand": "b"}')
