"""The pages: no link leads nowhere, each message of the troubleshooting page is ours, each preset has its row."""

import ast
import re
import tomllib
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("notebooks/*.md")])
CODE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]


def inline(page: Path) -> list[Token]:
    """Return what stands inside the lines of a page, images and what is in links among it."""
    blocks = MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))
    return [child for block in blocks for child in [block, *(block.children or [])]]


@cache
def anchors(page: Path) -> set[str]:
    """Return the names by which a page's headings are linked to, as GitHub makes them."""
    blocks = MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8"))
    found: list[str] = []
    for block, content in pairwise(blocks):
        if block.type == "heading_open":
            text = "".join(child.content for child in content.children or [])
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
    return set(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_images_lead_somewhere(page: Path) -> None:
    for token in inline(page):
        targets = [value for name in ("href", "src") if isinstance(value := token.attrGet(name), str)]
        if token.type in ("html_inline", "html_block"):
            targets += re.findall(r'(?:href|src)="([^"]*)"', token.content)
        for target in targets:
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.is_relative_to(ROOT), f"{target}: out of the repository"
            assert file.exists(), f"{target}: no such file"
            assert not anchor or anchor in anchors(file), f"{target}: no such heading"


def test_every_page_is_linked_to_from_the_readme() -> None:
    linked = {str(token.attrGet("href")).partition("#")[0] for token in inline(ROOT / "README.md")}
    assert {page.relative_to(ROOT).as_posix() for page in PAGES if page.name != "README.md"} <= linked


@cache
def messages() -> str:
    """Return every text in the code, with an ellipsis for what is filled in."""
    texts = []
    for file in (file for folder in CODE for file in (ROOT / folder.replace(".", "/")).glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def test_the_messages_of_the_troubleshooting_page_are_ours() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert len(quoted) > 30
    assert [message for message in quoted if message not in messages()] == []


def test_every_preset_has_its_row_among_the_original_s_experiments() -> None:
    presets = tomllib.loads((ROOT / "classify" / "presets.toml").read_text(encoding="utf-8"))
    rows = re.findall(r"--preset ([a-z][\w-]+)", (ROOT / "docs" / "original.md").read_text(encoding="utf-8"))
    assert set(rows) == set(presets)
