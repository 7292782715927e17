"""Descriptions without what says little of the kind of product: sizes, counts, single letters."""

from __future__ import annotations

import re

from catalog.products import Products

_NUMBERS = re.compile(r"\S*\d\S*|(?<!\S)\w(?!\S)")


def without_numbers(products: Products) -> Products:
    """Return the products with words that hold a digit, and words of one letter, left out of their text columns."""
    columns = {
        name: [" ".join(_NUMBERS.sub(" ", cell).split()) for cell in cells] for name, cells in products.columns.items()
    }
    return Products(products.ids, columns, products.retailers, products.prices, products.labels)
