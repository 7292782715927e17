"""What the user has named: kept from one process to the next, for this user alone."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.named import is_named, remember, state_folder

ROOT = Path(__file__).parents[2]


def ask(kind: str, value: str) -> bool:
    """Ask another process."""
    code = f"import sys; from catalog.named import is_named; sys.exit(not is_named({kind!r}, {value!r}))"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_what_is_named_is_known_to_the_next_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert not is_named("address", "http://a:80")
    for _ in range(2):
        remember("address", "http://a:80")
    remember("template", "half a pair \ud800")
    assert is_named("address", "http://a:80")
    assert not is_named("template", "http://a:80")
    assert is_named("template", "half a pair \ud800")
    assert ask("address", "http://a:80")
    assert not ask("address", "http://b:80")
    file = tmp_path / "state" / "shelfmark" / "named"
    assert len(file.read_text().splitlines()) == 2
    assert "http" not in file.read_text()
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_where_nothing_can_be_kept_it_counts_for_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    remember("file", "/kept/nowhere")
    assert is_named("file", "/kept/nowhere")


def test_without_a_setting_it_is_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", value)
        assert state_folder() == tmp_path / ".local" / "state" / "shelfmark"
