"""What is taken for what."""

import numpy as np

from measure.accuracy import level_hits
from measure.confusions import Confusion, confusions, first_wrong

TRUTH = [("food", "milk"), ("food", "milk"), ("food", "milk"), ("food", "tea"), ("home", "soap")]
PREDICTED = [("food", "tea"), ("food", "tea"), ("food", "milk"), ("food", ""), ("food", "soap")]


def test_the_first_wrong_level():
    assert first_wrong(level_hits(TRUTH, PREDICTED)).tolist() == [1, 1, 2, 1, 0]


def test_a_row_counts_at_the_first_level_that_is_wrong():
    top, below = confusions(TRUTH, PREDICTED)
    assert top == [Confusion((), "home", "food", 1, 1)]
    assert below == [Confusion(("food",), "milk", "tea", 2, 3)]  # an empty level is no confusion


def test_the_most_frequent_come_first_and_ties_by_name():
    truth = [("a",), ("b",), ("b",), ("c",)]
    (found,) = confusions(truth, [("z",), ("z",), ("z",), ("z",)], most=2, hits=np.zeros((4, 1), dtype=bool))
    assert [(pair.truth, pair.rows) for pair in found] == [("b", 2), ("a", 1)]
