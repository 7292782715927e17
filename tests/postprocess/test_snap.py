import numpy as np
import pytest

from catalog.errors import ShelfmarkError
from catalog.taxonomy import Taxonomy
from postprocess import Snapper
from postprocess.processes import LEAST

CIDER = ("beverages alcoholic", "cider", "cider", "bulmers")
PASTA = ("pantry", "sauces", "pizza & pasta", "leggo's")


@pytest.fixture(scope="module")
def snapper(taxonomy):
    return Snapper(taxonomy)


@pytest.mark.parametrize(
    ("answer", "rules"),
    [
        ("Beverages Alcoholic__Ciders__cider__BULMERS", {"supergroup": "form", "group": "form", "brand": "form"}),
        ("beverages alcoholic__cider__cider__bulmrs", {"brand": "brand of module"}),
        ("beverges alcoholic__cider__cider__bulmers", {"supergroup": "spelling"}),
        ("pantry__cider__cider__bulmers", {"supergroup": "parent"}),
        ("pantry__sauces__cider__bulmers", {"supergroup": "parent", "group": "parent"}),
        ("cider__beverages alcoholic__cider__bulmers", {"supergroup": "placed", "group": "placed"}),
        ("bulmers__cider__cider__beverages alcoholic", {"supergroup": "placed", "brand": "placed"}),
        ("beverages alcoholic__cider__bulmers", {"group": "filled"}),
        ("beverages alcoholic____cider__bulmers", {"group": "filled"}),
        ('{"module": "cider", "brand": "bulmer"}', {"supergroup": "filled", "group": "filled"}),
        ("beverages alcoholic cider cidre bulmers", None),
        ("It is a bottle of cider, and the brand is clearly bulmers", None),
    ],
)
def test_every_answer_finds_its_path_and_says_how(snapper, answer, rules):
    snapped = snapper.snap(answer)
    assert snapped.path == CIDER
    assert 0.0 < snapped.sureness <= 1.0
    if rules is not None:
        found = {change.level: change.rule for change in snapped.changes}
        found.pop("brand", None) if "brand" not in rules else None
        assert {level: rule for level, rule in found.items() if rule != "form" or level in rules} == rules


def test_changes_hold_what_was_and_what_became(snapper):
    (change,) = snapper.snap("pantry__sauces__pizza & pasta__legos").changes
    assert tuple(change) == ("brand", "legos", "leggo's", "brand of module")


def test_form_alone_is_exact(snapper):
    snapped = snapper.snap("PANTRY > Sauce > pizza and pasta > leggos")
    assert (snapped.path, snapped.status, snapped.sureness) == (PASTA, "exact", 1.0)
    assert {change.rule for change in snapped.changes} == {"form"}


@pytest.mark.parametrize("answer", ["", "I cannot tell.", "qqqq wwww", "¤¤¤"])
def test_an_answer_of_no_use_is_no_path(snapper, answer):
    snapped = snapper.snap(answer)
    assert (snapped.path, snapped.status, snapped.sureness) == (None, "fallback", 0.0)


def test_the_description_breaks_ties(snapper):
    answer = "beverages alcoholic__cider__cider__"
    assert snapper.snap(answer, text="bulmers orig 500ml").path == CIDER
    assert snapper.snap(answer, text="kopparberg strawb").path == (*CIDER[:3], "kopparberg")


def test_the_retailer_breaks_ties(snapper):
    assert snapper.snap("pantry__heinz", retailer="corner").path == ("pantry", "beans", "beans baked", "heinz")


def test_candidates_break_ties(snapper):
    beans, ketchup = ("pantry", "beans", "beans baked", "heinz"), ("pantry", "sauces", "ketchup, mustard", "heinz")
    assert snapper.snap("pantry__heinz", candidates=[beans, ketchup]).path == beans
    assert snapper.snap("pantry__heinz", candidates=[ketchup, beans]).path == ketchup


def test_policies_differ_in_unseen_pairs(taxonomy):
    unseen = ("beverages alcoholic", "cider", "cider", "heinz")
    answer = "__".join(unseen)
    assert Snapper(taxonomy, "brand-free").snap(answer).path == unseen
    assert Snapper(taxonomy, "brand-free").snap(answer).status == "exact"
    assert taxonomy.is_valid(Snapper(taxonomy).snap(answer).path)
    near = Snapper(taxonomy, "brand-free").snap("beverages alcoholic__cidre__cider__Heinz")
    assert near.path == unseen


def test_a_doubtful_answer_is_left_alone_on_request(taxonomy):
    answer = "pantry__sauces__pizza & pasta__zzz"
    assert Snapper(taxonomy).snap(answer).path is not None
    left = Snapper(taxonomy, leave_below=0.99).snap(answer)
    assert (left.path, left.status) == (None, "left")
    assert left.answered == ("pantry", "sauces", "pizza & pasta", "zzz")
    assert Snapper(taxonomy, leave_below=1.0).snap("PANTRY__sauces__pizza & pasta__leggo's").status == "exact"


