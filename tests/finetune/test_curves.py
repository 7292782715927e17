import json
import re
from html.parser import HTMLParser

import pytest

from catalog.errors import ShelfmarkError
from finetune.curves import write_report

PROFILE = {
    "device": "cpu",
    "device_name": None,
    "rows": 12,
    "profiled_rows": 8,
    "batch_size": 4,
    "parameters": {"total": 503424, "trained": 20480},
    "training": {
        "self_cpu_seconds": 0.3,
        "self_cuda_seconds": None,
        "gflops": 3.3,
        "gflops_per_row": 0.4,
        "seconds": 6.0,
        "rows_per_second": 2.0,
    },
}
PROFILE["inference"] = {**PROFILE["training"], "seconds_per_row": 0.5}


class Page(HTMLParser):
    """Checks that elements are closed, and collects what people see and what the page refers to."""

    EMPTY = ("meta", "link", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.references: list[str] = []
        self.labels: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag not in self.EMPTY:
            self.open.append(tag)
        for key, value in attributes:
            if key in ("src", "href", "xlink:href", "action"):
                self.references.append(value)
            if key == "aria-label":
                self.labels.append(value)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.EMPTY:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data.strip())


def test_the_page(told, retell) -> None:
    retell(told, notes=["<script>alert(1)</script>"])
    (told / "profile.json").write_text(json.dumps(PROFILE))
    text = write_report(told).read_text()
    page = Page(text)
    assert all(one.startswith("#") for one in page.references), page.references
    assert "<script" not in text
    assert not re.search(r"url\((?!#)|@import|https?:(?!//www\.w3\.org)", text)
    loss, accuracy, lengths = page.labels
    assert "training loss from 1.934 to 0.335, validation loss from 1.702 to 0.532, at step 200" in loss
    assert "to 0.830 at step 200; the checkpoint that was kept is that of step 180, 0.830." in accuracy
    assert "30 to 97 tokens, 61.3 on average; the limit is 512." in lengths
    assert {"kept: step 180", "limit 512", "validation", "0.8300", "Recipe: own.toml"} <= {*page.words}
    assert "no CUDA here" in page.words
    assert "1 h 12 min" in " ".join(page.words).replace("\N{NO-BREAK SPACE}", " ")
    # No colour of the drawings is fixed: all change with the reader's scheme.
    assert not re.findall(r"#[0-9a-f]{6}\b", text.partition("</style>")[2])
    assert "prefers-color-scheme: dark" in text
    assert text == write_report(told).read_text()


def test_what_was_not_measured_is_left_out(told, retell) -> None:
    retell(told, history=[], best=None, merge=None, lengths=None)
    page = Page(write_report(told).read_text())
    assert page.labels == []
    assert "No rows were held out: no checkpoint was scored." in page.words
    retell(told, history=[{"step": 1, "loss": 2.0}], best=None)
    assert len(Page(write_report(told).read_text()).labels) == 1


def test_no_paths(told, retell) -> None:
    retell(told, base="/home/somebody/secret place/base", notes=["read /home/somebody/secret place/base"])
    text = write_report(told).read_text()
    assert "somebody" not in text
    assert "secret" not in text


def test_damaged(told) -> None:
    (told / "profile.json").write_text("{}")
    with pytest.raises(ShelfmarkError, match="damaged"):
        write_report(told)
