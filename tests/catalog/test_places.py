from pathlib import Path

import pytest

from catalog.errors import ShelfmarkError
from catalog.places import features_file, is_features, labels_beside


def test_the_file_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ShelfmarkError, match=r"a folder without test\.features \(or test\.csv, \.jsonl, \.parquet\)"):
        features_file(tmp_path, "test")
    for name in ("test.parquet", "test.csv.gz", "test.features"):  # the later ones come first
        (tmp_path / name).touch()
        assert features_file(tmp_path, "test") == tmp_path / name
    assert features_file(tmp_path / "any.csv", "test") == tmp_path / "any.csv"


def test_labels_lie_beside_features_alone(tmp_path: Path) -> None:
    for name in ("a.features", "a.features.gz", "a.csv", "a.labels.gz"):
        (tmp_path / name).touch()
    assert not is_features(tmp_path / "a.csv")
    assert labels_beside(tmp_path / "a.csv") is None
    assert labels_beside(tmp_path / "a.features.gz") == tmp_path / "a.labels.gz"
    (tmp_path / "a.labels").touch()
    assert labels_beside(tmp_path / "a.features") == tmp_path / "a.labels"
    assert labels_beside(tmp_path / "b.features") is None
