"""How many tokens a chat request is, before there is a model to ask."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from catalog.errors import ShelfmarkError, first_line, require

Messages = Sequence[dict[str, str]]
TokenCounter = Callable[[Messages], int]
"""Counts the tokens of chat turns, with all that a chat template puts around them."""

AROUND_TURN = 8
"""Tokens that a chat template puts around a turn: Llama 3 puts 5, others fewer; and it opens the answer."""

_KINDS = (
    bytes(
        ord("a") if chr(byte).isalpha() else ord("0") if chr(byte).isdigit() else byte if byte == ord(" ") else ord(".")
        for byte in range(128)
    )
    + b"." * 128
)
_WIDE = re.compile(b" {2,}")


def estimate_tokens(messages: Messages) -> int:
    """Estimate on the high side, without a tokenizer: two letters a token, two digits, a byte of any other sign.

    Written for product text, whose abbreviations tokenizers cut small: English prose has about four letters a token.
    """
    total = 3
    for turn in messages:
        # By bytes, for a prompt has thousands, and each of all rows has one. A space alone belongs to the next word.
        kinds = turn["content"].encode().translate(_KINDS).replace(b"aa", b"A").replace(b"00", b"1")
        total += AROUND_TURN + len(kinds) - kinds.count(b" ") + sum(map(len, _WIDE.findall(kinds)))
    return total


def token_counter(name: str) -> TokenCounter:
    """Return a counter that uses a model's own tokenizer and chat template.

    Parameters
    ----------
    name : str
        The model's folder or its name on the Hugging Face hub; empty for `estimate_tokens`.

    Raises
    ------
    ShelfmarkError
        When transformers is not installed, or there is no such tokenizer.
    """
    if not name:
        return estimate_tokens
    library = require("transformers", "embed")
    try:
        tokenizer = library.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # the library raises many kinds for a name that it cannot find
        raise ShelfmarkError(
            f"--tokenizer {name}: cannot be loaded ({first_line(error)}); check the name, the folder or the network"
        ) from None
    if tokenizer.chat_template is None:
        return lambda messages: (
            AROUND_TURN * len(messages)
            + sum(len(tokenizer.encode(turn["content"], add_special_tokens=True)) for turn in messages)
        )

    def count(messages: Messages) -> int:
        try:
            text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        except Exception as error:  # a template is code, and may raise anything: some know no system's turn
            raise ShelfmarkError(
                f"--tokenizer {name}: its chat template cannot be used ({first_line(error)}); take another, or leave "
                "the option out"
            ) from None
        return len(tokenizer.encode(text, add_special_tokens=False))

    return count
