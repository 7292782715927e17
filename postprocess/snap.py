"""Snap raw answers onto valid label paths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from catalog.errors import ShelfmarkError, nearest
from catalog.messages import LabelPath
from catalog.schema import POLICIES, SEPARATOR, Policy
from catalog.taxonomy import Taxonomy
from postprocess.changes import Change, changes_of, form_changes, shown
from postprocess.forms import form_key, is_same_form
from postprocess.lexicon import Lexicon
from postprocess.likeness import Embed
from postprocess.parse import parse
from postprocess.processes import shared_out
from postprocess.readings import Reading
from postprocess.solve import Case, Solution, Solver
from postprocess.ties import Hints

_ROOM = 200_000
_BLOCK = 2048
"""So many malformed answers are prepared at once."""

SnapStatus = Literal["exact", "repaired", "fallback", "left"]


class Snapped(NamedTuple):
    """A snapped answer.

    Parameters
    ----------
    path : label path or None
        A valid path. None where the answer was of no use (``fallback``: the caller takes its best candidate) or was
        left alone on request (``left``).
    status : str
        ``exact``: the answer named the path, up to form; ``repaired``; ``fallback``; ``left``.
    sureness : float
        In [0, 1]: how far the answer is explained, and how far ahead of other paths this one is. 1 for ``exact``.
    changes : tuple of Change
        Every level whose value is not written as answered: (level, was, became, rule). For ``left``, what would have
        been changed.
    answered : tuple of str
        The answered value of each level as far as it could be read, else an empty text.
    """

    path: LabelPath | None
    status: SnapStatus
    sureness: float
    changes: tuple[Change, ...] = ()
    answered: tuple[str, ...] = ()


class Snapper:
    """Turns malformed answers into valid label paths. Several threads need one each.

    Parameters
    ----------
    taxonomy : Taxonomy
        The valid paths.
    policy : {'path', 'brand-free'}
        What a valid path is; see `Taxonomy.is_valid`.
    leave_below : float
        Leave an answer alone whose repair is less sure than this (0: repair all).
    embed : callable, optional
        Sentence embeddings beside letters: takes a list of texts, returns vectors of length 1, shape (texts, dims).

    Raises
    ------
    ShelfmarkError
        When the policy is unknown or `leave_below` is not in [0, 1].

    Examples
    --------
    >>> from catalog.taxonomy import Taxonomy
    >>> shelves = Taxonomy(("module", "brand"), {("cider", "bulmers"): 3, ("lager", "stella"): 5})
    >>> Snapper(shelves).snap("Ciders > Bulmer").path
    ('cider', 'bulmers')
    """

    def __init__(
        self, taxonomy: Taxonomy, policy: Policy = "path", *, leave_below: float = 0.0, embed: Embed | None = None
    ) -> None:
        if policy not in POLICIES:
            raise ShelfmarkError(f"policy '{policy}' is not one of {', '.join(POLICIES)}{nearest(policy, POLICIES)}")
        if not 0.0 <= leave_below <= 1.0:
            raise ShelfmarkError(f"--leave-below {leave_below}: it must be from 0 to 1")
        self.taxonomy = taxonomy
        self.policy: Policy = policy
        self.leave_below = leave_below
        self.lexicon = Lexicon.of(taxonomy)
        self._right: dict[str, Snapped] = {}
        # Under `brand-free` far more answers are right than there are paths.
        self._room = max(_ROOM, 2 * len(taxonomy))
        self._solver = Solver(self.lexicon, policy, embed)

    def snap(self, answer: str, *, text: str = "", retailer: str = "", candidates: Sequence[LabelPath] = ()) -> Snapped:
        """Snap one answer.

        Parameters
        ----------
        answer : str
            The raw answer, whatever it is.
        text, retailer : str
            The product's description and shop; they break ties.
        candidates : sequence of label paths
            Likely paths, best first; they break ties.
        """
        self._make_room()
        exact = self._exact(answer)
        if exact is not None:
            return exact
        return self._unsettled([(answer, Hints(text, retailer, tuple(candidates)))])[0]

    def snap_all(
        self,
        answers: Sequence[str],
        *,
        texts: Sequence[str] | None = None,
        retailers: Sequence[str] | None = None,
        candidates: Sequence[Sequence[LabelPath]] | None = None,
        processes: int = 1,
    ) -> list[Snapped]:
        """Snap many answers: the same results as `snap` for each, much faster.

        Parameters
        ----------
        answers : sequence of str
            Raw answers.
        texts, retailers, candidates : sequence, optional
            As for `snap`, one for each answer.
        processes : int
            So many work at it where there is much to do; see `shared_out`. With embeddings it is always one.

        Returns
        -------
        list of Snapped
            One for each answer, in order; none depends on any other.
        """
        self._make_room()
        for answer in dict.fromkeys(answers):
            self._exact(answer)
        results = list(map(self._right.get, answers))
        unsettled = [row for row, result in enumerate(results) if result is None]
        asked = [
            (
                answers[row],
                Hints(
                    texts[row] if texts is not None else "",
                    retailers[row] if retailers is not None else "",
                    tuple(candidates[row]) if candidates is not None else (),
                ),
            )
            for row in unsettled
        ]
        snapped = shared_out(self._unsettled, asked, processes if self._solver.likeness.embed is None else 1)
        for row, one in zip(unsettled, snapped, strict=True):
            results[row] = one
        return [result for result in results if result is not None]

    def _unsettled(self, asked: Sequence[tuple[str, Hints]]) -> list[Snapped]:
        """Snap answers that are no valid labels as they stand."""
        done: dict[tuple[str, Hints], Snapped] = {}
        for start in range(0, len(asked), _BLOCK):
            block = [one for one in dict.fromkeys(asked[start : start + _BLOCK]) if one not in done]
            cases = self._cases([answer for answer, _ in block])
            done |= {(answer, hints): self._snapped(cases[answer], hints) for answer, hints in block}
        return [done[one] for one in asked]

    def _make_room(self) -> None:
        if len(self._right) > self._room:
            self._right.clear()

    def _exact(self, answer: str) -> Snapped | None:
        known = self._right.get(answer)
        if known is not None:
            return known
        path = self.taxonomy.parse(answer)
        if path is None and self.policy == "brand-free":
            parts = tuple(answer.split(SEPARATOR))
            path = parts if self.taxonomy.is_valid(parts, self.policy) else None
        if path is None:
            return None
        known = self._right[answer] = Snapped(path, "exact", 1.0, (), path)
        return known

    def _cases(self, answers: Iterable[str]) -> dict[str, Case | None]:
        """Return the case of each answer, None where it is of no use."""
        parsed = {answer: parse(answer, self.lexicon) for answer in dict.fromkeys(answers)}
        usable = [answer for answer, one in parsed.items() if one.usable]
        cases = self._solver.cases(parsed[answer] for answer in usable)
        return dict.fromkeys(parsed) | dict(zip(usable, cases, strict=True))

    def _snapped(self, case: Case | None, hints: Hints) -> Snapped:
        if case is None:
            return Snapped(None, "fallback", 0.0)
        if case.parsed.others:
            return self._contradicted(case, hints)
        if case.plain is not None:
            if len(case.parsed.parts) > len(case.plain):
                return self._result(Solution(case.plain, self._solver.total, 1.0, case.first), case, hints)
            changes = form_changes(self.taxonomy.levels, case.told, case.plain)
            return Snapped(case.plain, "exact", 1.0, changes, case.told)
        solution = self._solver.solve(case, hints)
        if solution is None:
            return Snapped(None, "fallback", 0.0, (), case.told)
        return self._result(solution, case, hints)

    def _contradicted(self, case: Case, hints: Hints) -> Snapped:
        """Return what is made of an answer that contradicts itself: less sure, and with what it overrode as dropped."""
        others = case.parsed.others
        one = self._snapped(case._replace(parsed=replace(case.parsed, others=())), hints)
        sureness = round(one.sureness / (1 + len(others)), 6)
        changes = (*one.changes, *(Change("", shown(other), "", "dropped") for other in others))
        if one.path is None or sureness < self.leave_below:
            return Snapped(None, "left" if one.path else one.status, sureness, changes, one.answered)
        return Snapped(one.path, "repaired", sureness, changes, one.answered)

    def _result(self, solution: Solution, case: Case, hints: Hints) -> Snapped:
        path, reading = solution.path, solution.reading
        if reading is None:
            told, changes = self._read_as_text(path, case.parsed.text)
            kept = 1.0
        else:
            told, changes, kept = self._read_in_parts(path, reading, case, hints)
        share = min(1.0, max(0.0, solution.score / self._solver.total))
        sureness = round(share * solution.ahead * kept, 6)
        if reading is not None and all(change.rule == "form" for change in changes):
            return Snapped(path, "exact", 1.0, changes, told)
        if sureness < self.leave_below:
            return Snapped(None, "left", sureness, changes, told)
        return Snapped(path, "repaired", sureness, changes, told)

    def _read_in_parts(
        self, path: LabelPath, reading: Reading, case: Case, hints: Hints
    ) -> tuple[tuple[str, ...], tuple[Change, ...], float]:
        """Return the value told for each level, the changes, and the share of the known values that the path keeps."""
        read = [case.values[place] if place is not None else "" for place in reading]
        told = case.told
        if case.parsed.parts and len(case.parsed.parts) != len(path):
            # Parts of which some level's is missing have no level of their own before they are read.
            told = tuple(read)
        placed = [bool(read[n]) and read[n] != told[n] and is_same_form(read[n], value) for n, value in enumerate(path)]
        sold = path in self.taxonomy.retailers.get(hints.retailer, ())
        changes = changes_of(self.taxonomy.levels, told, placed, path, sold=sold, seen=path in self.taxonomy)
        if len(case.parsed.parts) <= len(path):
            return told, changes, 1.0
        used = {place for place in reading if place is not None}
        extra = [value for place, value in enumerate(case.parsed.parts) if value and place not in used]
        # A label that is said twice has no value too many.
        extra = [value for value in extra if not any(is_same_form(value, own) for own in path)]
        known = sum(self.lexicon.is_known(form_key(value)) for value in extra)
        changes += tuple(Change("", shown(value), "", "dropped") for value in extra)
        return told, changes, len(path) / (len(path) + known)

    def _read_as_text(self, path: LabelPath, text: str) -> tuple[tuple[str, ...], tuple[Change, ...]]:
        """Return the values of a path that a text names, and the others as changes."""
        words = f" {form_key(text)} "
        named = [f" {form_key(value)} " in words for value in path]
        told = tuple(value if has else "" for value, has in zip(path, named, strict=True))
        changes = tuple(
            Change(level, shown(text), value, "text")
            for level, value, has in zip(self.taxonomy.levels, path, named, strict=True)
            if not has
        )
        return told, changes
