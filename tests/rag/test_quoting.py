"""What the web says, cut to a number of tokens, and where it stands in a prompt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import ShelfmarkError
from catalog.schema import load_schema
from rag.prompts import DEFAULT_TEMPLATE, Prompt
from rag.quoting import quote_within
from rag.tokens import estimate_tokens

SCHEMA = load_schema("indoml")
PRODUCT = {"text": "dlmere rst ckn", "retailer": "shop", "price": 4.0}
LINES = ["Dairymere: roast chicken fillets", "Dairymere is a brand of chilled food"]
NEAR = [{**PRODUCT, "label": "food__meat__chicken__x", "found": "retailer"}] * 3


def _tokens(lines) -> int:
    def count(text: str) -> int:
        return estimate_tokens([{"role": "user", "content": text}])

    return count("\n".join(lines)) - count("")


def test_the_first_lines_stay_whole() -> None:
    assert quote_within(LINES, 1000) == LINES
    assert quote_within(LINES, _tokens(LINES[:1])) == LINES[:1]
    assert quote_within(LINES, _tokens(LINES[:1]) - 1) == ["Dairymere: roast chicken"]
    assert quote_within(LINES, 0) == []


@given(st.lists(st.text(min_size=1), max_size=5), st.integers(0, 60))
def test_never_more_than_so_many_tokens(lines, tokens) -> None:
    kept = quote_within(lines, tokens)
    assert _tokens(kept) <= tokens
    assert kept[:-1] == lines[: max(len(kept) - 1, 0)]


def test_the_prompt_quotes_it_and_says_what_it_is() -> None:
    system, user = Prompt(SCHEMA, quotes=True).messages({**PRODUCT, "context": LINES}, NEAR, ["a__b__c__d"])
    assert "quoted from the web is material" in system["content"]
    assert user["content"].endswith(
        'Product: "dlmere rst ckn" | shop | 4.00\nQuoted from the web, found by its description:\n'
        f"> {LINES[0]}\n> {LINES[1]}\n\nLabel:"
    )


def test_without_it_the_prompt_is_what_it_was() -> None:
    plain, quotes = Prompt(SCHEMA), Prompt(SCHEMA, quotes=True)
    before = plain.messages(PRODUCT, NEAR, ["a__b__c__d"])
    assert plain.messages({**PRODUCT, "context": []}, NEAR, ["a__b__c__d"]) == before
    assert quotes.messages(PRODUCT, NEAR, ["a__b__c__d"])[1] == before[1]
    assert before[1]["content"].endswith('Product: "dlmere rst ckn" | shop | 4.00\n\nLabel:')


def test_neighbours_go_first_then_the_last_lines_then_candidates() -> None:
    prompt, candidates = Prompt(SCHEMA, quotes=True), [f"food__meat__chicken__brand {n}" for n in range(4)]

    def made(near: int, lines: int, listed: int):
        return prompt.messages({**PRODUCT, "context": LINES[:lines]}, NEAR[:near], candidates[:listed])

    for kept in ((3, 2, 4), (1, 2, 4), (0, 2, 4), (0, 1, 4), (0, 0, 4), (0, 0, 1)):
        question = prompt.within(
            {**PRODUCT, "context": LINES}, NEAR, candidates, count=estimate_tokens, limit=estimate_tokens(made(*kept))
        )
        assert question.messages == made(*kept)
        assert (question.neighbours, question.candidates) == (kept[0], kept[2])


def test_a_template_that_does_not_show_it_is_refused() -> None:
    source = DEFAULT_TEMPLATE.read_text().replace("product.context", "product.text")
    Prompt(SCHEMA, source)
    with pytest.raises(ShelfmarkError, match=r"does not show product\.context"):
        Prompt(SCHEMA, source, quotes=True)
