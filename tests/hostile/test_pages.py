"""No page and no card takes what a model, a label or a file is called for a part of its own."""

import ast
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from catalog.foreign import visible
from catalog.schema import Schema
from classify.report.page import write_report
from finetune.card import card
from finetune.curves import write_report as write_training
from tests.classify.report import conftest as report
from tests.classify.report.reading import checked
from tests.finetune import conftest as tuned
from tests.finetune.test_curves import Page

ATTACKS = [
    "<script>alert(1)</script>",
    "</title></style><img src=//evil.example/x onerror=alert(1)>",
    "![x](//evil.example/x.png) [click](javascript:alert(1))",
    "a | b\n---\nlicense: evil\n\n# Owned\n\n```\ncode",
    "`code` ``more`` \\| [a]: //evil.example",
    "\"}}'{{ 7 * 7 }}{% raw %}",
    "x\u2028license: evil\x85y\x1b]0;owned\x07\u202e",
    "--> ]]> &lt;b&gt; &#60;b&#62;",
]
EVERYTHING = " ".join(ATTACKS)
make_run, row = report.make_run, report.row


@pytest.fixture
def attacked(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fitted model that says nothing but attacks of itself."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # nobody asks the hub
    folder = tuned.write_model(tmp_path / "model", "base", [tuned.ROW])
    about = json.loads((folder / "model.json").read_text())
    levels = (f"super{ATTACKS[0]}", f"group{ATTACKS[3]}", f"module{ATTACKS[4]}", "brand")
    about["schema"] = Schema("indoml", "id", (f"text{EVERYTHING}",), levels, f"shop{EVERYTHING}", "price").to_dict()
    about["options"] |= {"recipe": EVERYTHING.replace("/", "")}
    (folder / "model.json").write_text(json.dumps(about))
    training = json.loads((folder / "training.json").read_text())
    training |= {"base": EVERYTHING.replace("/", ""), "backend": EVERYTHING, "device": EVERYTHING}
    training |= {"notes": ATTACKS, "versions": {attack: attack for attack in ATTACKS}}
    training["merge"] |= {"precision": EVERYTHING}
    (folder / "training.json").write_text(json.dumps(training))
    return folder


def test_a_card_is_words_alone(attacked: Path) -> None:
    text = card(attacked)
    matter, body = re.fullmatch(r"---\n(.*?)\n---\n(.*)", text, re.DOTALL).groups()
    assert yaml.safe_load(matter)["license"] == "unknown"
    assert set(yaml.safe_load(matter)) == {"license", "library_name", "pipeline_tag", "tags", "metrics"}
    blocks = MarkdownIt("commonmark", {"html": True}).enable("table").parse(body)
    inner = [token for block in blocks for token in [block, *(block.children or [])]]
    kinds = {token.type for token in inner}
    assert not kinds & {"html_block", "html_inline", "image", "link_open", "code_block"}
    titles = [after.content for token, after in pairwise(blocks) if token.type == "heading_open"]
    assert titles == ["model", "How to use it", "Data", "Recipe", "Scores", "Limits", "Versions"]
    fences = [token for token in blocks if token.type == "fence"]
    assert [token.info for token in fences] == ["sh", "python", "python"]
    for fence in fences[1:]:
        ast.parse(fence.content)
    assert all(cells in (2, 3) for cells in _cells(body))
    assert visible(text, lines=True) == text


def _cells(body: str) -> list[int]:
    rows = [line for line in body.split("\n") if line.startswith("| ")]
    return [len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in rows]


def test_a_name_on_the_hub_is_quoted(attacked: Path) -> None:
    text = card(attacked, 'a/b"\nlicense: mit')
    assert "\nlicense: mit" not in text
    assert yaml.safe_load(text.split("---\n")[1])["license"] == "unknown"


@pytest.mark.parametrize("word", ['"evil"\nmodel: x', "mit\u2028evil: 1", "[a, b]", "{{ x }}"])
def test_a_licence_of_a_base_is_one_value(attacked: Path, tmp_path, word: str) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text(json.dumps({"license": word}))
    training = json.loads((attacked / "training.json").read_text())
    (attacked / "training.json").write_text(json.dumps({**training, "base": str(base)}))
    assert yaml.safe_load(card(attacked).split("---\n")[1])["license"] == word


def test_the_page_of_a_training_is_words_alone(attacked: Path) -> None:
    text = write_training(attacked).read_text()
    page = Page(text)
    assert all(one.startswith("#") for one in page.references)
    assert not re.search(r"<(script|img|iframe|object|link)\b", text)
    assert "<script>alert(1)</script>" in " ".join(page.words)
    assert "\x1b" not in text


@pytest.mark.parametrize("labels", [True, False])
def test_the_page_of_a_run_is_words_alone(make_run, row, labels: bool) -> None:
    paths = [tuple(f"{attack[:40]} {level}" for level in "abcd") for attack in ATTACKS]
    rows = [
        row(attack, path, paths[0], 0.1 + 0.1 * at)
        for at, (attack, path) in enumerate(zip(ATTACKS, paths, strict=True))
    ]
    run = make_run(rows=rows * 3, labels=labels, answers=True)
    manifest = json.loads((run.folder / "manifest.json").read_text())
    manifest["engine"] = ATTACKS[0]
    manifest["packages"] = {"shelfmark": ATTACKS[0]}
    (run.folder / "manifest.json").write_text(json.dumps(manifest))
    page = write_report(type(run).open(run.folder))
    checked(page)
    text = page.read_text()
    assert not re.search(r"<(script|img|iframe|object)\b", text)
    assert "&lt;script&gt;alert(1)" in text
    assert "\x1b" not in text
