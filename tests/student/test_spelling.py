import numpy as np

from student.features import normalise
from student.spelling import NAMES, Spelling

BRANDS = ["Arnott's", "arnotts", "katoomba", "", "日清"]


def compare(text: str) -> dict[str, dict[str, float]]:
    every = np.arange(len(BRANDS))
    columns = Spelling(BRANDS).compare([text], normalise([text]), np.zeros(len(BRANDS), dtype=np.int64), every)
    assert all(np.isfinite(column).all() for column in columns)
    rows = zip(*columns, strict=True)
    return {brand: dict(zip(NAMES, row, strict=True)) for brand, row in zip(BRANDS, rows, strict=True)}


def test_a_name_written_out_is_found_whole() -> None:
    found = compare("arnotts tim tam 200g")
    assert found["arnotts"]["whole ratio"] == found["arnotts"]["beginning shared"] == 1
    assert found["katoomba"]["whole ratio"] < 0.7


def test_the_apostrophe_tells_two_spellings_apart() -> None:
    found = compare("ARNOTT'S tim tam")
    assert found["Arnott's"]["spelled first"] == 1
    assert found["arnotts"]["spelled first"] == found["arnotts"]["spelled out"] == 0
    assert found["arnotts"]["whole ratio"] == 1


def test_a_name_without_its_vowels_is_found() -> None:
    found = compare("ktmba roti 4pk")
    assert found["katoomba"]["skeleton sequence"] == 1
    assert found["katoomba"]["skeleton beginning"] > found["arnotts"]["skeleton beginning"]


def test_other_scripts_are_compared_too() -> None:
    assert compare("日清 ramen")["日清"]["spelled first"] == 1
    assert compare("")["日清"]["whole ratio"] == 0
