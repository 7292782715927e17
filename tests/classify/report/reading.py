"""A report as people read it: how the page is built is checked, and what is heard and seen of it collected."""

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

VOID = ("meta", "link", "img", "br", "input", "path", "use", "rect")


class Page(HTMLParser):
    """Checks how a page is built, and collects what people hear and see of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.labels: list[str] = []
        self.regions: list[dict] = []
        self.feed(text)
        assert self.open == []
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if "id" in values:
            self.ids.append(values["id"])
        if "href" in values:
            self.targets.append(values["href"])
        if tag == "svg":
            assert values["role"] == "img"
            self.labels.append(values["aria-label"])
        if values.get("role") == "region":
            self.regions.append(values)
        if tag == "th":
            assert values["scope"] in ("row", "col")
        assert not any(name.startswith("on") or name == "src" for name in values), values

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def checked(place: Path) -> Page:
    text = place.read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert page.headings[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(page.headings))
    assert len(set(page.ids)) == len(page.ids)
    assert all(target[0] == "#" and target[1:] in page.ids for target in page.targets)
    assert page.tags.count("main") == page.tags.count("header") == page.tags.count("nav") == 1
    assert page.tags.count("table") == page.tags.count("caption") >= len(page.regions)
    names = [region["aria-label"] for region in page.regions]
    assert len(set(names)) == len(names)
    assert all(region["tabindex"] == "0" and region["aria-label"] for region in page.regions)
    assert not re.search(r"url\((?!#)|@import|https?:(?!//www\.w3\.org)", text.replace("http://localhost", ""))
    assert len(text) < 600_000
    return page
