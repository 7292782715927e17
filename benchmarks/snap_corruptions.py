"""Named ways to corrupt a true label, for the snapping benchmark. Fixed: a kind, a strength and a seed give one answer.

A corruption goes through three steps: `VALUES` change the text of values, `LEVELS` change which value stands where, and
`FORMATS` write the answer. A kind uses one of them (the other steps leave the label as it is); a mixture uses several.

Only corruptions that still determine the path count (`determined`): among the paths that agree with the answer in every
level that was not touched, the true one must be strictly the nearest to the touched values, by the plain
Damerau-Levenshtein distance (optimal string alignment), and, where a value was removed or replaced by an unrelated one,
the rest must single the path out.
"""

# ruff: noqa: ARG001 -- every corruption of a kind takes the same arguments

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from rapidfuzz.distance import OSA

Path = tuple[str, ...]


@dataclass
class Draft:
    """A label on its way to an answer: its values (None: left out) and what was done to them."""

    values: list[str | None]
    touched: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    order: list[int] = field(default_factory=list)


class Shelves:
    """The paths of a taxonomy, as the corruptions and the check of what they determine need them."""

    def __init__(self, paths: list[Path], levels: tuple[str, ...]) -> None:
        self.paths, self.levels = paths, levels
        self.columns = [sorted({path[number] for path in paths}) for number in range(len(levels))]
        self._agreeing: dict[tuple[int, ...], dict[Path, list[Path]]] = {}

    def agreeing(self, path: Path, kept: tuple[int, ...]) -> list[Path]:
        """Return the paths with the same values as `path` at the kept levels."""
        if kept not in self._agreeing:
            table: dict[Path, list[Path]] = defaultdict(list)
            for one in self.paths:
                table[tuple(one[level] for level in kept)].append(one)
            self._agreeing[kept] = table
        return self._agreeing[kept][tuple(path[level] for level in kept)]


def determined(path: Path, draft: Draft, shelves: Shelves) -> bool:
    """Tell whether the draft still determines the path; see the head of this file."""
    kept = tuple(level for level in range(len(path)) if level not in draft.touched | draft.gone)
    changed = [(level, draft.values[level] or "") for level in sorted(draft.touched - draft.gone)]
    own = sum(_distance(value, path[level]) for level, value in changed)
    return all(
        other == path or sum(_distance(value, other[level]) for level, value in changed) > own
        for other in shelves.agreeing(path, kept)
    )


def _distance(a: str, b: str) -> int:
    return int(OSA.distance(a.casefold(), b.casefold()))


# ---- the text of one value: (random, value, strength) -> value

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_KEYS = {
    sign: "".join(
        row[max(0, at - 1) : at] + row[at + 1 : at + 2] for row in _ROWS for at in [row.find(sign)] if at >= 0
    )
    for sign in _LETTERS
}
_SCANS = {"o": "0", "l": "1", "i": "l", "s": "5", "b": "8", "e": "c", "m": "rn", "g": "9", "z": "2", "a": "o", "u": "v"}
_ACCENTS = {"a": "á", "e": "é", "i": "í", "o": "ö", "u": "ü", "c": "ç", "n": "ñ"}
_SYNONYMS = {
    "beverages": "drinks", "drinks": "beverages", "food": "groceries", "confectionery": "sweets", "biscuits": "cookies",
    "snacks": "nibbles", "ambient": "shelf stable", "frozen": "deep freeze", "fresh": "raw", "alcoholic": "liquor",
    "care": "hygiene", "personal": "body", "products": "items", "household": "home", "health": "wellness",
    "hair": "tresses", "cleaning": "washing", "accessories": "extras", "wine": "vino", "beer": "brew",
    "milk": "dairy drink", "juices": "nectars", "cheese": "fromage", "bread": "loaves", "sauces": "dressings",
    "meat": "flesh", "fish": "seafood", "baby": "infant", "pet": "animal", "dog": "canine", "cat": "feline",
    "oil": "fat", "oils": "fats", "beauty": "cosmetics", "kitchen": "cooking", "pantry": "larder",
    "flavoured": "aromatic", "remaining": "other", "supplements": "vitamins", "spices": "seasonings",
    "fruit": "produce", "vegetables": "veg", "chips": "crisps", "skin": "complexion", "tea": "infusions",
}  # fmt: skip


