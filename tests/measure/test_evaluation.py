import json

import numpy as np
import pytest

from measure import accuracy, hierarchy
from measure.calibration import brier_score, expected_calibration_error
from measure.evaluation import evaluate

LEVELS = ("group", "module", "brand")
TRUTH = [("a", "b", "c"), ("a", "b", "d"), ("e", "f", "g"), ("a", "b", "c")]
PREDICTED = [("a", "b", "c"), ("a", "b", "c"), ("e", "", ""), ("x", "b", "c")]
CONFIDENCE = np.array([0.9, 0.6, 0.2, 0.5])


def test_is_the_sum_of_the_single_metrics() -> None:
    found = evaluate(TRUTH, PREDICTED, CONFIDENCE, LEVELS, [True, True, False, False])
    tree = hierarchy.hierarchical_scores(TRUTH, PREDICTED)
    assert found.rows == 4
    assert found.item_accuracy == accuracy.item_accuracy(TRUTH, PREDICTED) == 0.25
    assert found.item_accuracy_interval == accuracy.wilson_interval(1, 4)
    assert found.accuracy == pytest.approx(accuracy.accuracy(TRUTH, PREDICTED)) == pytest.approx(8 / 12)
    assert found.macro_f1 == accuracy.macro_f1(TRUTH, PREDICTED)
    assert (found.hierarchical_precision, found.hierarchical_recall, found.hierarchical_f1) == (
        tree.precision,
        tree.recall,
        tree.f1,
    )
    assert found.valid == 0.5
    assert found.coverage == 0.75
    assert found.answered_item_accuracy == pytest.approx(1 / 3)
    by_level = {name: [found.by_level[level][name] for level in LEVELS] for name in found.by_level["group"]}
    assert by_level["accuracy"] == accuracy.level_accuracies(TRUTH, PREDICTED).tolist()
    assert by_level["macro_f1"] == accuracy.level_macro_f1(TRUTH, PREDICTED).tolist()
    assert by_level["prefix_accuracy"] == hierarchy.prefix_accuracies(TRUTH, PREDICTED).tolist()


def test_confidences_are_judged_on_answered_rows() -> None:
    found = evaluate(TRUTH, PREDICTED, CONFIDENCE, LEVELS)
    confidence, right = CONFIDENCE[[0, 1, 3]], np.array([True, False, False])
    assert found.ece == expected_calibration_error(confidence, right)
    assert found.brier == brier_score(confidence, right)


def test_what_is_not_known_is_none() -> None:
    found = evaluate(TRUTH, PREDICTED, None, LEVELS)
    assert (found.valid, found.ece, found.brier) == (None, None, None)
    nothing = evaluate(TRUTH, [("", "", "")] * 4, CONFIDENCE, LEVELS)
    assert (nothing.coverage, nothing.answered_item_accuracy, nothing.ece, nothing.brier) == (0, None, None, None)
    assert nothing.item_accuracy == nothing.accuracy == nothing.macro_f1 == nothing.hierarchical_f1 == 0


def test_to_dict_is_json() -> None:
    found = evaluate(TRUTH, PREDICTED, CONFIDENCE, LEVELS, [True] * 4).to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    wanted = {"item_accuracy", "accuracy", "macro_f1", "hierarchical_f1", "valid", "ece", "rows", "coverage"}
    assert wanted <= found.keys()


def test_one_level_and_all_right() -> None:
    found = evaluate([("a",), ("b",)], [("a",), ("b",)], [0.5, 0.5], ["grade"])
    assert found.item_accuracy == found.accuracy == found.macro_f1 == found.hierarchical_f1 == found.coverage == 1
    assert found.ece == 0.5


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"truth": []}, "0 true paths"),
        ({"truth": [], "predicted": []}, "no rows"),
        ({"levels": ("group",)}, "level names"),
        ({"confidence": np.array([0.5])}, "confidences"),
        ({"confidence": np.array([0.5, 0.5, 0.5, 1.5])}, "confidence"),
        ({"valid": [True]}, "valid"),
    ],
)
def test_arguments_that_do_not_match_are_refused(changed, match) -> None:
    arguments = {"truth": TRUTH, "predicted": PREDICTED, "confidence": CONFIDENCE, "levels": LEVELS, "valid": None}
    with pytest.raises(ValueError, match=match):
        evaluate(**{**arguments, **changed})
