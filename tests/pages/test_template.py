"""Pages escape what they are given, and miss nothing silently."""

import jinja2
import pytest

from pages.template import cut, environment


def test_everything_is_escaped(tmp_path):
    (tmp_path / "one.jinja").write_text('{% extends "page.html.jinja" %}{% block title %}{{ name }}{% endblock %}')
    page = environment(tmp_path).get_template("one.jinja").render(name="<script>&")
    assert "<title>&lt;script&gt;&amp;</title>" in page
    assert "default-src 'none'" in page  # whatever slips through runs nothing, fetches nothing


def test_what_is_missing_is_an_error(tmp_path):
    (tmp_path / "one.jinja").write_text("{{ nothing }}")
    with pytest.raises(jinja2.UndefinedError):
        environment(tmp_path).get_template("one.jinja").render()


def test_filters(tmp_path):
    (tmp_path / "one.jinja").write_text("{{ 12345 | count }} {{ 0.1234 | share }} {{ 0.5 | figure }} {{ word | own }}")
    made = environment(tmp_path, own=str.upper)
    assert made.get_template("one.jinja").render(word="a") == "12,345 12.3% 0.500 A"


def test_cut():
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "ab…"
