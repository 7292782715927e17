import importlib.metadata
import json
import sys
import tomllib
from pathlib import Path

import pytest

from catalog import extras
from catalog.extras import CORE, Part

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
REQUIRES = [
    "numpy>=2.1",
    'nowhere-to-be-found>=5; extra == "embed"',
    'trl!=1.15.*,>=1.12; extra == "lora"',
    'old-only>=1; python_version < "3.0" and extra == "peers"',
    'hiclass; python_version < "99.0" and extra == "peers"',
]


@pytest.fixture
def installed(monkeypatch):
    """Have these packages installed, and no others."""

    def have(**versions: str) -> None:
        def version(name: str) -> str:
            if name.replace("-", "_") not in versions:
                raise importlib.metadata.PackageNotFoundError(name)
            return versions[name.replace("-", "_")]

        monkeypatch.setattr(importlib.metadata, "version", version)
        monkeypatch.setattr(importlib.metadata, "requires", lambda name: REQUIRES)

    return have


def test_every_extra_is_read_of_the_metadata(installed) -> None:
    installed(numpy="2.4.1", trl="1.9.0")
    found = extras.extras()
    assert found[CORE] == [Part("numpy", ">=2.1", "2.4.1")]
    assert [part.name for part in found["peers"]] == ["hiclass"]
    assert found["embed"] == [Part("nowhere-to-be-found", ">=5", "")]
    assert found["lora"][0].version == "1.9.0"


@pytest.mark.parametrize(
    ("wanted", "version", "is_there"),
    [
        (">=5", "6.2.0", True),
        (">=5", "4.9", False),
        ("!=1.15.*,>=1.12", "1.9.0", False),
        (">=2.8", "2.13.0+cpu", True),
        ("", "0.1", True),
        (">=5", "?", True),
        ("", "", False),
    ],
)
def test_a_version_that_is_too_old_is_as_good_as_none(wanted: str, version: str, is_there: bool) -> None:
    assert Part("x", wanted, version).installed == is_there


def test_a_build_under_another_name_and_a_module_that_is_broken(installed, tmp_path, monkeypatch) -> None:
    installed()
    (tmp_path / "other_build.py").write_text("raise RuntimeError('broken')")
    monkeypatch.syspath_prepend(tmp_path)
    assert extras.version("other-build") == "?"
    monkeypatch.setitem(sys.modules, "gone_wrong", None)
    assert extras.version("gone-wrong") == ""


def test_the_command_fits_how_the_package_was_installed(monkeypatch) -> None:
    class Installed:
        def __init__(self, about: dict | None) -> None:
            self.about = about

        def read_text(self, name: str) -> str | None:
            return None if self.about is None else json.dumps(self.about)

    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Installed(None))
    assert extras.install_command("lora", "embed") == "pip install 'shelfmark[lora,embed]'"
    about = {"url": "file:///home/me/my%20code", "dir_info": {"editable": True}}
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Installed(about))
    assert extras.install_command("embed") == "pip install -e '/home/me/my code[embed]'"