def _at(rng: random.Random, value: str) -> int:
    return rng.choice([at for at, sign in enumerate(value) if sign.isalnum()] or [0])


def typo(rng: random.Random, value: str, strength: int) -> str:
    for _ in range(strength):
        at, sign = _at(rng, value), rng.choice(_LETTERS)
        value = rng.choice(
            [
                value[:at] + sign + value[at:],
                value[:at] + value[at + 1 :],
                value[:at] + sign + value[at + 1 :],
                value[:at] + value[at + 1 : at + 2] + value[at : at + 1] + value[at + 2 :],
            ]
        )
    return value


def replaced(table: dict[str, str]) -> Callable[[random.Random, str, int], str]:
    def change(rng: random.Random, value: str, strength: int) -> str:
        for _ in range(strength):
            places = [at for at, sign in enumerate(value) if sign in table]
            if places:
                at = rng.choice(places)
                options = table[value[at]]
                sign = rng.choice(options) if table is _KEYS else options
                value = value[:at] + sign + value[at + 1 :]
        return value

    return change


def case(rng: random.Random, value: str, strength: int) -> str:
    return [value.upper(), value.title(), "".join(rng.choice([s.upper(), s]) for s in value)][min(strength, 3) - 1]


def spacing(rng: random.Random, value: str, strength: int) -> str:
    return [f" {value}  ", value.replace(" ", "   "), value.replace(" ", "")][min(strength, 3) - 1]


def unicode_forms(rng: random.Random, value: str, strength: int) -> str:
    if strength == 1:
        return "".join(_ACCENTS.get(sign, sign) if rng.random() < 0.3 else sign for sign in value)
    if strength == 2:
        return value.replace(" ", "\u00a0").replace("'", "’").replace("-", "–") + "\u200b"
    return "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in value)


def plural(rng: random.Random, value: str, strength: int) -> str:
    words = value.split(" ")
    for at in rng.sample(range(len(words)), min(strength, len(words))):
        word = words[at]
        words[at] = word[:-1] if word.endswith("s") and len(word) > 3 else word + "s" if word.isalpha() else word
    return " ".join(words)


def punctuation(rng: random.Random, value: str, strength: int) -> str:
    value = value.replace(" & ", " and ") if rng.random() < 0.5 else value.replace(" & ", "&")
    value = re.sub("[',.]", "", value) if strength > 1 else value
    return value.replace(" ", "-") if strength > 2 else value + rng.choice([".", ",", "!", " -"])


def vowels(rng: random.Random, value: str, strength: int) -> str:
    for _ in range(strength * 2):
        places = [at for at in range(1, len(value)) if value[at] in "aeiou" and value[at - 1] != " "]
        if places:
            at = rng.choice(places)
            value = value[:at] + value[at + 1 :]
    return value


def cut(rng: random.Random, value: str, strength: int) -> str:
    return value[: max(3, int(len(value) * (0.9, 0.75, 0.6)[min(strength, 3) - 1]))].rstrip()


def word_order(rng: random.Random, value: str, strength: int) -> str:
    words = value.split(" ")
    rng.shuffle(words)
    return " ".join(words)


def word_lost(rng: random.Random, value: str, strength: int) -> str:
    words = value.split(" ")
    for _ in range(min(strength, len(words) - 1)):
        words.pop(rng.randrange(len(words)))
    return " ".join(words)


def word_added(rng: random.Random, value: str, strength: int) -> str:
    extra = [
        rng.choice(["products", "items", "other", "range", "misc", "premium", "original"]) for _ in range(strength)
    ]
    return " ".join([value, *extra] if rng.random() < 0.5 else [*extra, value])


def synonym(rng: random.Random, value: str, strength: int) -> str:
    words = value.split(" ")
    places = [at for at, word in enumerate(words) if word in _SYNONYMS]
    for at in rng.sample(places, min(strength, len(places))):
        words[at] = _SYNONYMS[words[at]]
    return " ".join(words)


def stutter(rng: random.Random, value: str, strength: int) -> str:
    for _ in range(strength):
        at = _at(rng, value)
        value = value[: at + 1] + value[at : at + 1] * rng.randint(1, 2) + value[at + 1 :]
    return value


