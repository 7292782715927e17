"""What a request shows of the neighbours is read back as it was written."""

from catalog.schema import PRESETS
from rag.prompts import Prompt
from rag.shown import Near, neighbours_shown

PRODUCT = {"text": "mlk 1l", "retailer": "", "price": None}
NEAR = [
    {"text": "milk -> 1 l", "retailer": "corner", "price": 1.5, "label": "food__milk", "found": "text"},
    {"text": "oat milk", "retailer": "", "price": None, "label": "food__oat", "found": "text"},
]


def test_as_it_was_written():
    messages = Prompt(PRESETS["indoml"]).messages(PRODUCT, NEAR, ["food__milk", "food__oat"])
    assert neighbours_shown(messages) == [
        Near("milk -> 1 l | corner | 1.50", "food__milk"),
        Near("oat milk", "food__oat"),
    ]
    assert neighbours_shown(messages)[0].text == "milk -> 1 l"


def test_by_level_too():
    messages = Prompt(PRESETS["indoml"], by_level=True).messages(PRODUCT, NEAR, [])
    assert [near.label for near in neighbours_shown(messages)] == ["food__milk", "food__oat"]


def test_none():
    assert neighbours_shown(Prompt(PRESETS["indoml"]).messages(PRODUCT, [], ["food__milk"])) == []
    assert neighbours_shown([{"role": "user", "content": "- a -> b"}]) == []
    assert neighbours_shown([]) == []
