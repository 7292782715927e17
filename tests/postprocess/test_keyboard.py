import pytest

from postprocess.keyboard import slipped


@pytest.mark.parametrize(
    ("letters", "others", "alike"),
    [
        ("volr", "cole", 0.75),  # v is beside c, r beside e
        ("coles", "coles", 1.0),
        ("colew", "coles", 0.9),
        ("colep", "coles", 0.0),  # p is far from s
        ("cole", "coles", 0.0),
        ("volw", "dole", 0.0),  # v is two keys from d
        ("grb", "grn", 0.0),  # three letters are a slip away from too many others
        ("", "", 0.0),
    ],
)
def test_neighbouring_keys_count_as_half_a_letter(letters, others, alike):
    assert slipped(letters, others) == slipped(others, letters) == pytest.approx(alike)
