import numpy as np
import pytest

from student.calibrate import Calibration, calibration_report


@pytest.fixture(scope="module")
def overconfident() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    shares = random.uniform(0.2, 1, (4000, 1)).astype(np.float32) ** np.array([0.5, 1, 2], dtype=np.float32)
    return shares, random.uniform(size=(4000, 1)) < shares**2


def test_probabilities_are_those_of_the_rows(overconfident) -> None:
    shares, right = overconfident
    fitted = Calibration.fit(shares, right, shares[:, 0], right[:, 0])
    best = fitted.best(shares)
    assert abs(best[:, -1].mean() - right[:, -1].mean()) < 0.02
    assert (np.diff(best, axis=1) <= 0).all()
    assert ((best >= 0) & (best <= 1)).all()


def test_further_paths_never_rise_and_never_exceed_certainty(overconfident) -> None:
    shares, right = overconfident
    fitted = Calibration.fit(shares, right, shares[:, 0], right[:, 0])
    best = fitted.best(shares)[:, -1]
    further = fitted.further(shares[:, ::-1] * np.array([1, 1, 0], dtype=np.float32), best)
    both = np.concatenate([best[:, None], further], axis=1)
    assert (np.diff(both, axis=1) <= 0).all()
    assert (both.sum(axis=1) <= 1 + 1e-4).all()
    assert (further[:, 2] <= 1e-4).all()


def test_it_is_read_back_from_json(overconfident) -> None:
    shares, right = overconfident
    fitted = Calibration.fit(shares, right, shares[:, 0], right[:, 0])
    again = Calibration.from_dict(fitted.to_dict())
    np.testing.assert_array_equal(again.best(shares), fitted.best(shares))


def test_nothing_to_learn_from_changes_nothing() -> None:
    none = np.zeros((0, 2), dtype=np.float32)
    fitted = Calibration.fit(none, none.astype(bool), none[:, 0], none[:, 0].astype(bool))
    assert fitted.best(np.array([[0.9, 0.5]], dtype=np.float32)).tolist() == [pytest.approx([0.9, 0.5])]
    assert calibration_report(none[:, 0], none[:, 0].astype(bool)) == {}


def test_the_report_says_what_it_was_good_for(overconfident) -> None:
    shares, right = overconfident
    report = calibration_report(shares[:, -1] ** 0.2, right[:, -1])
    assert report["rows"] == 4000
    assert report["ece_after"] < 0.04 < report["ece_before"]
