import pytest

from postprocess.lexicon import Lexicon
from postprocess.readings import only_reading


@pytest.mark.parametrize(
    ("keys", "reading"),
    [
        (["pantry", "heinz"], (0, None, None, 1)),
        (["sauce", "heinz"], (None, 0, None, 1)),
        (["heinz"], (None, None, None, 0)),
        (["cider", "bulmer"], None),  # cider is a group and a module
        (["cider", "cider", "bulmer"], (None, 0, 1, 2)),
        (["heinz", "pantry"], None),  # not in the order of the levels
        (["pantry", "bean", "bean baked", "heinz"], None),  # nothing is missing
    ],
)
def test_too_few_values_have_one_reading_or_are_searched_for(taxonomy, keys, reading):
    assert only_reading(keys, Lexicon.of(taxonomy)) == reading
