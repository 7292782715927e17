"""Find the path that an answer means: within the parents it names, else over all paths and all ways to read it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from catalog.messages import LabelPath
from catalog.schema import Policy
from postprocess.changes import is_like
from postprocess.explain import Explainer
from postprocess.families import NEAR, Families
from postprocess.flat import FlatReader
from postprocess.forms import form_key
from postprocess.lexicon import Ids, Lexicon
from postprocess.likeness import Embed, Evidence, Likeness, Scores
from postprocess.parse import Parsed
from postprocess.readings import Reading, answered, evidence, first_reading, only_reading, readings
from postprocess.ties import Hints, TieBreaker

_MOST_READINGS = 6
_PATIENCE = 2
"""So many other readings in a row may bring nothing. Of 33,000 corrupted labels one needed the third, and none more."""

_ENOUGH = 0.15
_FLAT_BELOW = 0.8
_FLAT_ANYWAY = 0.25
_UNSEEN = 2.0
_SAME_FORM = 0.05
_FEW = 40


class Solution(NamedTuple):
    """The best path of one way to read an answer.

    Parameters
    ----------
    path : label path
        Valid.
    score : float
        What it explains of the answer, in the weights of the levels.
    ahead : float
        Its probability among the paths that explain the answer about as well, in (0, 1].
    reading : Reading or None
        Which answered value was read at which level; None where the answer was read as one text.
    """

    path: LabelPath
    score: float
    ahead: float
    reading: Reading | None


class Case(NamedTuple):
    """An answer to solve.

    Parameters
    ----------
    parsed : Parsed
        The answer.
    values : list of str
        The answered values in order.
    first : Reading
        The answer taken at its word.
    told : tuple of str
        The value of each level in that reading; an empty text where there is none.
    said : tuple of (Evidence or None)
        For each level, the values that are its told value up to form; none for a joined label.
    plain : label path or None
        The valid path that the values name up to form, where they do.
    local : (ids, scores) or None
        The rows that agree with all values known at their levels and are like the others, where there are any.
    """

    parsed: Parsed
    values: list[str]
    first: Reading
    told: tuple[str, ...]
    said: tuple[Evidence | None, ...]
    plain: LabelPath | None
    local: tuple[Ids, Scores] | None


class Solver:
    """Solves cases under one policy.

    Parameters
    ----------
    lexicon : Lexicon
        The taxonomy.
    policy : {'path', 'brand-free'}
        What a valid path is.
    embed : callable, optional
        See `Likeness`.
    """

    def __init__(self, lexicon: Lexicon, policy: Policy, embed: Embed | None = None) -> None:
        self.lexicon = lexicon
        self.policy: Policy = policy
        self.likeness = Likeness(lexicon, embed)
        self.explainer = Explainer(lexicon, self.likeness)
        self.flat = FlatReader(lexicon, self.likeness, self.explainer)
        self.families = Families(lexicon, self.likeness, policy)
        self.ties = TieBreaker(lexicon, self.likeness)
        self.total = self.flat.total

    def cases(self, answers: Iterable[Parsed]) -> list[Case]:
        """Return the cases of usable answers, with what can be said of each without a search.

        Many at once take far less time than one by one: what they ask for is looked up together.
        """
        cases = [self._read(parsed) for parsed in answers]
        open_cases = [number for number, case in enumerate(cases) if case.plain is None and case.local is None]
        settled = self.families.settled([(cases[number].told, cases[number].said) for number in open_cases])
        for number, local in zip(open_cases, settled, strict=True):
            cases[number] = cases[number]._replace(local=local)
        self.likeness.prepare(
            (form_key(value), level)
            for case in cases
            if case.plain is None and case.local is None
            for level, (value, found) in enumerate(zip(case.told, case.said, strict=True))
            if found is None
        )
        return cases

    def _read(self, parsed: Parsed) -> Case:
        values = answered(parsed)
        if parsed.label is not None:
            return Case(parsed, values, (), tuple(values), (), parsed.label, None)
        first = first_reading(parsed, len(self.lexicon.levels))
        told = tuple([values[place] if place is not None else "" for place in first])
        said = self._said(told)
        plain = self._plain(said)
        if plain is not None:
            return Case(parsed, values, first, told, said, plain, None)
        keys = [form_key(value) for value in values]
        case = None
        if all(map(self.lexicon.is_known, keys)):
            rows = self.lexicon.any_order.get("\n".join(sorted(keys)), ())
            if len(rows) == 1:
                first = self._in_order(self.lexicon.paths[rows[0]], values)
                local = (np.array(rows, dtype=np.int32), np.array([self.total - 1.0]))
                return Case(parsed, values, first, told, said, None, local)
            case = self._of_few(parsed, values, only_reading(keys, self.lexicon))
        elif not parsed.parts and not any(value and found is None for value, found in zip(told, said, strict=True)):
            case = self._of_few(parsed, values, first)
        return case or Case(parsed, values, first, told, said, None, None)

    def _of_few(self, parsed: Parsed, values: list[str], reading: Reading | None) -> Case | None:
        """Return the case of known values that are some of a path's; None where no path has them all."""
        if reading is None:
            return None
        told = tuple([values[place] if place is not None else "" for place in reading])
        said = self._said(told)
        local = self.families.agreeing(said)
        return Case(parsed, values, reading, told, said, None, local) if local else None

    def _said(self, told: Sequence[str]) -> tuple[Evidence | None, ...]:
        return tuple([self.likeness.said(value, level) if value else None for level, value in enumerate(told)])

    def solve(self, case: Case, hints: Hints) -> Solution | None:
        """Return the best path, or None where nothing in the answer speaks for any."""
        if case.local is not None:
            return self._choice(*case.local, hints, case.first, case.values)
        full = sum(level.weight for level, value in zip(self.lexicon.levels, case.told, strict=True) if value)
        best = self._weigh(case.first, case.values, hints, home=True)
        if best is None or best.score < full - 0.5:
            best = self._other_readings(case, best, hints)
        shapeless = case.parsed.how == "text" or len(case.values) > len(case.told)
        if best is None or best.score < (_FLAT_BELOW if shapeless else self._flat_below(case)) * self.total:
            other = self._flat(case.parsed.text, hints)
            if other is not None and (best is None or other.score > best.score):
                best = other
        if best is None or best.score > _ENOUGH * self.total:
            return best
        # A known value is enough, however little its level says.
        return best if any(self.lexicon.is_known(form_key(value)) for value in case.values if value) else None

    def _flat_below(self, case: Case) -> float:
        """Return the share below which an answer with a form is read as one text: never where all of it is known."""
        known = all(found is not None for value, found in zip(case.told, case.said, strict=True) if value)
        return 0.0 if known and not case.parsed.parts else _FLAT_ANYWAY

    def _flat(self, text: str, hints: Hints) -> Solution | None:
        best = self._choice(*self.flat.best(text), hints, None, ())
        if best is not None and self.policy == "brand-free" and len(self.lexicon.levels) > 1:
            named, _ = self.flat.named(form_key(text))
            return self._free(best, list(named), hints, None, ())
        return best

    def _plain(self, said: Sequence[Evidence | None]) -> LabelPath | None:
        path = []
        for level, found in zip(self.lexicon.levels, said, strict=True):
            if found is None:
                return None
            ids, worth = found
            best = 0 if len(ids) == 1 else int(np.argmax(worth))
            if len(ids) > 1 and np.count_nonzero(worth == worth[best]) > 1:
                return None
            path.append(level.values[ids[best]])
        return tuple(path) if self.lexicon.taxonomy.is_valid(tuple(path), self.policy) else None

    def _in_order(self, path: LabelPath, values: Sequence[str]) -> Reading:
        keys = [form_key(value) for value in values]
        reading = []
        for value in path:
            place = keys.index(form_key(value))
            keys[place] = "\n"
            reading.append(place)
        return tuple(reading)

    def _other_readings(self, case: Case, best: Solution | None, hints: Hints) -> Solution | None:
        every = list(range(len(case.told)))
        free = every
        if best is not None:
            free = [level for level in every if not is_like(case.told[level], best.path[level])]
            strangers = (value for value, found in zip(case.told, case.said, strict=True) if found is None)
            if len(every) - len(free) < 2 or any(self.lexicon.is_known(form_key(value)) for value in strangers):
                free = every
            if len(free) < 2 and all(case.told):
                return best
        above = best.score if best is not None else -math.inf
        others = readings(case.values, case.first, self.likeness, above, named=not case.parsed.parts, free=free)
        in_vain = 0
        for reading, bound, cost in islice(others, _MOST_READINGS):
            if in_vain == _PATIENCE or (best is not None and bound - cost <= best.score):
                break
            other = self._weigh(reading, case.values, hints, home=False)
            in_vain += 1
            if other is not None and (best is None or other.score - cost > best.score):
                best, in_vain = other._replace(score=other.score - cost), 0
        return best

    def _weigh(self, reading: Reading, values: Sequence[str], hints: Hints, *, home: bool) -> Solution | None:
        keys = [None if place is None else form_key(values[place]) for place in reading]
        find = self.likeness.of if home else lambda value, level: evidence(value, level, self.likeness)
        found = [None if place is None else find(values[place], level) for level, place in enumerate(reading)]
        solution = self._choice(*self.explainer.best(found, keys), hints, reading, values)
        if solution is not None and self.policy == "brand-free" and len(keys) > 1:
            return self._free(solution, found, hints, reading, values)
        return solution

    def _choice(
        self, rows: Ids, scores: Scores, hints: Hints, reading: Reading | None, values: Sequence[str]
    ) -> Solution | None:
        if not len(rows):
            return None
        near = np.flatnonzero(scores >= scores.max() - NEAR)
        if len(near) == 1:
            return Solution(self.lexicon.paths[rows[near[0]]], float(scores[near[0]]), 1.0, reading)
        rows, scores = rows[near], scores[near]
        total = scores + self.ties.bonus(rows, hints)
        close = np.flatnonzero(scores >= scores.max() - _SAME_FORM)
        if reading is not None and 1 < len(close) <= _FEW:
            told = [values[place] if place is not None else "" for place in reading]
            total[close] += self.ties.written(rows[close], told)
        place = int(np.argmax(total))
        ahead = 1.0 / float(np.exp(total - total[place]).sum())
        return Solution(self.lexicon.paths[rows[place]], float(scores[place]), ahead, reading)

    def _free(
        self,
        seen: Solution,
        found: list[Evidence | None],
        hints: Hints,
        reading: Reading | None,
        values: Sequence[str],
    ) -> Solution:
        """Return the better of the best seen path and the best path whose brand was not seen there."""
        brands = found[-1]
        if brands is None or not len(brands[0]):
            return seen
        last = self.lexicon.levels[-1]
        brand = int(np.argmax(brands[1]))
        rows, scores = self.explainer.best([*found[:-1], None], [None] * len(found))
        above = self._choice(rows, scores, hints, reading, values)
        if above is None:
            return seen
        score = above.score + last.weight * float(brands[1][brand]) - _UNSEEN
        if score <= seen.score:
            return seen
        path = (*above.path[:-1], last.values[brands[0][brand]])
        return Solution(path, score, 1.0 / (1.0 + float(np.exp(seen.score - score))), reading)
