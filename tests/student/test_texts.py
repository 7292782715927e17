import numpy as np

from student.features import normalise
from student.texts import KnownTexts, is_known, shop_of, stratum, text_keys


def test_case_order_punctuation_and_sizes_make_no_other_text() -> None:
    lines = normalise(["Acme Milk, 2L", "milk ACME 500ml", "acme milk", "acme cream 2l", "2l", "3l", ""])
    one, same, bare, other, size, larger, empty = text_keys(lines).tolist()
    assert one == same == bare
    assert len({one, other, size, larger, empty}) == 5


def test_training_knows_its_texts() -> None:
    known = KnownTexts(np.unique(text_keys(["acme milk", "zeta bread"])))
    assert known.holds(["milk acme 2l", "zeta rye bread"]).tolist() == [True, False]
    assert KnownTexts.none().holds(["acme milk"]).tolist() == [False]


def test_a_stratum_tells_both_parts() -> None:
    shops, known = np.array([-1, 0, 7]), np.array([True, False, True])
    strata = stratum(shops, known)
    assert shop_of(strata).tolist() == shops.tolist()
    assert is_known(strata).tolist() == known.tolist()
