"""Descriptions without what says little of the kind of product: sizes, counts, single letters."""

from __future__ import annotations

import re
from dataclasses import replace

from catalog.products import Products

_NUMBERS = re.compile(r"\S*\d\S*|(?<!\S)\w(?!\S)")


def cleaned_text(text: str) -> str:
    """Return the text without words that hold a digit, and words of one letter."""
    return " ".join(_NUMBERS.sub(" ", text).split())


def without_numbers(products: Products) -> Products:
    """Return the products with words that hold a digit, and words of one letter, left out of their text columns."""
    columns = {name: [cleaned_text(cell) for cell in cells] for name, cells in products.columns.items()}
    return replace(products, columns=columns, _texts=None)
