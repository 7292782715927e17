"""Drawings: named, in the page's colours, the same bytes each time, and safe with any name."""

import re

import pytest

from pages.drawing import FIRST, INK, SECOND, Estimate, estimates, plot, short

HOSTILE = ["<script>alert(1)</script>", "$5 & $6 \\frac", 'a "quoted" name', "نص من اليمين", "🍫" * 40, ""]


def test_the_page_gives_the_colours():
    def draw(axes):
        axes.plot([0, 1], color=FIRST)
        axes.plot([1, 0], color=SECOND)
        axes.set_xlabel("steps", color=INK)

    svg = plot("Title", "In words.", draw).svg
    assert svg.startswith("<svg")
    assert not re.findall(r"#[0-9a-f]{6}\b", svg)
    assert {"currentColor", "var(--first)", "var(--second)", "var(--line)"} <= set(
        re.findall(r"currentColor|var\(--\w+\)", svg)
    )
    assert 'role="img" aria-label="In words."' in svg
    assert ">steps</text>" in svg


def test_the_same_bytes():
    assert len({plot("t", "a", lambda axes: axes.plot([0, 1])).svg for _ in range(2)}) == 1


def test_two_drawings_share_no_name():
    def names(alt):
        return set(re.findall(r'id="([^"]+)"', plot("t", alt, lambda axes: axes.plot([0, 1], "o")).svg))

    assert names("one")
    assert not names("one") & names("two")


@pytest.mark.filterwarnings("error")
def test_any_name_beside_an_axis():
    rows = [Estimate(name, 0.5, 0.4, 0.6) for name in HOSTILE]
    svg = estimates("t", "<b>\\1", rows, "share", whole=0.5).svg
    assert "<script" not in svg
    assert "&lt;script&gt;alert" in svg
    assert "$5 &amp; $6" in svg
    assert 'aria-label="&lt;b&gt;\\1"' in svg


def test_names_are_cut():
    assert short("a\nb  c") == "a b c"
    assert len(short("x" * 50)) == 18
