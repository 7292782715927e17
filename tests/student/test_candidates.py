import math

import numpy as np
import pytest

from student.candidates import MOST, Own, propose
from student.features import Encoder, normalise
from student.labels import Counts, LabelSpace
from student.ridge import fit_ridge, indicator

TEXTS = ["acme milk", "acme cream", "zeta bread", "zeta rye bread", "solo tea"]
LABELS = [
    ("d", "milk", "acme"),
    ("d", "cream", "acme"),
    ("b", "bread", "zeta"),
    ("b", "bread", "zeta"),
    ("t", "tea", "solo"),
]


def encode(encoder: Encoder, texts: list[str]):
    return encoder.encode(normalise(texts), np.full(len(texts), math.nan), np.full(len(texts), -1))


@pytest.fixture(scope="module")
def fitted():
    encoder = Encoder.fit(TEXTS)
    space, targets = LabelSpace.from_labels(LABELS, None)
    uppers, lasts = len(space.uppers), len(space.lasts)
    both = np.concatenate([targets.upper, uppers + targets.last], axis=1)
    classes = indicator(both, np.ones(both.shape, np.float32), uppers + lasts)
    ridge, leverage = fit_ridge(encode(encoder, TEXTS), classes, np.arange(len(TEXTS)))
    pairs = Counts.of(space.key(targets.upper, targets.last), targets.weight)
    totals = {
        "upper": np.bincount(targets.upper[:, 0], minlength=uppers).astype(np.float32),
        "last": np.bincount(targets.last[:, 0], minlength=lasts).astype(np.float32),
    }
    return encoder, ridge, space, pairs, totals, Own(targets, leverage.each)


def paths(found, space: LabelSpace, row: int) -> list[tuple[str, ...]]:
    keys = space.key(found.upper, found.last)[found.row == row]
    return [space.path(key) for key in keys]


def test_new_pairs_of_known_parts_are_proposed(fitted) -> None:
    encoder, ridge, space, pairs, totals, _ = fitted
    found = propose(ridge.score(encode(encoder, ["zeta milk", ""])), space, pairs, totals)
    assert ("d", "milk", "zeta") in paths(found, space, 0)
    assert paths(found, space, 1)  # empty text has candidates, too
    assert np.bincount(found.row).max() <= MOST
    assert (np.diff(found.row) >= 0).all()
    assert len(set(paths(found, space, 0))) == len(paths(found, space, 0))


def test_a_training_row_does_not_vouch_for_its_own_classes(fitted) -> None:
    encoder, ridge, space, pairs, totals, own = fitted
    found = propose(ridge.score(encode(encoder, TEXTS)), space, pairs, totals, own)
    assert LABELS[4] not in paths(found, space, 4)  # no other row has them
    assert LABELS[2] in paths(found, space, 2)  # another row has
    mine = [
        key == space.key(own.targets.upper[2, 0], own.targets.last[2, 0]) for key in space.key(found.upper, found.last)
    ]
    assert found.own[2][(found.row == 2) & mine].tolist() == [1]


def test_places_leave_one_for_none_of_them(fitted) -> None:
    encoder, ridge, space, pairs, totals, _ = fitted
    found = propose(ridge.score(encode(encoder, TEXTS)), space, pairs, totals)
    assert found.starts[-1] == len(found) + found.rows
