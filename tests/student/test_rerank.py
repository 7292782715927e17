import numpy as np
import pytest

from student.rerank import BOUND, Network, Scale, softmax, train_network

STARTS = np.array([0, 3, 5, 9])


def test_softmax_adds_up_to_one_over_each_row() -> None:
    shares = softmax(np.array([1, 2, 3, 1000, -1000, 0, 0, 0, 0], dtype=np.float32), STARTS)
    np.testing.assert_allclose(np.add.reduceat(shares, STARTS[:-1]), 1, atol=1e-6)
    assert shares[3] == 1
    assert shares[5] == pytest.approx(0.25)


def test_scale_centres_and_bounds() -> None:
    figures = np.random.default_rng(0).normal(5, 2, (1000, 2)).astype(np.float32)
    figures[0] = 1e9
    figures[:, 1] = 7
    scaled = Scale.fit(figures[1:]).apply(figures)
    assert scaled[0, 0] == BOUND
    assert abs(scaled[1:, 0].mean()) < 0.01
    assert (scaled[1:, 1] == 0).all()


def task(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    starts = np.arange(rows + 1) * 4
    figures = random.standard_normal((4 * rows, 3)).astype(np.float32)
    truth = np.zeros(4 * rows, dtype=np.float32)
    # Right is what is nearest to 0 in the first two: no straight line finds it.
    truth[starts[:-1] + np.abs(figures[:, :2]).sum(axis=1).reshape(rows, 4).argmin(axis=1)] = 1
    return figures, starts, truth


def test_it_learns_what_no_straight_line_can() -> None:
    figures, starts, truth = task(1500)
    learned = train_network(figures, starts, truth, np.arange(1200), seed=0).score(figures).reshape(-1, 4)
    right = truth.reshape(-1, 4).argmax(axis=1)
    assert (learned.argmax(axis=1) == right)[1200:].mean() > 0.8


def test_the_same_seed_gives_the_same_network() -> None:
    figures, starts, truth = task(50)
    one, other, another = (train_network(figures, starts, truth, np.arange(50), seed=seed) for seed in (0, 0, 1))
    for left, right in zip(one.layers, other.layers, strict=True):
        np.testing.assert_array_equal(left, right)
    assert (one.layers[0] != another.layers[0]).any()


def test_one_row_is_enough() -> None:
    figures, starts, truth = task(1)
    assert np.isfinite(train_network(figures, starts, truth, np.arange(1), seed=0).score(figures)).all()
    assert isinstance(train_network(figures, starts, truth, np.arange(1), seed=0), Network)


def test_a_figure_that_is_the_same_for_all_tells_nothing_of_one_a_hair_off() -> None:
    figures = np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32)
    figures[:, 1] = 8.1989
    new = np.array([[0.5, 8.1992], [0.5, 8.1989], [0.5, 0.0]], dtype=np.float32)
    scaled = Scale.fit(figures).apply(new)
    np.testing.assert_allclose(scaled[:, 1], 0, atol=1e-6)
    assert (scaled[:, 0] != 0).all()
