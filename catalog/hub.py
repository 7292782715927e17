"""Models from the Hugging Face hub: one line on why one cannot be loaded."""

from __future__ import annotations

from catalog.errors import ShelfmarkError, first_line

_GATED = ("gated", "401 ", "403 ", "restricted", "awaiting a review")
_ABSENT = ("is not a local folder", "404 ", "repository not found", "not a valid model identifier", "does not exist")
_OFFLINE = ("offline", "couldn't connect", "cannot find the requested files", "connection error", "locate the file")
_MEMORY = ("out of memory", "free memory", "no available memory", "kv cache", "outofmemory", "can't allocate memory")


def not_loaded(what: str, name: str, error: BaseException, smaller: str) -> ShelfmarkError:
    """Return the one line for a model that cannot be loaded.

    Parameters
    ----------
    what : str
        The option that named the model: ``--llm``.
    name : str
        The model: a folder or a name on the hub.
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
        return ShelfmarkError(f"{what} {name}: not enough memory ({first_line(error)}); {smaller}")
    if any(sign in words for sign in _GATED):
        todo = f"ask for access at https://huggingface.co/{name}, then set HF_TOKEN"
    elif any(sign in words for sign in _OFFLINE):
        todo = "it is not on this machine and the network cannot be asked: download it first, or give its folder"
    elif any(sign in words for sign in _ABSENT):
        todo = "give a folder, or a name on the Hugging Face hub; for a private one set HF_TOKEN"
    else:
        todo = "check the name, the folder or the network"
    return ShelfmarkError(f"{what} {name}: cannot be loaded ({first_line(error)}); {todo}")