def test_a_value_too_many_is_dropped_and_said(snapper):
    snapped = snapper.snap("pantry__beans__cider__beans baked__heinz")
    assert snapped.path == ("pantry", "beans", "beans baked", "heinz")
    assert snapped.status == "repaired"
    assert [tuple(change) for change in snapped.changes] == [("", "cider", "", "dropped")]


def test_an_answer_that_contradicts_itself_is_less_sure_and_says_what_was_dropped(snapper):
    snapped = snapper.snap("__".join(PASTA) + "\nCorrection: " + "__".join(CIDER))
    assert (snapped.path, snapped.status, snapped.sureness) == (CIDER, "repaired", 0.5)
    assert [tuple(change) for change in snapped.changes] == [("", "__".join(PASTA), "", "dropped")]
    unsure = Snapper(snapper.taxonomy, leave_below=0.9).snap("__".join(PASTA) + "\nNo: " + "__".join(CIDER))
    assert (unsure.path, unsure.status, unsure.answered) == (None, "left", CIDER)


@pytest.mark.parametrize(
    "answer",
    [
        "| supergroup | group | module | brand |\n|---|---|---|---|\n| beverage alcoholc | cidr | cider | bulmrs |",
        "<a>beverages alcoholc</a>\n<a>cider</a>\n<a>cider</a>\n<a>bulmrs</a>",
        "1. beverages alcoholc\n2. cider\n3. cider\n4. bulmrs",
        "[beverages alcoholc] > [cider] > [cider] > [bulmrs]",
        "[INFO] beverages alcoholic__cider__cider__bulmrs",
        " ".join(["beverages alcoholic__cider__cider__bulmrs"] * 50),
        "Not sure, but: beverages alcoholic > cider > cider > bulmrs",
        "cider" + " " * 3900 + "bulmers",
        "cider" + "\n" * 3900 + "bulmers",
        "____bulmers",
        '{"description": "heinz beans", "retailer": "corner"}\nbeverages alcoholic__cider__cider__bulmrs',
    ],
)
def test_misspelt_labels_in_other_forms(snapper, answer):
    snapped = snapper.snap(answer)
    assert snapped.path == CIDER
    assert all(change.became for change in snapped.changes)


def test_many_are_snapped_like_one(snapper):
    answers = ["pantry__beans__baked beans__hienz", "", "cider bulmers", "pantry__heinz", "pantry__heinz"]
    texts = ["", "", "", "tom ketchup", "baked beans"]
    retailers = ["corner", "", "nowhere", "corner", "mega"]
    many = snapper.snap_all(answers, texts=texts, retailers=retailers)
    one = [snapper.snap(a, text=t, retailer=r) for a, t, r in zip(answers, texts, retailers, strict=True)]
    assert many == one
    assert snapper.snap_all([]) == []


@pytest.mark.parametrize(
    ("answer", "path"),
    [
        ("beer lager__heineken", ("beverages alcoholic", "beer lager ales", "beer lager", "heineken")),
        ("beverages alcoholic__cider__bulmers", CIDER),  # cider is a group and a module
        ("heinz__beans", ("pantry", "beans", "beans baked", "heinz")),
        ("pantry__water still", ("beverages non alcoholic", "water", "water still", "evian")),
    ],
)
def test_known_values_without_the_others(snapper, answer, path):
    assert snapper.snap(answer).path == path


def test_a_slip_of_the_finger_is_nearer_than_other_letters():
    paths = [("pantry", "coles"), ("pantry", "dollar"), ("pantry", "vortex")]
    snapped = Snapper(Taxonomy(("group", "brand"), dict.fromkeys(paths, 1))).snap("pantry__volrs")
    assert snapped.path == ("pantry", "coles")
    assert [change.rule for change in snapped.changes] == ["brand of module"]  # not: it goes best with the rest


def test_a_value_that_was_looked_up_counts_no_less_than_one_that_was_not():
    # So many are nearer than 'eye care' that it is not among those that are looked up, as 'face care' is.
    nearer = [("rest", f"hygiene of {number} faces", f"brand {number}") for number in range(31)]
    others = [("rest", f"oil {number}", f"brand {number}") for number in range(300)]
    paths = [("skin", "face care", "inatur"), ("skin", "eye care", "inatur"), *nearer, *others]
    snapper = Snapper(Taxonomy(("group", "module", "brand"), dict.fromkeys(paths, 1)))
    assert snapper.snap("skin__face hygiene__inatur").path == paths[0]


def test_several_processes_say_what_one_says(taxonomy):
    answers = [f"pantry__beans__baked beans__hienz {number % 97}" for number in range(2 * LEAST + 1)]
    answers[5] = "pantry__beans__beans baked__heinz"  # right as it is: of the others there is enough for two
    texts = [f"tin {number}" for number in range(len(answers))]
    together = Snapper(taxonomy).snap_all(answers, texts=texts, processes=2)
    assert together == Snapper(taxonomy).snap_all(answers, texts=texts)
    assert together[5].status == "exact"


