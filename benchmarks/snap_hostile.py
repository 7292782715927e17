"""How fast answers are snapped that are meant to be slow, or mean nothing, over taxonomies of many kinds.

    python benchmarks/snap_hostile.py [--taxonomies NAME ...] [--kinds KIND ...] [--seconds N] [--seed N]

For each kind of answer and each taxonomy: answers a second (many at once, one process, nothing remembered of before),
and the slowest of them in milliseconds, one by one. Beside it rapidfuzz's `process.extractOne` over all joined labels,
which is what a plain program would do. `indoml`, `coles` and `receipts` need $SHELFMARK_DATA.
"""

# ruff: noqa: ARG001
from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import signal
import statistics
import string
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from rapidfuzz import process
from rich.console import Console
from rich.table import Table
from snap import SCHEMA, invented, real_set

from catalog.schema import SEPARATOR
from catalog.taxonomy import Taxonomy
from postprocess import Snapper

_BLOCK = 50
console = Console(width=200)
Make = Callable[[random.Random, Taxonomy], str]


class TooLongError(Exception):
    """One cell of the table took all the time that it may take."""


# ---- taxonomies


def deep(levels: int, size: int, value: Callable[[int, int], str]) -> Taxonomy:
    """Return a tree of up to so many paths: `value` of a level and a number in it, more of them the lower the level."""
    rng = random.Random(size)
    widths = [max(2, round(size ** ((level + 1) / levels))) for level in range(levels)]
    paths: set[tuple[str, ...]] = set()
    for _ in range(2 * size):
        leaf = rng.random()
        upper = [value(level, int(leaf * width)) for level, width in enumerate(widths[:-1])]
        paths.add((*upper, value(levels - 1, rng.randrange(widths[-1]))))
    return Taxonomy(tuple(f"level {number}" for number in range(1, levels + 1)), dict.fromkeys(sorted(paths), 1))


