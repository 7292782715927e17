"""Nothing that is printed gives the terminal orders, wherever it came from."""

import ast
import json
import logging
import os
import shutil
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.table import Table

from catalog.errors import ShelfmarkError
from catalog.foreign import visible
from classify import console
from classify.batch_list import Standing, batch_table
from classify.terminal import Terminal, shown
from classify.tuning_table import tuning_table
from submissions.scoreboard import ScoreRow, scoreboard_table
from tests.classify import conftest as fixtures
from tests.classify.terminal import on_a_terminal

_tune_quickly, _draw_nothing = fixtures._tune_quickly, fixtures._draw_nothing
command, refused = fixtures.command, fixtures.refused
ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("catalog", "measure", "pages", "rag", "student", "postprocess", "finetune", "submissions", "classify")
ATTACKS = [
    "\x1b]0;owned\x07",
    "\x1b]52;c;ZWNobyBvd25lZA==\x07",
    "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "\x1b[2J\x1b[1;1H",
    "\x9b31m\x9d0;owned\x9c",
    "\rclassify: all is well",
    "\x08\x08\x08\x7f",
    "milk\u202egpj.exe\u2066",
    "a\x0b\x0c\x85b\u2028c\u2029d",
    "\udcff \ud800",
    "[red]x[/red][link=http://evil.example]y[/link]:boom:",
]


def is_harmless(text: str, lines: int | None = None) -> bool:
    assert visible(text, lines=True) == text, ascii(text)
    assert lines is None or text.count("\n") == lines, ascii(text)
    return True


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_error_is_one_line_that_is_shown(attack: str) -> None:
    message = str(ShelfmarkError(f"{attack}: no such file"))
    assert is_harmless(message, lines=0)
    assert str(ShelfmarkError(message)) == message
    message.encode()


def test_a_book_in_a_cell_leaves_the_advice() -> None:
    message = str(ShelfmarkError(f"test.csv, line 2: {'x' * 10**6}; write it otherwise"))
    assert len(message) < 4000
    assert message.startswith("test.csv, line 2: x")
    assert message.endswith("; write it otherwise")


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_the_console_says(capsys: pytest.CaptureFixture[str], attack: str) -> None:
    console.reset()
    console.advise(attack)
    console.say(attack, err=True)
    console.tell(attack)
    console.result(Path(f"run{attack}"), f": {attack}")
    table = Table(attack, title=attack, caption=attack)
    table.add_row(attack)
    table.add_row(shown(attack))
    console.show(table)
    said = capsys.readouterr()
    assert is_harmless(said.out)
    assert is_harmless(said.err, lines=2)
    if "[" not in attack[:1] and "\ud800" not in attack:
        assert visible(attack) in said.out


def test_brackets_in_tables_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("a")
    table.add_row("[red]x[/red] [link=http://evil.example]y[/link] :boom: [/]")
    console.show(table)
    assert "[red]x[/red] [link=http://evil.example]y[/link] :boom: [/]" in capsys.readouterr().out


@settings(max_examples=30)
@given(st.text(st.characters(codec=None) | st.sampled_from("\x1b\x9b\r\n[]"), max_size=30))
def test_a_cell_is_shown_whole_and_its_row_is_as_wide_as_the_others(text: str) -> None:
    terminal = Terminal(width=400, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    table = Table("name")
    table.add_row(shown(text))
    table.add_row("x" * 130)
    terminal.print(table)
    written = terminal.export_text()
    assert visible(written, lines=True) == written
    for line in visible(text, lines=True).split("\n"):
        assert line.strip() in written


def test_tables_of_what_providers_and_files_say(capsys: pytest.CaptureFixture[str]) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    console.show(scoreboard_table([ScoreRow(n, None, attack, now, 1, "ready") for n, attack in enumerate(ATTACKS)]))
    standings = [Standing(attack, attack, 1, 1, 0, None, None) for attack in ATTACKS]
    console.show(batch_table(Path(ATTACKS[0]), standings, {"cost": None}, live=False))
    console.show(tuning_table({"job": ATTACKS[0], "model": ATTACKS[3], "error": ATTACKS[4], "label_paths": 1}))
    said = capsys.readouterr().out
    assert is_harmless(said)
    assert said.count(r"\x1b]0;owned\x07") == 5


def test_json_reads_back_the_same_and_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    for attack in ATTACKS:
        console.show_json({attack: [attack]})
        line = capsys.readouterr().out
        assert is_harmless(line, lines=1)
        assert json.loads(line) == {attack: [attack]}


def test_logs_and_warnings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    level = logging.root.level
    with warnings.catch_warnings():
        try:
            console.settle(verbose=True)
            logging.getLogger("some.library").warning("saw %s", ATTACKS[0])
        finally:
            logging.root.setLevel(level)
            console.reset()
    assert is_harmless(capsys.readouterr().err, lines=1)
    assert is_harmless(console.warning_lines(UserWarning(ATTACKS[0]), UserWarning, f"x{ATTACKS[3]}.py", 1))


def test_what_the_command_says_of_names_and_cells(refused, shop, tmp_path) -> None:
    attack = "".join(ATTACKS[:9])[:200]
    place = tmp_path / attack.replace("/", "_")
    for arguments in (
        ("--train", place, "--test", shop.test_file),
        ("--train", shop.train_file, "--test", place),
        ("resume", place),
        ("evaluate", place, place),
        ("--strategy", attack, "--train", shop.train_file, "--test", shop.test_file),
        (attack,),
        ("resume", f"--{attack}"),
        ("--top-k", attack, "--train", shop.train_file, "--test", shop.test_file),
    ):
        assert is_harmless(refused(*arguments))
    bad = tmp_path / "bad.csv"
    bad.write_text(f'indoml_id,"{attack}"\n1,x\n', encoding="utf-8", newline="")
    assert is_harmless(refused("--train", shop.train_file, "--test", bad))


def test_a_file_whose_name_is_no_utf8(command, refused, shop, tmp_path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xffn\x1b[31m"))
    assert r"r\xffn\x1b[31m: not a run" in refused("resume", folder)
    done = command("sample", "--rows", 9, "--test-rows", 9, "--out", folder)
    assert done.code == 0
    assert r"r\xffn\x1b[31m: 9 labelled products" in done.out
    train = shutil.copytree(shop.folder, folder / "shop")
    run = folder / "run"
    done = command("--train", train / "train.features", "--test", shop.test_file, "--run", run)
    assert done.code == 0
    assert r"r\xffn\x1b[31m" in "".join(done.out.split())
    assert is_harmless(done.out + done.err)
    assert command("resume", run).code == 0


def test_a_bar_and_its_words_on_a_terminal() -> None:
    body = (
        "from classify.console import progress, tell\n"
        "import classify.progress as p\n"
        "with p.bar('snap \\x1b]0;owned\\x07 [red]', 2, lambda: 'of \\x1b]0;owned\\x07') as advance: advance(1)\n"
        "with p.timed('x \\x1b]0;owned\\x07', 1) as advance: advance(1)\n"
    )
    code, seen = on_a_terminal([sys.executable, "-c", body], {**os.environ, "COLUMNS": "200", "TERM": "xterm-256color"})
    assert code == 0
    assert b"\x1b]" not in seen
    assert rb"\x1b]0;owned\x07" in seen
    assert b"[red]" in seen


def test_a_bug_s_traceback(command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError(f"it {ATTACKS[0]} {ATTACKS[3]}")

    monkeypatch.setattr("classify.doctor.examine", fail)
    for arguments in (("doctor",), ("--verbose", "doctor")):
        assert is_harmless(command(*arguments).err)


def test_everything_is_printed_by_the_console() -> None:
    doors = {"classify/console.py", "classify/terminal.py"}
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            if file.relative_to(ROOT).as_posix() in doors:
                continue
            text = file.read_text(encoding="utf-8")
            if not any(word in text for word in ("echo", "Console", "print", "std")):
                continue
            for node in ast.walk(ast.parse(text)):
                if not isinstance(node, ast.Call):
                    continue
                called = ast.unparse(node.func)
                place = f"{file.relative_to(ROOT)}, line {node.lineno}: {called}"
                assert called not in ("typer.echo", "click.echo", "Console", "traceback.print_exc", "rich.print"), place
                assert not called.startswith(("sys.stdout.w", "sys.stderr.w")), place
                if called == "print":
                    assert ast.unparse(node.args[0]).startswith("visible("), place
