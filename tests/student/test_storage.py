import json
from pathlib import Path

import numpy as np
import pytest

from catalog.arrays import load_array
from catalog.errors import ShelfmarkError
from student.storage import read_folder, save_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_folder(tmp_path / "m", {"levels": ["a"]}, {"one": np.arange(6.0).reshape(2, 3), "two": np.zeros(0)})
    return tmp_path / "m"


def test_what_is_saved_is_read_back_and_stays_on_disk(folder: Path) -> None:
    assert read_folder(folder)["levels"] == ["a"]
    one = load_array(folder / "one.npy", "<f8", (2, 3))
    assert isinstance(one.base, np.memmap)
    np.testing.assert_array_equal(one, np.arange(6.0).reshape(2, 3))
    assert load_array(folder / "two.npy", "<f8", (None,)).shape == (0,)


def test_objects_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays"):
        save_folder(tmp_path / "m", {}, {"one": np.array([{}], dtype=object)})
    assert not (tmp_path / "m").exists()


def test_damage_is_found(folder: Path) -> None:
    content = bytearray((folder / "one.npy").read_bytes())
    content[-1] ^= 1
    (folder / "one.npy").write_bytes(content)
    with pytest.raises(ShelfmarkError, match=r"one.npy: damaged .*fit the model again"):
        read_folder(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "two.npy").unlink()
    with pytest.raises(ShelfmarkError, match=r"two.npy: missing; fit the model again"):
        read_folder(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "not a tree model"),
        ({"version": 99}, "version 99, and this shelfmark reads version 1"),
        ({"files": None}, "no list of files"),
    ],
)
def test_other_models_are_refused(folder: Path, change: dict, message: str) -> None:
    facts = json.loads((folder / "tree.json").read_text())
    (folder / "tree.json").write_text(json.dumps({**facts, **change}))
    with pytest.raises(ShelfmarkError, match=message):
        read_folder(folder)
