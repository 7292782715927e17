"""What the engines that hold a model in this process have in common."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

from catalog.errors import ShelfmarkError, first_line
from catalog.messages import Request
from classify import console
from classify.engines.base import Constrain
from classify.engines.constraints import messages


def chat_tokens(tokenizer: Any, request: Request, constrain: Constrain, llm: str) -> list[int]:
    """Return the tokens of the request's chat turns, up to where the answer starts.

    Raises
    ------
    ShelfmarkError
        When the model has no chat template or its template refuses the turns.
    """
    turns = messages(request, constrain)
    try:
        return list(tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False))
    except Exception as error:  # a template is code, and may raise anything
        raise ShelfmarkError(
            f"--llm {llm}: its chat template cannot be used ({first_line(error)}); take a model tuned for chat "
            "(often named ...-Instruct)"
        ) from None


def too_long(tokens: int, context: int) -> str:
    """Return the error of a request whose prompt leaves no room for an answer."""
    return f"the prompt has {tokens} tokens, and the model reads {context} with the answer"


def draw_seed(seed: int, request: Request) -> int:
    """Return the seed of the request's own draws: whatever else is asked beside it, it draws the same."""
    return int.from_bytes(hashlib.sha256(f"{seed} {request.id}".encode()).digest()[:4], "big") >> 1


def hush(*quieten: Callable[[], Any]) -> None:
    """Turn progress bars off where nobody watches them: in a log each is a flood of lines."""
    if not console.is_watched():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        for each in quieten:
            each()
