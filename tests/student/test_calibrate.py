import numpy as np
import pytest

from student.calibrate import Calibration, Sample, calibration_report
from student.texts import stratum


def sample(shares: np.ndarray, right: np.ndarray, shops: np.ndarray | None = None, known: bool = False) -> Sample:
    rows = len(shares)
    shops = np.zeros(rows, dtype=np.int64) if shops is None else shops
    return Sample(shares, right, stratum(shops, np.full(rows, known)), np.arange(rows), shares[:, 0], right[:, 0])


def fit(shares: np.ndarray, right: np.ndarray) -> Calibration:
    rows = sample(shares, right)
    return Calibration.fit(rows, rows)


def chances_of(fitted: Calibration, shares: np.ndarray) -> np.ndarray:
    return fitted.best(shares, np.zeros(len(shares), dtype=np.int64))


@pytest.fixture(scope="module")
def overconfident() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    shares = random.uniform(0.2, 1, (4000, 1)).astype(np.float32) ** np.array([0.5, 1, 2], dtype=np.float32)
    return shares, random.uniform(size=(4000, 1)) < shares**2


def test_probabilities_are_those_of_the_rows(overconfident) -> None:
    shares, right = overconfident
    fitted = fit(shares, right)
    best = chances_of(fitted, shares)
    assert abs(best[:, -1].mean() - right[:, -1].mean()) < 0.02
    assert (np.diff(best, axis=1) <= 0).all()
    assert ((best >= 0) & (best <= 1)).all()


def test_further_paths_never_rise_and_never_exceed_certainty(overconfident) -> None:
    shares, right = overconfident
    fitted = fit(shares, right)
    best = chances_of(fitted, shares)[:, -1]
    further = fitted.further(shares[:, ::-1] * np.array([1, 1, 0], dtype=np.float32), best)
    both = np.concatenate([best[:, None], further], axis=1)
    assert (np.diff(both, axis=1) <= 0).all()
    assert (both.sum(axis=1) <= 1 + 1e-4).all()
    assert (further[:, 2] <= 1e-4).all()


def test_it_is_read_back_from_json(overconfident) -> None:
    shares, right = overconfident
    fitted = fit(shares, right)
    again = Calibration.from_dict(fitted.to_dict())
    np.testing.assert_array_equal(chances_of(again, shares), chances_of(fitted, shares))


def test_nothing_to_learn_from_changes_nothing() -> None:
    none = np.zeros((0, 2), dtype=np.float32)
    fitted = fit(none, none.astype(bool))
    assert chances_of(fitted, np.array([[0.9, 0.5]], dtype=np.float32)).tolist() == [pytest.approx([0.9, 0.5])]
    assert calibration_report(sample(none, none.astype(bool)), sample(none, none.astype(bool)), [], []) == {}


def test_the_report_says_what_it_was_good_for(overconfident) -> None:
    shares, right = overconfident
    rows = sample(shares[:, -1:] ** 0.2, right[:, -1:])
    report = calibration_report(rows, rows, ["level"], ["shop"])
    assert report["rows"] == 4000
    assert report["ece_after"] < 0.04 < report["ece_before"]
    low, high = report["ece_interval"]
    assert low <= report["ece_after"] <= high
    assert report["by_level"]["level"] == {"accuracy": report["item_accuracy"], "ece": report["ece_after"]}
    assert "by_retailer" not in report  # one shop is all shops


def two_shops(known: bool) -> Sample:
    """Rows of a shop that is right as often as the shares say, and of one that is right half as often."""
    random = np.random.default_rng(1)
    shares = random.uniform(0.2, 1, (3000, 1)).astype(np.float32)
    shops = np.arange(3000) % 3 // 2
    return sample(shares, random.uniform(size=(3000, 1)) < shares / (1 + shops[:, None]), shops, known)


def test_a_shop_that_is_clearly_off_is_moved_and_the_others_are_not() -> None:
    rows = two_shops(known=False)
    fitted = Calibration.fit(rows, rows)
    told = fitted.best(rows.shares, rows.strata)
    for shop in (0, 1):
        mine = rows.strata == stratum(np.array([shop]), np.array([False]))
        assert abs(told[mine].mean() - rows.right[mine].mean()) < 0.03
    again = Calibration.from_dict(fitted.to_dict())
    np.testing.assert_array_equal(again.best(rows.shares, rows.strata), told)
    report = calibration_report(rows, rows, ["level"], ["fine", "off"])
    assert list(report["by_retailer"]) == ["fine", "off"]
    for told in report["by_retailer"].values():
        assert abs(told["mean_confidence"] - told["item_accuracy"]) < 0.04


def test_known_texts_and_new_ones_have_maps_of_their_own() -> None:
    random = np.random.default_rng(2)
    shares = random.uniform(0.2, 1, (2000, 1)).astype(np.float32)
    new = sample(shares, random.uniform(size=shares.shape) < shares)
    known = sample(shares, random.uniform(size=shares.shape) < 1 - shares, known=True)
    fitted = Calibration.fit(known, new)
    high = np.full((1, 1), 0.9, dtype=np.float32)
    assert fitted.best(high, new.strata[:1])[0, 0] > 0.8
    assert fitted.best(high, known.strata[:1])[0, 0] < 0.6


def test_a_calibration_of_before_is_read() -> None:
    rows = two_shops(known=False)
    fitted = Calibration.fit(rows, rows).to_dict()
    before = {name: fitted[name] for name in ("levels", "others")}
    told = Calibration.from_dict(before).best(rows.shares, rows.strata)
    np.testing.assert_array_equal(told[:, 0], fit_of(before, rows.shares))
    with pytest.raises(ValueError, match="moved"):
        Calibration.from_dict({**before, "moved": {"2": [float("nan")]}})


def fit_of(before: dict, shares: np.ndarray) -> np.ndarray:
    level = before["levels"][-1]
    return np.interp(shares[:, 0].astype(np.float64), level["scores"], level["probabilities"])
