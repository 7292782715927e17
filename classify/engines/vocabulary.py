"""Tokens as bytes: what of a model's vocabulary continues an answer, and what its probabilities say.

Byte-level tokenizers cut characters of more than one byte anywhere, so text can only be compared as bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from catalog.messages import Request
from classify.engines.base import Constrain
from classify.engines.forms import Answers
from classify.engines.logprobs import request_logprobs

ByteStep = Sequence[tuple[bytes, float]]
"""The token written, then the alternatives: (its bytes, natural logarithm of its probability)."""

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class Vocabulary:
    """The tokens of a Hugging Face tokenizer, by the bytes that each writes.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        Byte-level (Llama 3, Qwen, GPT) or with bytes to fall back on (Llama 2, Gemma, Mistral).

    Attributes
    ----------
    ids : dict of bytes to list of int
        The tokens that write these bytes; special tokens write nothing and are not among them.
    """

    def __init__(self, tokenizer: Any) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        byte_level = backend is not None and "ByteLevel" in f"{backend.decoder}{backend.pre_tokenizer}"
        added = tokenizer.added_tokens_decoder
        silent = {*tokenizer.all_special_ids, *(at for at, token in added.items() if token.special)}
        self._bytes: dict[int, bytes] = {}
        self.ids: dict[bytes, list[int]] = {}
        for token, at in tokenizer.get_vocab().items():
            if at in silent:
                written = b""
            elif at in added:
                written = token.encode()
            else:
                written = _byte_level(token) if byte_level else _plain(token)
            self._bytes[at] = written
            if written:
                self.ids.setdefault(written, []).append(at)
        self._longest = max(map(len, self.ids), default=0)

    def bytes_of(self, token: int) -> bytes:
        """Return what the token writes: nothing for a special one and for a number that stands for none."""
        return self._bytes.get(token, b"")

    def text(self, tokens: Iterable[int]) -> str:
        """Return what the tokens write; bytes that are no text become U+FFFD."""
        return b"".join(map(self.bytes_of, tokens)).decode("utf-8", "replace")

    def onward(self, answers: Answers, written: bytes) -> tuple[list[int], bool]:
        """Return the tokens with which one of the answers can go on, and whether one is whole.

        Any cut of an answer into tokens may be written, as a grammar allows it, not the tokenizer's own alone.
        """
        rests, whole = answers.following(written, self._longest)
        heads = {rest[:end] for rest in rests for end in range(1, len(rest) + 1)}
        return [token for head in heads for token in self.ids.get(head, ())], whole


def byte_logprobs(request: Request, constrain: Constrain, steps: Sequence[ByteStep]) -> list[float] | None:
    """Return what `request_logprobs` does, for tokens that may be parts of characters."""
    # Each byte as one character, in the steps and in the candidates: the same text, and no character is cut.
    shown = [[(written.decode("latin-1"), logprob) for written, logprob in step] for step in steps]
    candidates = [tuple(level.encode().decode("latin-1") for level in path) for path in request.candidates]
    return request_logprobs(replace(request, candidates=candidates), constrain, shown)


@cache
def _alphabet() -> dict[str, int]:
    """Return the byte that each character of a byte-level token stands for (GPT-2's table)."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + at): byte for at, byte in enumerate(hidden)}


def _byte_level(token: str) -> bytes:
    table = _alphabet()
    return bytes(table[sign] for sign in token) if all(sign in table for sign in token) else token.encode()


def _plain(token: str) -> bytes:
    found = _BYTE.fullmatch(token)
    return bytes([int(found[1], 16)]) if found else token.replace("\u2581", " ").encode()
