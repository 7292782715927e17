import pytest
from hypothesis import given
from hypothesis import strategies as st

from measure.accuracy import item_accuracy
from measure.hierarchy import hierarchical_scores, prefix_accuracies

value = st.sampled_from(["a", "b"])
whole = st.tuples(value, value, value)
partial = st.tuples(*[st.sampled_from(["a", "b", ""])] * 3)


def _nodes(path: tuple) -> set:
    """The path's ancestors and itself, by the definition."""
    return {path[:depth] for depth in range(1, len(path) + 1) if "" not in path[:depth]}


def test_by_hand() -> None:
    truth = [("a", "b", "c"), ("a", "b", "c"), ("a", "b", "c")]
    predicted = [("a", "b", "d"), ("x", "b", "c"), ("a", "", "")]
    # Common nodes 2, 0, 1; true nodes 9; predicted nodes 3, 3, 1.
    found = hierarchical_scores(truth, predicted)
    assert (found.precision, found.recall, found.f1) == (3 / 7, 3 / 9, 6 / 16)
    assert prefix_accuracies(truth, predicted).tolist() == pytest.approx([2 / 3, 1 / 3, 0])


@given(st.lists(st.tuples(whole, partial), min_size=1, max_size=30))
def test_is_the_definition_over_sets_of_ancestors(pairs: list) -> None:
    truth, predicted = zip(*pairs, strict=True)
    common = sum(len(_nodes(right) & _nodes(answer)) for right, answer in pairs)
    true_nodes, answered = sum(map(len, map(_nodes, truth))), sum(map(len, map(_nodes, predicted)))
    found = hierarchical_scores(truth, predicted)
    assert found.precision == (common / answered if answered else 0)
    assert found.recall == common / true_nodes
    assert found.f1 == pytest.approx(
        2 * found.precision * found.recall / (found.precision + found.recall) if common else 0
    )


@given(st.lists(st.tuples(whole, whole), min_size=1, max_size=30))
def test_full_answers(pairs: list) -> None:
    truth, predicted = zip(*pairs, strict=True)
    found, prefixes = hierarchical_scores(truth, predicted), prefix_accuracies(truth, predicted)
    assert found.precision == found.recall == found.f1 == pytest.approx(prefixes.mean())
    assert prefixes[-1] == item_accuracy(truth, predicted)
    assert (prefixes[:-1] >= prefixes[1:]).all()


def test_nothing_answered() -> None:
    found = hierarchical_scores([("a", "b")], [("", "")])
    assert (found.precision, found.recall, found.f1) == (0, 0, 0)
    assert hierarchical_scores([("a", "b")], [("", "b")]).f1 == 0
