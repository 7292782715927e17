"""What a training row is told of its class is what the other rows alone would say."""

import math

import numpy as np
import pytest

from student.candidates import Candidates
from student.centroids import Centroids, add_up
from student.features import Encoder, normalise
from student.labels import Counts, LabelSpace

TEXTS = ["acme milk 2l", "acme milk 1l", "zeta bread", "acme bread", "zeta rye bread"]
LABELS = [("a", "m", "acme"), ("a", "m", "acme"), ("a", "b", "zeta"), ("a", "b", "acme"), ("a", "b", "zeta")]


def encoded(encoder: Encoder, texts: list[str]):
    return encoder.encode(normalise(texts), np.full(len(texts), math.nan), np.full(len(texts), -1))


def build(encoder: Encoder, rows: list[int], space: LabelSpace, targets) -> Centroids:
    part = targets.take(np.array(rows))
    pairs = Counts.of(space.key(part.upper, part.last)[:, 0], part.weight[:, 0])
    return Centroids(add_up(encoded(encoder, [TEXTS[row] for row in rows]), part, space, pairs), space, pairs)


@pytest.mark.parametrize("row", range(len(TEXTS)))
def test_own_rows_are_left_out(row: int) -> None:
    encoder = Encoder.fit(TEXTS)
    space, targets = LabelSpace.from_labels(LABELS, None)
    upper, last = (side.reshape(-1) for side in np.meshgrid(np.arange(2), np.arange(2)))
    mine = (upper == targets.upper[row, 0]), (last == targets.last[row, 0])
    own = np.zeros((5, 4), dtype=np.float32)
    own[:3] = [mine[0], mine[1], mine[0] & mine[1]]
    none = np.zeros(4, dtype=np.float32)

    def candidates(own: np.ndarray) -> Candidates:
        return Candidates(1, np.zeros(4, dtype=np.int64), upper, last, none, none, own)

    query = encoded(encoder, [TEXTS[row]])
    others = [other for other in range(len(TEXTS)) if other != row]
    told = build(encoder, list(range(len(TEXTS))), space, targets).compare(query, candidates(own))
    fresh = build(encoder, others, space, targets).compare(query, candidates(0 * own))
    for one, other in zip(told, fresh, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_row_is_nearest_its_own_kind() -> None:
    encoder = Encoder.fit(TEXTS)
    space, targets = LabelSpace.from_labels(LABELS, None)
    centroids = build(encoder, list(range(len(TEXTS))), space, targets)
    none = np.zeros(2, dtype=np.float32)
    found = Candidates(
        1, np.zeros(2, np.int64), np.array([0, 1]), np.array([0, 0]), none, none, np.zeros((5, 2), np.float32)
    )
    upper, last, pair = centroids.compare(encoded(encoder, ["acme milk 3l"]), found)
    assert upper[1] > upper[0]  # uppers: (a, b), (a, m)
    assert last[0] == last[1]
    assert pair[1] > pair[0]
