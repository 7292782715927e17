import pytest

from catalog.cleaning import without_numbers


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("dlmere rst ckn fllts pm 24", "dlmere rst ckn fllts pm"),
        ("coke 12x330ml", "coke"),
        ("a b&w c", "b&w"),
        ("7up 7", ""),
        ("é tea", "tea"),
        ("", ""),
    ],
)
def test_what_stays(make_products, text: str, clean: str) -> None:
    products = make_products([(text, "tesco", 1.0, "a__b__c__d")])
    assert without_numbers(products).texts == [clean]
    assert products.texts == [text]


def test_all_else_is_as_it_was(shop) -> None:
    clean = without_numbers(shop.train)
    assert (clean.ids, clean.retailers, clean.labels) == (shop.train.ids, shop.train.retailers, shop.train.labels)
