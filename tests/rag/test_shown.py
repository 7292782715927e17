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
    assert neighbours_shown(messages)[0].text(PRESETS["indoml"]) == "milk -> 1 l"


def test_bars_in_a_text_are_its_own():
    bars = [{**NEAR[0], "text": "milk | whole | 2.00"}, {**NEAR[0], "text": "a | b", "price": None}]
    near = neighbours_shown(Prompt(PRESETS["indoml"]).messages(PRODUCT, bars, ["food__milk"]))
    assert [one.text(PRESETS["indoml"]) for one in near] == ["milk | whole | 2.00", "a | b"]
    assert Near("milk | 2.00", "").text(PRESETS["esci"]) == "milk | 2.00"


def test_line_breaks_lose_no_neighbour():
    broken = [{**NEAR[0], "text": "milk\r\n\n- skimmed"}, NEAR[1]]
    messages = Prompt(PRESETS["indoml"]).messages(PRODUCT, broken, ["food__milk"])
    assert neighbours_shown(messages)[0].shown == "milk - skimmed | corner | 1.50"
    # Requests of older runs have the breaks.
    lines = "- milk\n\n- skimmed\n | corner | 1.50 -> food__milk\n- oat milk -> food__oat"
    old = f"Similar products and their labels:\n{lines}\n\nPossible labels:\n- food__milk\n\nProduct: mlk"
    near = neighbours_shown([{"role": "user", "content": old}])
    assert near == [Near("milk\n\n- skimmed\n | corner | 1.50", "food__milk"), Near("oat milk", "food__oat")]


def test_by_level_too():
    messages = Prompt(PRESETS["indoml"], by_level=True).messages(PRODUCT, NEAR, [])
    assert [near.label for near in neighbours_shown(messages)] == ["food__milk", "food__oat"]


def test_none():
    assert neighbours_shown(Prompt(PRESETS["indoml"]).messages(PRODUCT, [], ["food__milk"])) == []
    assert neighbours_shown([{"role": "user", "content": "- a -> b"}]) == []
    assert neighbours_shown([]) == []


def test_what_stands_in_quotes_is_read_back():
    odd = [
        {**NEAR[0], "text": 'the "best" \\ milk', "retailer": 'a | b -> "c"'},
        {**NEAR[1], "text": "", "retailer": "x"},
    ]
    near = neighbours_shown(Prompt(PRESETS["indoml"]).messages(PRODUCT, odd, ["food__milk"]))
    assert near == [Near('the "best" \\ milk | a | b -> "c" | 1.50', "food__milk"), Near(" | x", "food__oat")]
    old = 'Similar products and their labels:\n- "best" milk | corner | 1.50 -> food__milk\n\nProduct: mlk'
    assert neighbours_shown([{"role": "user", "content": old}]) == [Near('"best" milk | corner | 1.50', "food__milk")]
