"""The pages in a browser: no error, no figure missing, nothing cut off; on a phone and on a desk, day and night."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from classify.report.page import write_comparison, write_report
from pages.template import HERE

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
PAGES = {"labelled": 6, "unlabelled": 3, "comparison": 1}
# What sticks out of the page, or out of the scrolling part that it stands in; what is hidden from sight may.
OVERFLOW = """() => {
  const wide = document.documentElement.clientWidth, found = [];
  for (const one of document.querySelectorAll('body *')) {
    const box = one.getBoundingClientRect();
    if (!box.width || one.closest('.hidden, .skip, svg') || one.closest('.scroll') && !one.matches('.scroll')) continue;
    if (box.right > wide + 0.5 || box.left < -0.5) found.push(one.outerHTML.slice(0, 120));
  }
  return [document.documentElement.scrollWidth > wide ? 'the page scrolls sideways' : '', ...found].filter(Boolean);
}"""
# Tables that are wider than their place, and cannot be scrolled by keyboard.
STUCK = """() => [...document.querySelectorAll('.scroll:not([tabindex])')]
  .filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.outerHTML.slice(0, 200))"""
FIGURES = """() => [...document.querySelectorAll('figure')].map(one => {
  const drawing = one.querySelector('svg'), box = drawing.getBoundingClientRect();
  const letters = Math.min(...[...drawing.querySelectorAll('text')].map(text => text.getBoundingClientRect().height));
  return [drawing.getAttribute('aria-label').length, box.width, box.height, letters];
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    place = next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        place, sync_playwright = None, None
    if place is None:
        why = "no chromium (or no playwright to drive it): the pages are not looked at"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=place, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def pages(write_run, shelf_rows, row, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    rows = shelf_rows()
    rows[:3] = [row(one.text, one.truth, one.truth, 0.8) for one in rows[:3]]
    known, other = write_run(folder, "n" * 90, answers=True), write_run(folder, "<i>other", rows)
    return {
        "labelled": write_report(known),
        "unlabelled": write_report(write_run(folder, "unknown", labels=False)),
        "comparison": write_comparison([known, other]),
    }


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_a_page(browser, pages, name: str, width: int, scheme: str) -> None:
    said: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if not request.is_navigation_request() else None)
    page.goto(pages[name].as_uri())
    assert page.evaluate(OVERFLOW) == []
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert page.evaluate(OVERFLOW) == []
    assert page.evaluate(STUCK) == []
    figures = page.evaluate(FIGURES)
    assert len(figures) == PAGES[name]
    for alternative, wide, high, letters in figures:
        assert alternative > 20
        assert wide > 200
        assert high > 40
        assert letters > 8  # pixels
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper)[:3])) > 384) == (scheme == "light")
    assert said == []
    page.close()


def test_by_keyboard(browser, pages) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 800})
    page.goto(pages["labelled"].as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.focus("summary")
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector('details').open")
    page.focus(".scroll")
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"  # who comes by keyboard sees where they are
    page.close()


def test_colours_tell_apart() -> None:
    """By WCAG 2.2: 4.5 for text, on every ground that it stands on, in both schemes."""
    light, dark = (dict(re.findall(r"--(\w+): (#\w{6})", part)) for part in style_blocks())
    for scheme in (light, dark):
        for ink in ("ink", "soft", "first", "second"):
            for ground in ("paper", "card"):
                assert contrast(scheme[ink], scheme[ground]) >= 4.5, (ink, ground)


def style_blocks() -> list[str]:
    text = (HERE / "page.html.jinja").read_text(encoding="utf-8")
    return re.findall(r":root \{(.*?)\}", text, re.DOTALL)


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