@pytest.mark.parametrize("levels", [("grade",), ("a", "b"), ("a", "b", "c", "d", "e", "f")])
def test_any_number_of_levels(levels):
    paths = [
        tuple(f"{name} {number}" for name in ("ham", "egg", "jam", "pie", "nut", "tea")[: len(levels)])
        for number in (1, 2)
    ]
    snapper = Snapper(Taxonomy(levels, dict.fromkeys(paths, 1)))
    for path in paths:
        assert snapper.snap(" > ".join(path).upper()).path == path
        assert snapper.snap("__".join([*path[:-1], path[-1].replace(" ", "x")])).path == path


def test_embeddings_find_what_letters_do_not(taxonomy):
    def embed(texts):
        drinks = ("cider", "cidre", "apple tipple")
        return np.array([[1.0, 0.0] if text in drinks else [0.0, 1.0] for text in texts], dtype=np.float32)

    flat = Taxonomy(("module",), {("cider",): 1, ("pantry",): 1})
    assert Snapper(flat).snap("apple tipple").path is None
    assert Snapper(flat, embed=embed).snap("apple tipple").path == ("cider",)


def test_values_that_look_alike_are_told_apart_by_their_signs():
    paths = [("drinks", "coca cola"), ("drinks", "coca-cola"), ("drinks", "Coca Colas")]
    snapper = Snapper(Taxonomy(("module", "brand"), dict.fromkeys(paths, 1)))
    for path in paths:
        assert snapper.snap(" > ".join(path)).path == path
        assert snapper.snap("__".join(path) + "|").path == path


def test_a_word_that_a_value_has_twice_counts_twice():
    still, fizzy = ("flavoured drinks non carbonated non cola", "x"), ("flavoured drinks carbonated non cola", "x")
    shelves = Taxonomy(("module", "brand"), {still: 1, fizzy: 1})
    assert Snapper(shelves).snap("range premium flavoured drinks carbonated non cola__x").path == fizzy


def test_wrong_options_are_one_line(taxonomy):
    with pytest.raises(ShelfmarkError, match=r"policy 'paths' .*did you mean 'path'"):
        Snapper(taxonomy, "paths")
    with pytest.raises(ShelfmarkError, match="leave-below"):
        Snapper(taxonomy, leave_below=2)


def test_three_lines(tmp_path, taxonomy):
    from postprocess import Snapper, Taxonomy

    taxonomy.write(tmp_path / "taxonomy.csv")
    snapper = Snapper(Taxonomy.read(tmp_path / "taxonomy.csv"))
    assert snapper.snap("Ciders > Bulmer").path == CIDER


@pytest.mark.parametrize("answer", ["Bulmers, Cider", "bulmers > cider > cider", '["bulmers", "cider"]'])
def test_values_may_come_in_another_order(snapper, answer):
    assert snapper.snap(answer).path == CIDER


def test_a_value_behind_the_last_level_is_dropped_and_said(snapper):
    answer = "__".join(CIDER)
    extra = snapper.snap(f"{answer}__apple__heinz")
    assert (extra.path, extra.status) == (CIDER, "repaired")
    assert [tuple(change) for change in extra.changes] == [("", "apple", "", "dropped"), ("", "heinz", "", "dropped")]
    assert snapper.snap(f"{answer}__apple").sureness > extra.sureness  # heinz is known: another answer, perhaps
    twice = snapper.snap(f"{answer}__{answer}")
    assert (twice.path, twice.status, twice.changes) == (CIDER, "exact", ())


@pytest.mark.parametrize("answer", ["pantry", "supergroup: Pantry", '{"supergroup": "pantry"}'])
def test_a_known_value_is_enough(snapper, answer):
    snapped = snapper.snap(answer)
    assert snapped.path[0] == "pantry"
    assert 0.0 < snapped.sureness < 0.3


def test_of_an_answer_read_as_text_only_what_it_does_not_name_is_changed(snapper):
    answer = "It is a bottle of cider, and the brand is clearly bulmers"
    snapped = snapper.snap(answer)
    assert [tuple(change) for change in snapped.changes] == [("supergroup", answer, CIDER[0], "text")]
    assert snapped.answered == ("", *CIDER[1:])


def test_a_brand_that_is_not_of_the_module_is_no_brand_of_it(taxonomy):
    snapped = Snapper(taxonomy, "brand-free").snap("beverages alcoholic__cider__cider__stella artoiss")
    assert snapped.path == (*CIDER[:3], "stella artois")
    assert [change.rule for change in snapped.changes] == ["brand of all"]
    assert Snapper(taxonomy, "brand-free").snap("a cider, of nescafe I think").path == (*CIDER[:3], "nescafe")


def test_ten_levels_take_no_longer_than_they_must():
    levels = tuple("abcdefghij")
    paths = [tuple(f"{level}{word}" for level in levels) for word in ("apple", "pear", "plum")]
    snapper = Snapper(Taxonomy(levels, dict.fromkeys(paths, 1)))
    answer = {level: f"{level}aple" for level in levels[6::-1]}
    assert snapper.snap(str(answer)).path == paths[0]
