import numpy as np
import pytest

from catalog.errors import ShelfmarkError
from student.labels import Counts, LabelSpace

PATHS = [("a", "b", "x"), ("a", "c", "y"), ("d", "b", "x")]


def test_labels_become_numbers_and_back() -> None:
    space, targets = LabelSpace.from_labels(PATHS, None)
    assert space.uppers == [("a", "b"), ("a", "c"), ("d", "b")]
    assert space.lasts == ["x", "y"]
    keys = space.key(targets.upper[:, 0], targets.last[:, 0])
    assert [space.path(key) for key in keys] == PATHS
    assert space.top.tolist() == [0, 0, 1]
    assert space.parent.tolist() == [0, 0, 1]
    assert targets.weight.tolist() == [[1], [1], [1]]


def test_one_level_has_one_empty_upper_path() -> None:
    space, targets = LabelSpace.from_labels([("x",), ("y",)], None)
    assert space.uppers == [()]
    assert [space.path(key) for key in space.key(targets.upper[:, 0], targets.last[:, 0])] == [("x",), ("y",)]


def test_soft_labels_fill_slots() -> None:
    space, targets = LabelSpace.from_labels([], [[(PATHS[0], 0.75), (PATHS[1], 0.25)], [(PATHS[2], 1.0)]])
    assert targets.weight.tolist() == [[0.75, 0.25], [1, 0]]
    assert space.path(space.key(targets.upper, targets.last)[0, 1]) == PATHS[1]


@pytest.mark.parametrize("wrong", [[], [(PATHS[0], 0.5)], [(PATHS[0], 1.5), (PATHS[1], -0.5)]])
def test_wrong_soft_labels_are_refused(wrong: list) -> None:
    with pytest.raises(ShelfmarkError, match="soft label 1: its weights must be at least 0 and add up to 1"):
        LabelSpace.from_labels([], [[(PATHS[0], 1.0)], wrong])


def test_counts_look_up_what_they_hold() -> None:
    table = Counts.of(np.array([5, 2, 5]), np.array([1, 2, 4], dtype=np.float32))
    assert table.look_up(np.array([[2, 3], [5, 99]])).tolist() == [[2, 0], [5, 0]]
    assert table.place(np.array([2, 5, 1])).tolist() == [0, 1, -1]
