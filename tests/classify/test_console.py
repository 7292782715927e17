import logging
import os
import re
import sys
import warnings

import pytest

from classify import console
from tests.classify.terminal import on_a_terminal


@pytest.fixture(autouse=True)
def _as_before():
    handlers, level = logging.root.handlers[:], logging.root.level
    with warnings.catch_warnings():
        yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    console.reset()


@pytest.fixture
def broken(monkeypatch):
    """Have a bug in ``classify doctor``."""

    def fail(*arguments: object) -> None:
        logging.getLogger("some.library").info("opened a door")
        raise RuntimeError("the bug\nand its second line")

    monkeypatch.setattr("classify.doctor.examine", fail)


def test_a_bug_is_one_line_and_another_code_than_a_mistake(command, broken) -> None:
    done = command("doctor")
    assert (done.code, done.out) == (1, "")
    assert done.err.count("\n") == 1
    assert "RuntimeError: the bug;" in done.err
    assert "--verbose" in done.err


@pytest.mark.parametrize("arguments", [["--verbose", "doctor"], ["doctor", "--verbose"]])
def test_verbose_shows_where_a_bug_is_and_what_libraries_log(command, broken, arguments: list[str]) -> None:
    logging.root.handlers.clear()
    done = command(*arguments)
    assert done.code == 1
    assert "Traceback (most recent call last)" in done.err
    assert "some.library: opened a door" in done.err


def test_memory_that_does_not_suffice_is_no_bug(refused, monkeypatch) -> None:
    def fail() -> None:
        raise MemoryError("Unable to allocate 3 TiB")

    monkeypatch.setattr("classify.doctor.examine", fail)
    assert "Unable to allocate 3 TiB" in refused("doctor")


def test_quiet_leaves_the_path_of_the_result_alone(command, shop, model, tmp_path) -> None:
    run = tmp_path / "run"
    for arguments, wanted in [
        (["--quiet", "--model", model, "--test", shop.known, "--run", run], run),
        (["resume", run, "--quiet"], run),
        (["--quiet", "submit", run, "--board", tmp_path / "board.csv"], run / "run.zip"),
        (["ask", run, "--rows", 5, "--quiet"], run / "ask.csv"),
        (["sample", "--rows", 9, "--test-rows", 9, "--out", tmp_path / "s", "--quiet"], tmp_path / "s"),
    ]:
        done = command(*arguments)
        assert (done.code, done.out, done.err) == (0, f"{wanted}\n", ""), arguments


def test_quiet_still_shows_what_was_asked_for(command, refused, shop, finished, tmp_path) -> None:
    assert command("evaluate", finished, shop.known, "--quiet").out == command("evaluate", finished, shop.known).out
    assert "not a run" in refused("--quiet", "resume", tmp_path)


def test_verbose_tells_how_long_stages_took(command, shop, model, tmp_path) -> None:
    done = command("--verbose", "--model", model, "--test", shop.known, "--run", tmp_path / "run")
    assert done.code == 0
    assert re.search(rf"^requests: {len(shop.test)} of {len(shop.test)} in [0-9.]+ s$", done.err, re.M)
    assert re.search(r"^snap: ", done.err, re.M)


def test_one_of_them(refused) -> None:
    assert "one of --verbose and --quiet" in refused("--verbose", "doctor", "--quiet")
    assert "one of --verbose and --quiet" in refused("doctor", "--verbose", "--quiet")


def test_the_next_command_in_a_process_begins_anew(command, shop, finished) -> None:
    command("--quiet", "submit", finished, "--name", "x", "--board", finished.parent / "b.csv")
    assert "valid" in command("submit", finished, "--name", "x", "--board", finished.parent / "b.csv").out
    (finished / "x.zip").unlink()


BAR = "from classify.console import progress\nwith progress()('snap', 2) as advance: advance(1)"


def bar_on_a_terminal(**settings: str) -> bytes:
    """Return what a bar writes to a terminal with these variables set."""
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    settings = {**environment, "TERM": "xterm-256color", "COLUMNS": "100", **settings}
    return on_a_terminal([sys.executable, "-c", BAR], settings)[1]


def test_no_color_is_respected() -> None:
    colour = re.compile(rb"\x1b\[(?:[0-9;]*;)?[34][0-9]")
    assert colour.search(bar_on_a_terminal())
    plain = bar_on_a_terminal(NO_COLOR="1")
    assert b"snap" in plain
    assert not colour.search(plain)


def test_pipes_get_neither_colours_nor_bars(command, shop, finished) -> None:
    done = command("evaluate", finished, shop.known)
    assert "\x1b" not in done.out + done.err
