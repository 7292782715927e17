import pytest

from catalog.taxonomy import Taxonomy

LEVELS = ("supergroup", "group", "module", "brand")
PATHS = [
    ("beverages alcoholic", "cider", "cider", "bulmers"),
    ("beverages alcoholic", "cider", "cider", "kopparberg"),
    ("beverages alcoholic", "beer lager ales", "beer lager", "stella artois"),
    ("beverages alcoholic", "beer lager ales", "beer lager", "heineken"),
    ("beverages non alcoholic", "coffee", "coffee", "nescafe"),
    ("beverages non alcoholic", "water", "water still", "evian"),
    ("pantry", "sauces", "pizza & pasta", "leggo's"),
    ("pantry", "sauces", "ketchup, mustard", "heinz"),
    ("pantry", "beans", "beans baked", "heinz"),
    ("pantry", "beans", "energy gels/tablets", "six|star"),
    ("automotive", "automotive detail unknown total", "automotive", "receipt all"),
    ("personal care", "hair care", "hair shampoo", "aussie"),
    ("personal care", "hair care", "hair shampoo", "l'oréal"),
]


@pytest.fixture(scope="session")
def taxonomy():
    counts = {path: 1 + number for number, path in enumerate(PATHS)}
    retailers = {"corner": {PATHS[0]: 3, PATHS[8]: 2}, "mega": dict.fromkeys(PATHS, 1)}
    return Taxonomy(LEVELS, counts, retailers)
