"""What the documents tell people to type is what there is."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from classify.cli import app
from classify.commands.reference import reference

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
PROGRAM: Any = typer.main.get_command(app)
# Options whose values may be others than those that a shell completes.
OPEN = {"schema", "encoder", "recipe", "quantization", "device", "llm", "of"}
GENERATED = ROOT / "docs" / "commands.md"


def lines(page: Path) -> list[tuple[int, str]]:
    """Return the lines of code of a page, those that go on put together, and the code within its text."""
    found, fenced, before = [], False, ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            text = before + line.strip()
            before = text.removesuffix("\\") if text.endswith("\\") else ""
            if not before:
                found.append((number, text))
        else:
            found += [(number, text) for text in re.findall(r"`([^`]+)`", line)]
    return found


def commands(page: Path) -> list[tuple[int, list[str]]]:
    """Return the words of each command, without its comment."""
    found = []
    for number, text in lines(page):
        for part in re.split(r"\s(?:&&|;|\|)\s", text):
            part = re.sub(r"^\$ ", "", part.strip())
            if re.match(r"(classify|make|python benchmarks/\S+|pip install)(\s|$)", part):
                found.append((number, shlex.split(part, comments=True)))
    return found


def check_classify(words: list[str]) -> None:
    """Refuse a command line that the option parser would refuse, without carrying it out."""
    command: Any = PROGRAM
    context: Any = typer.Context(PROGRAM, info_name="classify")
    if len(words) > 1 and not words[1].startswith("-"):
        if words[1].isupper() or words[1] == "...":  # any command
            return
        assert words[1] in PROGRAM.commands, f"there is no classify {words[1]}"
        command, words = PROGRAM.commands[words[1]], words[1:]
        context = typer.Context(command, info_name=words[0], parent=context)
    flags = {flag: one for one in command.params if one.param_type_name == "option" for flag in one.opts}
    flags |= {flag: one for one in command.params for flag in getattr(one, "secondary_opts", ())}
    for at, word in enumerate(words):
        if word.startswith("--") and word not in ("--help", "--..."):
            assert word in flags, f"{word} is not an option of classify {command.name or ''}"
            parameter = flags[word]
            if parameter.is_flag or at + 1 == len(words):
                continue
            value = words[at + 1].rstrip(",")
            known = [item.value for item in parameter.shell_complete(context, "")]
            if known and parameter.name not in OPEN and not value.isupper() and value != "...":
                assert value in known, f"{word} {value}: there are {', '.join(known)}"


def check(words: list[str]) -> None:
    if words[0] == "classify":
        check_classify(words)
    elif words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
        for word in words[1:]:
            assert "=" in word or word in targets or word == "...", f"the Makefile has no {word}"
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file(), f"there is no {words[1]}"
    else:
        extras = re.search(
            r"^\[project.optional-dependencies\](.*?)^\[", (ROOT / "pyproject.toml").read_text(), re.M | re.S
        )
        for word in words[2:]:
            for extra in re.findall(r"^(?:\.|shelfmark)\[([\w,-]+)\]$", word):
                assert all(re.search(rf"^{one} = \[", extras.group(1), re.M) for one in extra.split(",")), word
            assert not word.endswith(".txt") or (ROOT / word).is_file(), f"there is no {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_tells_to_type_is_there(page: Path) -> None:
    wrong = []
    for number, words in commands(page):
        try:
            check(words)
        except AssertionError as error:
            wrong.append(f"{page.name}, line {number}: {' '.join(words)}: {str(error).splitlines()[0]}")
    assert not wrong, "\n".join(wrong)


def test_the_readme_has_commands_at_all() -> None:
    assert sum(words[0] == "classify" for _, words in commands(ROOT / "README.md")) > 20


@pytest.mark.parametrize(
    "line",
    [
        "classify evalute RUN LABELS",
        "classify --stratgy tree",
        "classify --strategy trees",
        "classify fit --engine vllm",
        "classify resume RUN --engine sever",
        "make tests",
        "python benchmarks/nothing.py",
        "pip install -e '.[nothing]'",
        "pip install -r nothing.txt",
    ],
)
def test_a_wrong_command_is_found(line: str) -> None:
    with pytest.raises(AssertionError):
        check(shlex.split(line))


def test_the_command_reference_is_current() -> None:
    assert GENERATED.read_text(encoding="utf-8") == reference(), "docs/commands.md is out of date: make docs"
