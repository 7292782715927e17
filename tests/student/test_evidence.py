"""Figures are finite whatever the input, and say of a training row what they would of a new one."""

import numpy as np
import pytest

from student.candidates import Candidates
from student.encoding import Block, ProductEncoder
from student.evidence import NAMES, WIDTH, Evidence
from student.features import Encoder, normalise
from student.labels import LabelSpace
from student.tallies import tally

TEXTS = ["acme milk", "acme milk", "zeta bread", "acme bread", ""]
LABELS = [("a", "m", "acme"), ("a", "m", "acme"), ("b", "b", "zeta"), ("b", "b", "acme"), ("b", "b", "zeta")]
PRICES = np.array([2.0, 2.5, 4.0, np.nan, 0.0])
SHOPS = np.array([0, 0, 1, -1, 1])


def build(rows: list[int]) -> tuple[Evidence, Encoder]:
    space, targets = LabelSpace.from_labels(LABELS, None)
    encoder = Encoder.fit(TEXTS)
    encoded = encoder.encode(normalise([TEXTS[row] for row in rows]), PRICES[rows], SHOPS[rows])
    counts = tally(PRICES[rows], SHOPS[rows], encoded, targets.take(np.array(rows)), space)
    return Evidence(counts, space, ProductEncoder(encoder, [])), encoder


def weigh(evidence: Evidence, encoder: Encoder, row: int, *, training: bool) -> np.ndarray:
    space, targets = LabelSpace.from_labels(LABELS, None)
    upper, last = (side.reshape(-1) for side in np.meshgrid(np.arange(2), np.arange(2)))
    own = np.zeros((5, 4), dtype=np.float32)
    if training:
        mine = targets.upper[row, 0]
        is_last = last == targets.last[row, 0]
        parent, top = space.parent, space.top
        own[:] = [
            upper == mine,
            is_last,
            (upper == mine) & is_last,
            is_last & (parent[upper] == parent[mine]),
            is_last & (top[upper] == top[mine]),
        ]
    none = np.zeros(4, dtype=np.float32)
    lines = normalise([TEXTS[row]])
    block = Block(
        [TEXTS[row]], lines, encoder.encode(lines, PRICES[[row]], SHOPS[[row]]), PRICES[[row]], SHOPS[[row]], training
    )
    return evidence.weigh(block, Candidates(1, np.zeros(4, dtype=np.int64), upper, last, none, none, own))


@pytest.mark.parametrize("row", range(len(TEXTS)))
def test_figures_are_finite_and_one_place_stands_for_none(row: int) -> None:
    figures = weigh(*build(list(range(len(TEXTS)))), row, training=True)
    assert figures.shape == (5, WIDTH)
    assert np.isfinite(figures).all()
    assert figures[:, -1].tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("row", range(len(TEXTS)))
def test_counts_of_a_training_row_are_those_of_the_other_rows(row: int) -> None:
    told = weigh(*build(list(range(len(TEXTS)))), row, training=True)
    fresh = weigh(*build([other for other in range(len(TEXTS)) if other != row]), row, training=False)
    # Prices are standardised by all rows: those differ a little.
    standard = ("price fit", "price off")
    alike = [place for place, name in enumerate(NAMES) if not name.startswith(standard) and name != "price"]
    np.testing.assert_allclose(told[:4, alike], fresh[:4, alike], atol=1e-4)


def test_no_candidates_leave_the_last_place() -> None:
    evidence, encoder = build([0, 1, 2])
    nothing = np.zeros(0, dtype=np.int64)
    none = np.zeros(0, dtype=np.float32)
    block = Block(["x"], ["x"], encoder.encode(["x"], PRICES[:1], SHOPS[:1]), PRICES[:1], SHOPS[:1])
    figures = evidence.weigh(block, Candidates(1, nothing, nothing, nothing, none, none, np.zeros((5, 0), np.float32)))
    assert figures.shape == (1, WIDTH)
