"""Answers that are meant to be slow or to fill memory: what is done for each has a bound, counted and not timed."""

import gc
import json
import random
import tracemalloc
import unicodedata

import pytest

from catalog.taxonomy import Taxonomy
from postprocess import Snapper
from postprocess.lexicon import Lexicon
from postprocess.likeness import MOST_CHILDREN, NEAREST
from postprocess.parse import parse
from postprocess.plain import LONGEST, plain_text
from postprocess.readings import only_reading
from postprocess.solve import Solver
from postprocess.ties import Hints


def word(rng):
    return "".join(rng.choice("bcdfglmnprstv") + rng.choice("aeiou") for _ in range(3))


def tree(levels, size):
    rng = random.Random(levels)
    names = [[f"{word(rng)} {word(rng)}" for _ in range(20)] for _ in range(levels)]
    paths = {tuple(rng.choice(column) for column in names) for _ in range(size)}
    return Taxonomy(tuple(f"level {number}" for number in range(levels)), dict.fromkeys(sorted(paths), 1))


@pytest.fixture(scope="module")
def shelves():
    return tree(4, 100)


@pytest.fixture(scope="module")
def snapper(shelves):
    return Snapper(shelves)


BAIT = {
    "question marks": "?" * 5000 + "x",
    "dashes": "a" + "-" * 5000 + "b",
    "equals signs": "a" + "=" * 5000 + "b",
    "commas": "level 1: a" + "," * 5000 + "b",
    "blanks": "a" + "\u2003" * 5000 + "b",
    "separators": "__" * 5000,
    "one letter": "a" * 100_000,
    "a million letters": "ab " * 333_333,
    "reasoning": "<think>" * 20_000,
    "brackets": "[" * 10_000,
    "braces": '{"a":' * 5000,
    "objects": '[{"level 1": [' * 1000,
    "quotes": '{"' + '"' * 5000,
    "denials": "level 1: " + "not but " * 1000,
    "a word again and again": "a__" + "b b " * 2000,
    "again, but for its end": "abcdefghijklm;" * 400 + "x",
    "marks": "e" + "\u0301\u0316" * 5000,
    "a sign that stands for eighteen": "\ufdfa" * 5000,
    "tags": "<a " * 3000 + "</" * 1000,
    "a table": "|-" * 3000 + "\n" + "a|" * 3000,
}


@pytest.mark.parametrize("bait", BAIT.values(), ids=BAIT)
def test_bait_is_read_like_any_other_answer(snapper, shelves, bait):
    # What tries all ways to split signs takes minutes or years for these.
    snapped = snapper.snap(bait)
    assert snapped.path is None or snapped.path in shelves


@pytest.mark.parametrize("sign", ["\ufdfa", "\u3300", "ß", "é", "a"])
def test_the_letters_that_are_read_have_a_bound(sign):
    assert len(unicodedata.normalize("NFKD", plain_text(sign * 50_000))) <= 2 * LONGEST + 1


def test_values_that_are_compared_do_not_grow_with_the_children_of_a_parent():
    rng = random.Random(5)
    compared = []
    for children in (2 * MOST_CHILDREN, 4 * MOST_CHILDREN):
        paths = {("everything", f"{word(rng)} {word(rng)} {number}"): 1 for number in range(children)}
        solver = Solver(Lexicon.of(Taxonomy(("group", "brand"), paths)), "path")
        solver.cases([parse(f"everything__{word(rng)} xq{number}", solver.lexicon) for number in range(20)])
        compared.append(solver.likeness.compared)
    assert 0 < max(compared) <= 20 * (MOST_CHILDREN + NEAREST)


@pytest.mark.parametrize("levels", [4, 7, 10])
def test_values_that_are_compared_for_confident_nonsense_have_a_bound(levels):
    rng = random.Random(7)
    lexicon = Lexicon.of(tree(levels, 200))
    solver = Solver(lexicon, "path")
    for _ in range(5):
        nonsense = json.dumps({name: f"{word(rng)} {word(rng)}" for name in lexicon.taxonomy.levels})
        before = solver.likeness.compared
        for case in solver.cases([parse(nonsense, lexicon)]):
            solver.solve(case, Hints())
        # Each value at each level once, and what a few readings compare within parents.
        assert solver.likeness.compared - before <= levels * levels * NEAREST + 4 * levels * 20


def test_too_few_values_for_very_many_levels_have_their_reading_at_once():
    levels = tuple(f"level {number}" for number in range(40))
    lexicon = Lexicon.of(Taxonomy(levels, {("same",) * 40: 1, tuple(f"own {n}" for n in range(40)): 1}))
    assert only_reading(["same"] * 20, lexicon) is None  # in 137,846,528,820 ways
    keys = [f"own {number}" for number in range(0, 40, 2)]
    reading = only_reading(keys, lexicon)
    assert reading is not None
    assert [place for place in reading if place is not None] == list(range(20))


def test_memory_does_not_grow_with_long_answers_that_are_all_different(snapper):
    rng = random.Random(11)

    def answers(count):
        for number in range(count):
            long = "".join(rng.choice("abcdefgh") for _ in range(3800))
            yield rng.choice([long, f"{long}__{number}__x__y", json.dumps({"level 1": long, "level 2": long[:300]})])

    snapper.snap_all(list(answers(2)))
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for answer in answers(5):
            snapper.snap(answer)
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # Their own text, once for each level that it was compared at, and no more.
    assert kept < 5 * 40_000


def test_memory_has_a_bound_where_many_answers_mean_a_parent_of_many():
    paths = {("everything", f"brand {number:05d}"): 1 for number in range(3000)}
    snapper = Snapper(Taxonomy(("group", "brand"), paths))
    snapper.snap("x")
    nonsense = [f"everything__zzq {number}" for number in range(30)]
    tracemalloc.start()
    try:
        snapper.snap_all(nonsense)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # To compare each answer with all brands at once would take ten times as much.
    assert peak < 6_000_000
