"""What this machine can do: what it has, what is installed, and for each strategy what is missing and how to get it.

Nothing that is looked at is imported, and nothing is asked over a network.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from catalog.extras import CORE, PACKAGE, Part, extras, install_command, source, version
from catalog.machine import cores, gpus, memory

KEYS = {
    "OPENAI_API_KEY": "the engines server and batch, the strategy openai, classify context",
    "OPENAI_BASE_URL": "where they find the API; --base-url says it, too",
    "HF_TOKEN": "classify push",
}
"""Variables of the environment that are read, and what for. Their values are never shown."""
GPU_FILE = "requirements-gpu.txt"
ON_GPU = ("lora", "unsloth", "vllm")
"""Extras that `GPU_FILE` pins together."""
NEEDS_GPU = ("unsloth", "vllm")
"""Those of them that are of no use without a GPU."""
VLLM = "a GPU, or vLLM's build for processors"


@dataclass(frozen=True)
class Way:
    """A way to classify.

    Attributes
    ----------
    name : str
        What it is.
    how : str
        The options that ask for it.
    extra : str
        Whose packages it needs; empty for none.
    packages : tuple of str
        Those of them that it needs, where it is not all.
    key : str
        The variable that must be set; empty for none.
    gpu : bool
        Whether it needs a GPU.
    note : str
        What else there is to know.
    """

    name: str
    how: str
    extra: str = CORE
    packages: tuple[str, ...] = ()
    key: str = ""
    gpu: bool = False
    note: str = ""


TRANSFORMERS = ("torch", "transformers")
WAYS = (
    Way("rag, without an LLM", "--strategy rag"),
    Way("tree", "--strategy tree"),
    Way("sentence encoders, re-rankers", "--encoder minilm, --rerank NAME", "embed"),
    Way("rag, engine vllm", "--engine vllm --llm LLM", "vllm", note=VLLM),
    Way("rag, engine transformers", "--engine transformers --llm LLM", "embed", TRANSFORMERS),
    Way("rag, engine server", "--engine server --base-url URL --llm LLM", note="a server at URL"),
    Way("rag, engine batch", "--engine batch --llm LLM", key="OPENAI_API_KEY"),
    Way("lora, fit", "classify fit --strategy lora", "lora", note="a GPU, but for small models"),
    Way("lora, fit by unsloth", "classify fit --strategy lora --backend unsloth", "unsloth", gpu=True),
    Way("lora, answers by vllm", "--strategy lora --model MODEL --engine vllm", "vllm", note=VLLM),
    Way("lora, answers by transformers", "--strategy lora --model MODEL --engine transformers", "lora", TRANSFORMERS),
    Way("openai, fit and answers", "classify fit --strategy openai", key="OPENAI_API_KEY"),
    Way("exact counts of OpenAI's tokens", "classify plan", "tokens"),
    Way(
        "what the web says of products",
        "classify context --search openai",
        key="OPENAI_API_KEY",
        note="this key, or another provider's --search and key",
    ),
    Way("push to the hub", "classify push MODEL", "lora", ("huggingface_hub",), "HF_TOKEN"),
)


@dataclass(frozen=True)
class Verdict:
    """Whether a way can be gone here: what is `missing`, and the commands that `enable` it; both empty where it can."""

    name: str
    how: str
    ready: bool
    missing: list[str]
    enable: list[str]
    note: str


@dataclass(frozen=True)
class Report:
    """What `examine` found. Sizes are bytes, `disk` what is free at the working folder, `keys` whether they are set."""

    shelfmark: str
    python: str
    system: str
    cores: float
    memory: dict[str, int]
    disk: int
    gpus: list[dict[str, Any]]
    extras: dict[str, list[Part]]
    keys: dict[str, bool]
    ways: list[Verdict]

    @property
    def can_run(self) -> bool:
        """Whether anything can be done here."""
        return any(way.ready for way in self.ways)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        parts = {
            extra or "core": {part.name: part.version or None for part in found} for extra, found in self.extras.items()
        }
        return {**asdict(self), "extras": parts}


def examine(environment: Mapping[str, str] = os.environ) -> Report:
    """Look at this machine."""
    total, available = memory()
    found, cards = extras(), gpus()
    keys = {name: bool(environment.get(name, "").strip()) for name in KEYS}
    return Report(
        shelfmark=version(PACKAGE),
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cores=cores(),
        memory={"total": int(total), "available": int(available)},
        disk=shutil.disk_usage(Path.cwd()).free,
        gpus=[asdict(card) for card in cards],
        extras=found,
        keys=keys,
        ways=[judge(way, found, keys, gpu=bool(cards)) for way in WAYS],
    )


def judge(way: Way, found: Mapping[str, list[Part]], keys: Mapping[str, bool], *, gpu: bool) -> Verdict:
    """Tell whether a way can be gone with these packages and keys, and how to open it where it cannot."""
    enable = []
    lacking = [part.name for part in found.get(CORE, []) if not part.installed]
    if lacking:
        enable.append(f"pip install {PACKAGE}" if source() is None else f"pip install -e '{source()}'")
    if way.extra:
        parts = found.get(way.extra) or [Part(way.extra, "", "")]  # metadata of an older version do not know it
        wanted = [Part(name, "", version(name)) for name in way.packages] or parts
        own = [part.name for part in wanted if not part.installed]
        lacking += own
        if own:
            enable.append(_install(way.extra, gpu=gpu))
    missing = [f"package {name}" for name in lacking]
    if way.key and not keys[way.key]:
        missing.append(way.key)
        enable.append(f"export {way.key}=...")
    if way.gpu and not gpu:
        missing.append("a GPU")
        enable.append("run it where there is a GPU")
    return Verdict(way.name, way.how, not missing, missing, enable, way.note)


def _install(extra: str, *, gpu: bool) -> str:
    pinned = source()
    if (gpu or extra in NEEDS_GPU) and extra in ON_GPU and pinned is not None and (pinned / GPU_FILE).is_file():
        return f"pip install -r {pinned / GPU_FILE}"
    return install_command(extra)
