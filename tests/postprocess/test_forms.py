import pytest

from postprocess.forms import form_key, singular, squeezed


@pytest.mark.parametrize(
    ("value", "other"),
    [
        ("Health & Beauty", "health and beauty"),
        ("health  &  beauty", "health &beauty "),
        ("Leggo's", "leggos"),
        ("leggo’s", "LEGGO'S"),
        ("crème brûlée", "creme brulee"),
        ("ｃｉｄｅｒ", "cider"),
        ("coca\u00a0cola", "coca-cola"),
        ("sauces", "sauce"),
        ("berries", "berry"),
        ("boxes", "box"),
        ("straße", "STRASSE"),
    ],
)
def test_values_of_the_same_form_share_a_key(value, other):
    assert form_key(value) == form_key(other)


@pytest.mark.parametrize(("value", "other"), [("7 up", "7 down"), ("rum", "rump"), ("हिन्दी", "हिन्द")])
def test_other_values_do_not(value, other):
    assert form_key(value) != form_key(other)


def test_a_value_of_signs_alone_keeps_them():
    assert form_key("+") == "+"
    assert form_key("&") == "&"
    assert form_key("and") == "and"
    assert form_key("  ") == ""


@pytest.mark.parametrize("word", ["glass", "swiss", "hummus", "gas", "oasis"])
def test_words_that_only_look_plural_are_kept(word):
    assert singular(word) == word


def test_squeezed_keys_have_no_spaces():
    assert squeezed(form_key("Coca Cola")) == squeezed(form_key("cocacola"))
