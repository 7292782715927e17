"""What the engines that hold a model in this process have in common."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

from catalog.errors import ShelfmarkError, first_line
from catalog.messages import Request
from classify.engines.base import Constrain
from classify.engines.constraints import messages

_GATED = ("gated", "401 ", "403 ", "restricted", "awaiting a review")
_ABSENT = ("is not a local folder", "404 ", "repository not found", "not a valid model identifier", "does not exist")
_OFFLINE = ("offline", "couldn't connect", "cannot find the requested files", "connection error", "locate the file")
_MEMORY = ("out of memory", "free memory", "no available memory", "kv cache", "outofmemory")


def not_loaded(llm: str, error: BaseException, smaller: str) -> ShelfmarkError:
    """Return the one line for a model that cannot be loaded.

    Parameters
    ----------
    llm : str
        The model.
    error : BaseException
        What the library raised; libraries raise many kinds, so its words tell what is the matter.
    smaller : str
        What to do where memory is short.
    """
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in chain:
        chain.append(at)
        at = at.__cause__ or at.__context__
    words = " ".join(f"{type(one).__name__} {one}" for one in chain).lower()
    if any(sign in words for sign in _MEMORY):
        return ShelfmarkError(f"--llm {llm}: not enough memory ({first_line(error)}); {smaller}")
    if any(sign in words for sign in _GATED):
        todo = f"ask for access at https://huggingface.co/{llm}, then set HF_TOKEN"
    elif any(sign in words for sign in _OFFLINE):
        todo = "it is not on this machine and the network cannot be asked: download it first, or give its folder"
    elif any(sign in words for sign in _ABSENT):
        todo = "give a folder, or a name on the Hugging Face hub; for a private one set HF_TOKEN"
    else:
        todo = "check the name, the folder or the network"
    return ShelfmarkError(f"--llm {llm}: cannot be loaded ({first_line(error)}); {todo}")


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


def hush(terminal: bool, *quieten: Callable[[], Any]) -> None:
    """Turn progress bars off where nobody watches them: in a log each is a flood of lines."""
    if not terminal:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        for each in quieten:
            each()