def _word(number: int, least: int = 2) -> str:
    """Return a made-up word for each number."""
    number = number * 2_654_435_761 % 2**32
    word = ""
    for _ in range(least + number % 3):
        number, sign = divmod(number, 65)
        word += "bcdfglmnprstv"[sign // 5] + "aeiou"[sign % 5]
    return word


def _words(level: int, number: int) -> str:
    return f"{_word(number * 31 + level)} {_word(number // 3 + 7)} {number % 97}"


def _alike(level: int, number: int) -> str:
    return f"assorted product group {number:06d}"


def _letter(level: int, number: int) -> str:
    return string.ascii_lowercase[number % 26]


def _long(level: int, number: int) -> str:
    return " ".join([_words(level, number), *(_word(number * 400 + at) for at in range(330))])[:2000].strip()


def _one_parent(size: int) -> Taxonomy:
    return Taxonomy(("group", "brand"), {("everything", f"{_word(n, 3)} {_word(n // 7)} {n}"): 1 for n in range(size)})


def taxonomies(folder: Path | None) -> dict[str, Callable[[], Taxonomy]]:
    made: dict[str, Callable[[], Taxonomy]] = {
        "100,000 paths": lambda: invented(100_000),
        "one level": lambda: deep(1, 5000, lambda level, number: f"{_words(level, number)} {number}"),
        "seven levels": lambda: deep(7, 10_000, _words),
        "ten levels": lambda: deep(10, 10_000, _words),
        "one letter": lambda: deep(4, 2000, _letter),
        "all alike": lambda: deep(4, 5_000, _alike),
        "2,000 characters": lambda: deep(4, 300, _long),
        "one parent": lambda: _one_parent(20_000),
    }
    if folder is None:
        return made
    real: dict[str, Callable[[], Taxonomy]] = {
        "indoml": lambda: Taxonomy.read(folder / "indoml" / "taxonomy.csv.gz", SCHEMA)
    }
    for name in ("coles", "receipts"):
        real[name] = lambda name=name: _of_labels(folder, name)  # type: ignore[misc]
    return real | made


def _of_labels(folder: Path, name: str) -> Taxonomy:
    train, _ = real_set(folder, name)
    return Taxonomy.from_labels(train.require_labels(), SCHEMA.levels, train.retailers)


# ---- answers


def _value(rng: random.Random, shelves: Taxonomy) -> str:
    return rng.choice(rng.choice(shelves.paths))


def _vocabulary(rng: random.Random, shelves: Taxonomy, count: int) -> str:
    return " ".join(rng.choice(_value(rng, shelves).split()) for _ in range(count))


def wrong_values(rng: random.Random, shelves: Taxonomy) -> str:
    """An object with a value of each level, each of another path."""
    return json.dumps({name: rng.choice(shelves.paths)[level] for level, name in enumerate(shelves.levels)})


def wrong_levels(rng: random.Random, shelves: Taxonomy) -> str:
    return json.dumps({name: _value(rng, shelves) for name in shelves.levels})


def own_words(rng: random.Random, shelves: Taxonomy) -> str:
    """An object whose values look as if they existed: words of the taxonomy's own, put together anew."""
    return json.dumps({name: _vocabulary(rng, shelves, rng.randint(1, 4)) for name in shelves.levels})


def invented_values(rng: random.Random, shelves: Taxonomy) -> str:
    return SEPARATOR.join(" ".join(_word(rng.randrange(10**9)) for _ in range(2)) for _ in shelves.levels)


def own_words_joined(rng: random.Random, shelves: Taxonomy) -> str:
    return SEPARATOR.join(_vocabulary(rng, shelves, rng.randint(1, 4)) for _ in shelves.levels)


def too_many(rng: random.Random, shelves: Taxonomy) -> str:
    return SEPARATOR.join(_vocabulary(rng, shelves, rng.randint(1, 3)) for _ in range(3 * len(shelves.levels)))


def too_many_known(rng: random.Random, shelves: Taxonomy) -> str:
    return " > ".join(_value(rng, shelves) for _ in range(2 * len(shelves.levels) + 3))


def too_few(rng: random.Random, shelves: Taxonomy) -> str:
    return SEPARATOR.join(_vocabulary(rng, shelves, 2) for _ in range(max(1, len(shelves.levels) - 1)))


def parent_and_nonsense(rng: random.Random, shelves: Taxonomy) -> str:
    """The widest value is right, all others are words of their own."""
    own = [" ".join(_word(rng.randrange(10**9)) for _ in range(2)) for _ in shelves.levels[1:]]
    return SEPARATOR.join([rng.choice(shelves.paths)[0], *own])


def sentence(rng: random.Random, shelves: Taxonomy) -> str:
    return f"This looks like {_vocabulary(rng, shelves, 30)}, so I would say {_value(rng, shelves)}."


def talk(rng: random.Random, shelves: Taxonomy) -> str:
    """Long talk that names hundreds of values."""
    return ". ".join(f"It may be {_value(rng, shelves)}" for _ in range(300))[:10_000]


def alternatives(rng: random.Random, shelves: Taxonomy) -> str:
    return "\n".join(SEPARATOR.join(rng.choice(shelves.paths)) for _ in range(1000))


def alternatives_in_objects(rng: random.Random, shelves: Taxonomy) -> str:
    return json.dumps([dict(zip(shelves.levels, rng.choice(shelves.paths), strict=True)) for _ in range(100)])[:10_000]


def many_values_a_level(rng: random.Random, shelves: Taxonomy) -> str:
    size = max(2, 100 // len(shelves.levels))
    return json.dumps({name: [_value(rng, shelves) for _ in range(size)] for name in shelves.levels})[:10_000]


def many_lines(rng: random.Random, shelves: Taxonomy) -> str:
    return "\n".join(f"{name}: {_value(rng, shelves)}" for _ in range(100) for name in shelves.levels)[:10_000]


def table(rng: random.Random, shelves: Taxonomy) -> str:
    head = "|".join(shelves.levels)
    return "\n".join([head, *("|".join(_value(rng, shelves) for _ in shelves.levels) for _ in range(200))])[:10_000]


def repeated_label(rng: random.Random, shelves: Taxonomy) -> str:
    return "|".join([SEPARATOR.join(rng.choice(shelves.paths)[1:] or ("x",))] * 400)[:20_000]


def numbers(rng: random.Random, shelves: Taxonomy) -> str:
    return " ".join(str(rng.randrange(10 ** rng.randint(1, 9))) for _ in range(rng.randint(1, 40)))


def marks(rng: random.Random, shelves: Taxonomy) -> str:
    """A value whose letters have many combining marks each."""
    return "".join(sign + "".join(chr(rng.randint(0x300, 0x36F)) for _ in range(20)) for sign in _value(rng, shelves))


def random_signs(rng: random.Random, shelves: Taxonomy) -> str:
    signs = string.printable + "éßЖ中あ\u0301\u200b\u202e\U0001f37a"
    return "".join(rng.choice(signs) for _ in range(2000))


def empty(rng: random.Random, shelves: Taxonomy) -> str:
    return " " * rng.randrange(1000)


def prompt_echoed(rng: random.Random, shelves: Taxonomy) -> str:
    """The question once more, with twenty candidates as lines."""
    lines = "\n".join(f"{n}. {SEPARATOR.join(rng.choice(shelves.paths))}" for n in range(20))
    return (
        f"Description: {_vocabulary(rng, shelves, 8)}\nRetailer: corner\nChoose one of these labels:\n{lines}\nLabel:"
    )


def _repeated(text: str, size: int) -> Make:
    def make(rng: random.Random, shelves: Taxonomy) -> str:
        # Of another length each time, so that no answer is like the one before.
        return (text * (size // len(text) + 1))[: size - rng.randrange(max(2, size // 100))]

    return make


def _behind(bait: str, text: str, size: int) -> Make:
    """A value of the taxonomy, then bait for a regular expression, and an end that does not match."""
    repeated = _repeated(text, size)
    return lambda rng, shelves: _value(rng, shelves) + bait + repeated(rng, shelves) + rng.choice("!~^x")


def million(rng: random.Random, shelves: Taxonomy) -> str:
    return (_vocabulary(rng, shelves, 1000) * 1000)[: 1_000_000 - rng.randrange(1000)]


def million_fields(rng: random.Random, shelves: Taxonomy) -> str:
    return "[" + (json.dumps({name: _value(rng, shelves) for name in shelves.levels}) + ", ") * 20_000


def million_labels(rng: random.Random, shelves: Taxonomy) -> str:
    lines = "\n".join(SEPARATOR.join(rng.choice(shelves.paths)) for _ in range(100))
    return (lines + "\n") * (1_000_000 // len(lines) + 1)


NONSENSE: dict[str, Make] = {
    "object, values of other paths": wrong_values,
    "object, values of other levels": wrong_levels,
    "object, the taxonomy's own words": own_words,
    "label, the taxonomy's own words": own_words_joined,
    "label, invented values": invented_values,
    "label, a parent and nonsense": parent_and_nonsense,
    "label, too many values": too_many,
    "label, too many known values": too_many_known,
    "label, too few values": too_few,
    "sentence of own words": sentence,
    "numbers": numbers,
    "empty": empty,
}
"""Short and likely: what a model that is confident and wrong says."""

LONG: dict[str, Make] = {
    "talk of hundreds of values": talk,
    "a thousand alternatives": alternatives,
    "objects with alternatives": alternatives_in_objects,
    "a hundred values in an object": many_values_a_level,
    "hundreds of lines with names": many_lines,
    "table of 200 rows": table,
    "label over and over": repeated_label,
    "prompt echoed": prompt_echoed,
    "combining marks": marks,
    "random signs": random_signs,
}
BAIT: dict[str, Make] = {
    **{
        f"{name} x {size:,}": _repeated(text, size)
        for size in (10_000,)
        for name, text in {
            "__": "__", "a": "a", "{": "{", "[": "[", "{\"a\":": '{"a":', "[{": "[{", "quotes": '"', "apostrophes": "'",
            "(": "(", "<": "<", "<a ": "<a ", "</a": "</a", "&amp;": "&amp;amp;", "\\": "\\", "|": "|", "-": "-",
            "blanks": " \t", "ab ": "ab ", "a,": "a,", "a;.": "a;.", "brand:": "brand: ", "not ": "not ",
            "<think>": "<think>", "[think": "[think", "super_": "super_ ", "lines": "\n", "\u0301": "\u0301",
            "\ufdfa": "\ufdfa", "`": "`", "<|": "<|", "|-": "|-|\n", "- ": "- a\n", " - ": " - ", "->": "-> ",
            "'a": "'a' ",            "sorry, ": "sorry, ",
        }.items()
    },
    "value and ___": _behind(" ", "_", 10_000),
    "value and blanks": _behind("", "a     ", 10_000),
    "value and (((": _behind(" ", "(", 10_000),
    "value and not": _behind(" ", "not but ", 10_000),
    "value and ;,.": _behind(" ", ";,. ", 10_000),
}  # fmt: skip
HUGE: dict[str, Make] = {
    "a x 100,000": _repeated("a", 100_000),
    "__ x 1 MB": _repeated("__", 1_000_000),
    "a x 1 MB": _repeated("a", 1_000_000),
    "blanks x 1 MB": _repeated(" ", 1_000_000),
    "blanks and letters x 1 MB": _repeated("a  \n  ", 1_000_000),
    "[ x 1 MB": _repeated("[", 1_000_000),
    "<think> x 1 MB": _repeated("<think>", 1_000_000),
    "<|a x 1 MB": _repeated("<|a", 1_000_000),
    "marks x 1 MB": _repeated("e\u0301\u0316", 1_000_000),
    "vocabulary x 1 MB": million,
    "objects x 1 MB": million_fields,
    "labels x 1 MB": million_labels,
}
GROUPS = {"nonsense": (NONSENSE, 2000), "long": (LONG, 60), "bait": (BAIT, 20), "huge": (HUGE, 3)}
"""The kinds of answers, and how many of each are made."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise TooLongError


def timed(snapper: Snapper, answers: list[str], seconds: float) -> tuple[float, float]:
    """Return answers a second of the first half, and the milliseconds of the slowest of some of the second half.

    Of each as many as the time allows.
    """
    half = len(answers) // 2
    slowest, done, count = 0.0, 0.0, 0
    signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    began = time.process_time()
    with suppress(TooLongError):
        for start in range(0, half, _BLOCK):
            block = answers[start : min(start + _BLOCK, half)]
            snapper.snap_all(block)
            done, count = time.process_time() - began, count + len(block)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    one = time.process_time()
    with suppress(TooLongError):
        for answer in answers[half : half + _BLOCK]:
            one = time.process_time()
            snapper.snap(answer)
            slowest = max(slowest, time.process_time() - one)
        one = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, 0.0)
    slowest = max(slowest, time.process_time() - one)
    return count / done if done else 1.0 / slowest, 1000.0 * slowest


def peer(shelves: Taxonomy, answers: list[str], seconds: float) -> float:
    """Return how many answers a second rapidfuzz compares with all labels, from as many as the time allows."""
    labels = [SEPARATOR.join(path) for path in shelves.paths]
    began, count = time.process_time(), 0
    for answer in answers:
        process.extractOne(answer, labels)
        count += 1
        if time.process_time() - began > seconds / 10:
            break
    return count / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--taxonomies", nargs="+")
    parser.add_argument("--groups", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--kinds", nargs="+", help="those whose names begin so")
    parser.add_argument("--seconds", type=float, default=4.0, help="at most so many for each measurement")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-peer", action="store_true")
    options = parser.parse_args()
    folder = os.environ.get("SHELFMARK_DATA")
    made = taxonomies(Path(folder) if folder and Path(folder).is_dir() else None)
    chosen = {
        name: Snapper(make()) for name, make in made.items() if not options.taxonomies or name in options.taxonomies
    }
    rates: list[float] = []
    for group in options.groups:
        kinds, count = GROUPS[group]
        table_ = Table(title=f"{group}: answers a second, the slowest in ms (rapidfuzz's answers a second)")
        table_.add_column("kind")
        for name in chosen:
            table_.add_column(name, justify="right")
        for kind, make in kinds.items():
            if options.kinds and not any(kind.startswith(start) for start in options.kinds):
                continue
            cells = []
            for snapper in chosen.values():
                shelves = snapper.taxonomy
                rng = random.Random(f"{options.seed}|{kind}")
                answers = [make(rng, shelves) for _ in range(count)]
                rate, slowest = timed(snapper, answers, options.seconds)
                rates.append(rate)
                other = "" if options.no_peer else f" ({peer(shelves, answers, options.seconds):,.0f})"
                cells.append(f"{rate:,.0f}, {slowest:,.1f}{other}")
            table_.add_row(kind, *cells)
            print(kind, cells, file=sys.stderr, flush=True)
        console.print(table_)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    console.print(
        f"{platform.machine()}, Python {platform.python_version()}, {datetime.now(UTC):%d %B %Y}; median "
        f"{statistics.median(rates):,.0f} answers a second, least {min(rates):,.0f}; peak memory {memory:,.0f} MiB"
    )


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
