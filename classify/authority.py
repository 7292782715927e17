"""What a manifest or a model.json may say, and only this machine's user may decide: code, paths, addresses.

Such a file tells what was done, and may come from somebody else. Every option is one of these:

data
    A number, a choice, the name of something that the package knows: it is checked for its type, and used.
template
    A prompt template: it decides what an LLM is told.
file, model
    A path on this machine; the name of a model is one where something of that name stands here.
address
    Where requests and a key are sent, or a service that reports are sent to.

What is no data counts where this machine's user gave it, or confirmed it with ``--trust``; an address has to be given.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from catalog.errors import ShelfmarkError
from catalog.named import is_named, remember
from rag.encoders import SHORT_NAMES

Kind = Literal["template", "file", "model", "address", "service"]

AUTHORITY: Mapping[str, Kind] = {
    "prompt": "template",
    "prices": "file",
    "recipe": "file",
    "accelerate_config": "file",
    "encoder": "model",
    "rerank": "model",
    "tokenizer": "model",
    "base": "model",
    "llm": "model",
    "adapter": "model",
    "base_url": "address",
    "report_to": "service",
}
"""Options, of strategies and engines, that are no data. All others are."""
FITTING = ("accelerate_config", "report_to")
"""Those that a fit alone looks at: a model that is fitted may have any."""
OF_THE_HUB = ("encoder", "rerank")
"""Models that count as named by hand wherever they are: sentence-transformers looks at more than weights in one."""
USUAL_ADDRESSES = ("https://api.openai.com/v1", "http://localhost:8000/v1")
"""Where nothing is said: the provider's, and a server on this machine."""


@dataclass(frozen=True)
class Claim:
    """A value that only this machine's user may decide on.

    Attributes
    ----------
    option : str
        Its name.
    kind : str
        What it is.
    value : str
        As it was given.
    """

    option: str
    kind: Kind
    value: str

    @property
    def mark(self) -> str:
        """By which the user is known to have named it: what is elsewhere by another working directory is another."""
        if self.kind in ("file", "model") and _stands_here(self.value):
            return str(_place(self.value).resolve())
        return origin(self.value) if self.kind == "address" else self.value


def claims(options: Mapping[str, Any]) -> Iterator[Claim]:
    """Yield those of a strategy's or an engine's options that are no data."""
    for option, kind in AUTHORITY.items():
        value = options.get(option)
        if option == "encoder" and isinstance(value, str):
            value = value.removeprefix("hybrid:")  # n-grams beside it
        if not isinstance(value, str) or not value or (option == "encoder" and value in ("ngram", *SHORT_NAMES)):
            continue
        # Else a name that a provider or the hub knows; or of another machine, and nothing can be read of it.
        if kind in ("file", "model") and option not in OF_THE_HUB and not _stands_here(value):
            continue
        if kind == "service" and value == "none":
            continue
        if kind == "address" and origin(value) in map(origin, _usual_addresses()):
            continue
        yield Claim(option, kind, value)


def name_all(options: Mapping[str, Any]) -> None:
    """Remember that this machine's user gave these options."""
    for claim in claims(options):
        remember(claim.kind, claim.mark)


def require_named(options: Mapping[str, Any], source: Path, *, trust: bool = False, fitting: bool = False) -> None:
    """Refuse options of a file that may come from somebody else, where only this machine's user may decide on them.

    Parameters
    ----------
    options : mapping
        What the file says.
    source : Path
        The file.
    trust : bool
        The user confirms templates, paths and services. Addresses have to be given.
    fitting : bool
        Whether a model is fitted by these options.

    Raises
    ------
    ShelfmarkError
        When the user has neither given nor confirmed one.
    """
    template = options.get("prompt")
    if isinstance(template, str) and template and "{%" not in template:
        raise ShelfmarkError(f"{source}: damaged (prompt: not the text of a template); get the folder anew")
    for claim in claims(options):
        if is_named(claim.kind, claim.mark) or (claim.option in FITTING and not fitting):
            continue
        if not trust or claim.kind == "address":
            raise ShelfmarkError(f"{source}: {_why(claim)}")
        remember(claim.kind, claim.mark)


def require_address(url: str, source: Path) -> None:
    """Refuse to send anything to an address that only a file names, which may come from somebody else.

    Raises
    ------
    ShelfmarkError
        When this machine's user has not named it.
    """
    require_named({"base_url": url}, source)


def origin(url: str) -> str:
    """Return scheme, host and port of an address: who gets what is sent there."""
    if not all("!" <= sign <= "~" for sign in url):
        return "no address"  # readers of addresses do not agree on other signs
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
        return f"{parts.scheme}://{(parts.hostname or '').rstrip('.')}:{port}"
    except ValueError:
        return "no address"


def _usual_addresses() -> tuple[str, ...]:
    named = os.environ.get("OPENAI_BASE_URL", "").strip()
    return (*USUAL_ADDRESSES, *([named] if named else []))


def _place(value: str) -> Path:
    place = Path(value)
    try:
        return place if os.path.lexists(place) else place.expanduser()
    except RuntimeError:  # "~" and a name that nobody has
        return place


def _stands_here(value: str) -> bool:
    try:
        return os.path.lexists(_place(value))
    except ValueError:  # signs that no path has
        return False


def _why(claim: Claim) -> str:
    flag = "--" + claim.option.replace("_", "-")
    if claim.kind == "template":
        return (
            "its prompt template was not given on this machine, and it decides what an LLM is told; read it "
            "(options, prompt), then say --trust"
        )
    if claim.kind == "address":
        return (
            f"it names the address {origin(claim.value)}, which was not given on this machine; say --base-url URL, or "
            "set OPENAI_BASE_URL"
        )
    if claim.kind == "service":
        return f"it sends reports to {claim.value}, which was not asked for on this machine; say --trust to allow it"
    return (
        f"it names {claim.value} on this machine ({flag}), which was not given here; give {flag} again where the "
        "command has it, or say --trust"
    )
