import numpy as np
import pytest

from classify.choice import LEAST, Choice, left_out_best, source_figures


def market(rows: int = 400, *, seed: int = 0, trust: float = 0.9):
    """Rows of four candidates: the first source is right in 55% of them, the second in `trust`."""
    rng = np.random.default_rng(seed)
    figures, right = [], []
    for _ in range(rows):
        truth = int(rng.integers(4))
        sources = []
        for share in (0.55, trust):
            said = truth if rng.random() < share else int(rng.integers(4))
            chances = np.full(4, 0.1)
            chances[said] = 0.7
            sources.append(source_figures(chances.tolist()))
        figures.append(np.concatenate(sources, axis=1))
        right.append(truth)
    return figures, right


def hits(best, right) -> float:
    return float(np.mean([mine == theirs for mine, theirs in zip(best, right, strict=True)]))


def test_the_better_source_wins_on_rows_that_were_left_out() -> None:
    figures, right = market()
    first = hits([int(row[:, 0].argmax()) for row in figures], right)
    assert hits(left_out_best(figures, right), right) > first + 0.2


def test_a_source_of_noise_does_no_harm() -> None:
    figures, right = market(trust=0.0)
    first = hits([int(row[:, 0].argmax()) for row in figures], right)
    assert hits(left_out_best(figures, right), right) >= first - 0.02


def test_probabilities_are_calibrated_and_keep_the_order() -> None:
    figures, right = market(2000)
    choice = Choice.fit(figures, right)
    new, truth = market(1000, seed=1)
    told = [choice.probabilities(row) for row in new]
    for row, chances in zip(new, told, strict=True):
        assert chances.argmax() == choice.shares(row).argmax()
        assert chances.min() >= 0
    best = np.array([chances.max() for chances in told])
    right_ = np.array([chances.argmax() == label for chances, label in zip(told, truth, strict=True)])
    assert abs(best.mean() - right_.mean()) < 0.05


def test_rows_whose_label_is_no_candidate_lower_the_confidence() -> None:
    figures, right = market()
    missed = [-1 if row % 2 else label for row, label in enumerate(right)]
    assert Choice.fit(figures, missed).probabilities(figures[0]).max() < 0.6


def test_one_candidate_and_nothing_right() -> None:
    alone = [source_figures([0.4])] * 3
    choice = Choice.fit(alone, [-1, -1, -1])
    assert choice.shares(alone[0]) == pytest.approx([1.0])
    assert choice.probabilities(alone[0])[0] < 0.5


def test_a_source_that_does_not_name_a_candidate() -> None:
    assert source_figures([0.5, None, 0.0]).tolist() == [
        [np.log(0.5), 0.5, 0.0],
        [np.log(LEAST), 0.0, 1.0],
        [np.log(LEAST), LEAST, 0.0],
    ]


def test_it_is_read_back() -> None:
    figures, right = market()
    choice = Choice.fit(figures, right)
    again = Choice.from_dict(choice.to_dict())
    assert np.array_equal(again.probabilities(figures[3]), choice.probabilities(figures[3]))