VALUES: dict[str, Callable[[random.Random, str, int], str]] = {
    "case": case,
    "spacing": spacing,
    "unicode": unicode_forms,
    "plural": plural,
    "punctuation": punctuation,
    "typo": typo,
    "keyboard slip": replaced(_KEYS),
    "scanning error": replaced(_SCANS),
    "repeated letters": stutter,
    "vowels dropped": vowels,
    "value cut": cut,
    "word order": word_order,
    "word lost": word_lost,
    "word added": word_added,
    "synonym": synonym,
}

# ---- which value stands where: (random, draft, shelves, strength) -> None


def wrong_level(level: int) -> Callable[[random.Random, Draft, Shelves, int], None]:
    def change(rng: random.Random, draft: Draft, shelves: Shelves, strength: int) -> None:
        for number in range(level, min(level + strength, len(shelves.levels) - 2)):
            draft.values[number] = rng.choice([v for v in shelves.columns[number] if v != draft.values[number]])
            draft.gone.add(number)

    return change


def invented(rng: random.Random, draft: Draft, shelves: Shelves, strength: int) -> None:
    for number in rng.sample(range(len(shelves.levels) - 1), min(strength, 2)):
        draft.values[number] = rng.choice(["general merchandise", "assorted goods", "unclassified", "things"])
        draft.gone.add(number)


def level_missing(rng: random.Random, draft: Draft, shelves: Shelves, strength: int) -> None:
    for number in rng.sample(range(len(shelves.levels)), min(strength, 2)):
        draft.values[number] = None
        draft.gone.add(number)


def level_empty(rng: random.Random, draft: Draft, shelves: Shelves, strength: int) -> None:
    for number in rng.sample(range(len(shelves.levels)), min(strength, 2)):
        draft.values[number] = ""
        draft.gone.add(number)


def swapped(rng: random.Random, draft: Draft, shelves: Shelves, strength: int) -> None:
    a, b = rng.sample(range(len(draft.order)), 2)
    draft.order[a], draft.order[b] = draft.order[b], draft.order[a]
    if strength > 1:
        rng.shuffle(draft.order)


def reverse(rng: random.Random, draft: Draft, shelves: Shelves, strength: int) -> None:
    draft.order.reverse()


LEVELS: dict[str, Callable[[random.Random, Draft, Shelves, int], None]] = {
    "wrong supergroup": wrong_level(0),
    "wrong group": wrong_level(1),
    "invented level": invented,
    "level missing": level_missing,
    "level empty": level_empty,
    "levels swapped": swapped,
    "order reversed": reverse,
}

# ---- how it is written: (random, values in order, names in order, strength) -> answer

Values = list[str]


def _object(values: Values, names: list[str]) -> str:
    return json.dumps({name: value or None for name, value in zip(names, values, strict=True)}, ensure_ascii=False)


def joined(rng: random.Random, values: Values, names: list[str], strength: int) -> str:
    return "__".join(values)


def separators(rng: random.Random, values: Values, names: list[str], strength: int) -> str:
    return rng.choice(
        ["_", " __ ", " > ", ">", "/", " / ", "|", " | ", "; ", " - ", "\n", "\t", " -> ", "___", ","]
    ).join(values)


def no_separators(rng: random.Random, values: Values, names: list[str], strength: int) -> str:
    return (" " if strength < 3 else "").join(values)


def tail(rng: random.Random, values: Values, names: list[str], strength: int) -> str:
    return "__".join(values) + rng.choice(["|", " |", "||", "|\n", "\n\n", ".", '"', "```", "|</s>", "<|eot_id|>"])


def label_talk(rng: random.Random, values: Values, names: list[str], strength: int) -> str:
    label = "__".join(values)
    return rng.choice(
        [
            f"The label is: {label}",
            f"Sure! Here is the label:\n{label}\nLet me know if you need more.",
            f'Based on the description, the answer is "{label}".',
            f"**{label}**",
            f"Answer: {label}\n\nExplanation: the text names the brand.",
        ]
    )


def label_twice(rng: random.Random, values: Values, names: list[str], strength: int) -> str:
    label = "__".join(values)
    return rng.choice(["|", "\n", " | "]).join([label] * (strength + 1))


def lines(rng: random.Random, values: Values, names: list[str], strength: int) -> str:
    mark, end = rng.choice([(": ", "\n"), (" = ", "\n"), (": ", ", "), (" - ", "\n") if strength > 9 else (": ", "; ")])
    title = rng.choice([str.title, str.lower, str.upper, lambda name: f"**{name.title()}**"])
    return end.join(f"{title(name)}{mark}{value}" for name, value in zip(names, values, strict=True))


