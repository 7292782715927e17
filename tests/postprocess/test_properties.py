"""What holds for any answer whatever: a valid path or none, never an error, the same whatever stands beside it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.taxonomy import Taxonomy
from postprocess import Snapper

LEVELS = ("supergroup", "group", "module", "brand")
PATHS = [
    ("drinks", "cider", "cider", "bulmers"),
    ("drinks", "cider", "cider", "cidre & co"),
    ("drinks", "beer lager ales", "beer lager", "stella artois"),
    ("pantry", "sauces", "pizza & pasta", "leggo's"),
    ("pantry", "sauces", "ketchup, mustard", "heinz"),
    ("pantry", "beans", "beans baked", "heinz"),
    ("pantry", "beans", "energy gels/tablets", "six|star"),
    ("hair care", "hair", "hair shampoo", "l'oréal"),
]

COUNTS = {path: 1 + number for number, path in enumerate(PATHS)}
TAXONOMY = Taxonomy(LEVELS, COUNTS, {"corner": {PATHS[0]: 2}})
SNAPPERS = {policy: Snapper(TAXONOMY, policy) for policy in ("path", "brand-free")}
POLICIES = st.sampled_from(sorted(SNAPPERS))

values = st.sampled_from(sorted({value for path in PATHS for value in path}))
marks = st.sampled_from(
    ["__", "_", " > ", "/", "|", ", ", "\n", ": ", '"', "'", "{", "}", "[", "]", "\\", "```", "\u200b"]
)
names = st.sampled_from([*LEVELS, "Super Group", "label", "sorry", "unknown", "null"])
broken = st.lists(st.one_of(values, marks, names, st.text(max_size=6)), max_size=14).map("".join)
anything = st.one_of(st.text(max_size=200), broken, st.binary(max_size=100).map(lambda raw: raw.decode("latin-1")))


@settings(max_examples=400, deadline=None)
@given(anything, POLICIES, st.text(max_size=20), st.sampled_from(["", "corner", "nowhere"]))
def test_any_text_gives_a_valid_path_or_none(answer, policy, text, retailer):
    snapped = SNAPPERS[policy].snap(answer, text=text, retailer=retailer, candidates=PATHS[:2])
    if snapped.path is None:
        assert snapped.status == "fallback"
    else:
        assert TAXONOMY.is_valid(snapped.path, policy)
        assert snapped.status in ("exact", "repaired")
    assert 0.0 <= snapped.sureness <= 1.0


@settings(max_examples=200, deadline=None)
@given(broken, POLICIES)
def test_snapping_is_idempotent(answer, policy):
    snapped = SNAPPERS[policy].snap(answer)
    if snapped.path is not None:
        again = SNAPPERS[policy].snap("__".join(snapped.path))
        assert (again.path, again.status, again.changes) == (snapped.path, "exact", ())


@settings(max_examples=60, deadline=None)
@given(st.lists(broken, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(answers, rng):
    order = list(range(len(answers)))
    rng.shuffle(order)
    straight = Snapper(TAXONOMY).snap_all(answers)
    shuffled = Snapper(TAXONOMY).snap_all([answers[place] for place in order])
    assert [straight[place] for place in order] == shuffled


labels = st.text(min_size=1, max_size=8).filter(lambda value: "__" not in value)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(labels, labels, labels), min_size=1, max_size=6, unique=True), POLICIES)
def test_a_valid_label_of_any_taxonomy_is_not_changed(paths, policy):
    if len({"__".join(path) for path in paths}) < len(paths):
        return
    taxonomy = Taxonomy(("a", "b", "c"), dict.fromkeys(paths, 1))
    snapper = Snapper(taxonomy, policy)
    for path in paths:
        snapped = snapper.snap("__".join(path))
        assert (snapped.path, snapped.status, snapped.changes) == (path, "exact", ())
