"""The provider's client: what may be shown of its words, and what may be kept of its files."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classify.provider.client import Provider

KEYS = st.text("ab*", min_size=1, max_size=3)
PIECES = st.lists(st.text("ab*", max_size=3).map(str.encode), max_size=5)


@pytest.fixture(scope="module", autouse=True)
def _key():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "sk-anything")
        yield


@settings(max_examples=200)
@given(KEYS, PIECES)
def test_the_key_is_masked_wherever_blocks_end(key: str, blocks: list[bytes]) -> None:
    provider = Provider()
    provider._key = key
    assert b"".join(provider.masked(blocks)) == b"".join(blocks).replace(key.encode(), b"***")


def test_no_more_is_held_back_than_may_be_the_key() -> None:
    given_ = [b"x" * 100, b"sk-any", b"thing", b"y" * 100]
    first, *rest = Provider().masked(iter(given_))
    assert len(first) == 100 - len("sk-anything") + 1
    assert first + b"".join(rest) == b"x" * 100 + b"***" + b"y" * 100


def test_what_is_shown_can_be_written() -> None:
    shown = Provider().scrub("cut in two: \ud83d\n sk-anything")
    assert re.fullmatch(r"cut in two: \? \*\*\*", shown)
    assert shown.encode()
