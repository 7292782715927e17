"""No secret of an address is written down."""

import sys

import pytest

from catalog.errors import ShelfmarkError
from classify.engines.connection import check_url
from classify.provenance import provenance, without_secrets

ADDRESSES = {
    "http://u:p@h/v1": "http://h/v1",
    "http://u:p@ss@h/v1": "http://h/v1",
    "http://u:p/w@h/v1": "http://h/v1",
    "http://u:p?w@h/v1": "http://h/v1",
    "https://h/v1?api_key=SECRET&q=": "https://h/v1?api_key=…&q=…",
    "--base-url=https://h?SECRET": "--base-url=https://h?…",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses(address: str, monkeypatch):
    assert without_secrets(address) == ADDRESSES[address]
    monkeypatch.setattr(sys, "argv", ["/bin/classify", "rag", address])
    assert provenance()["command"] == ["classify", "rag", ADDRESSES[address]]
    with pytest.raises(ShelfmarkError, match=r"--base-url: it holds"):
        check_url(address)


def test_other_words_stay():
    for word in ("a@b?c=d", "http://localhost:8000/v1", "--top-k"):
        assert without_secrets(word) == word