def object_whole(rng: random.Random, values: Values, names: list[str], strength: int) -> str:
    return _object(values, names)


def object_cut(rng: random.Random, values: Values, names: list[str], strength: int) -> str:
    text = _object(values, names)
    return text[: -rng.randint(1, 2)] if strength < 3 else text.rstrip("}").rstrip().rstrip('"') + ""


def object_single(rng: random.Random, values: Values, names: list[str], strength: int) -> str:
    pairs = (f"'{name}': '{value}'" for name, value in zip(names, values, strict=True))
    return "{" + ", ".join(pairs) + (",}" if strength > 1 else "}")


def object_fenced(rng: random.Random, values: Values, names: list[str], strength: int) -> str:
    return f"```json\n{_object(values, names)}\n```"


def object_talk(rng: random.Random, values: Values, names: list[str], strength: int) -> str:
    return f"Sure, here you go: {_object(values, names)} I hope this {{helps}}."


def object_renamed(rng: random.Random, values: Values, names: list[str], strength: int) -> str:
    style = rng.choice(
        [str.title, str.upper, lambda n: f"product_{n}", lambda n: f"{n}_name", lambda n: n.replace("super", "super_")]
    )
    return _object(values, [style(name) for name in names])


def object_extra(rng: random.Random, values: Values, names: list[str], strength: int) -> str:
    text = _object(values, names)
    return '{"id": 17, "confidence": 0.93, "reason": "it says so", ' + text[1:]


def object_nested(rng: random.Random, values: Values, names: list[str], strength: int) -> str:
    if strength == 1:
        return json.dumps({"label": json.loads(_object(values, names))})
    if strength == 2:
        return json.dumps({"result": {"label": "__".join(values)}})
    return json.dumps([json.loads(_object(values, names))] * 2)


FORMATS: dict[str, Callable[[random.Random, Values, list[str], int], str]] = {
    "other separators": separators,
    "no separators": no_separators,
    "junk at the end": tail,
    "label in talk": label_talk,
    "label repeated": label_twice,
    "label lines": lines,
    "JSON": object_whole,
    "JSON cut off": object_cut,
    "JSON single quotes": object_single,
    "JSON in a fence": object_fenced,
    "JSON in talk": object_talk,
    "JSON other keys": object_renamed,
    "JSON extra keys": object_extra,
    "JSON nested": object_nested,
}

KINDS = (*VALUES, *LEVELS, *FORMATS)
STRENGTHS = (1, 2, 3)
MIXTURE = "mixture"


def corrupt(path: Path, kind: str, strength: int, seed: str, shelves: Shelves) -> str | None:
    """Return a corrupted answer for a path, or None where eight tries gave none that still determines it."""
    for attempt in range(8):
        rng = random.Random(f"{seed}|{kind}|{strength}|{attempt}|{'__'.join(path)}")
        draft = Draft(list(path), order=list(range(len(path))))
        write = joined
        if kind == MIXTURE:
            for _ in range(rng.randint(1, strength)):
                _change_value(rng, draft, rng.choice(list(VALUES.values())), rng.randint(1, 2))
            if rng.random() < 0.35:
                rng.choice(list(LEVELS.values()))(rng, draft, shelves, 1)
            if rng.random() < 0.6:
                write = rng.choice(list(FORMATS.values()))
        elif kind in VALUES:
            _change_value(rng, draft, VALUES[kind], strength)
        elif kind in LEVELS:
            LEVELS[kind](rng, draft, shelves, strength)
        else:
            write = FORMATS[kind]
        order = [level for level in draft.order if draft.values[level] is not None]
        named = [shelves.levels[at] for at in range(len(draft.order)) if draft.values[draft.order[at]] is not None]
        answer = write(rng, [draft.values[level] or "" for level in order], named, strength)
        if answer != "__".join(path) and order and determined(path, draft, shelves):
            return answer
    return None


def _change_value(
    rng: random.Random, draft: Draft, change: Callable[[random.Random, str, int], str], strength: int
) -> None:
    level = rng.randrange(len(draft.values))
    value = draft.values[level]
    if value:
        changed = change(rng, value, strength)
        if changed != value and any(sign.isalnum() for sign in changed):
            draft.values[level] = changed
            draft.touched.add(level)
