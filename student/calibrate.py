"""From the re-ranker's shares to probabilities, for each policy and each level, fitted on rows left out of training.

One map is for rows whose text training has (but for case, numbers and order), one for others: how many there will be of
each is not known. Where the rows of one shop are right clearly more or less often than a map says, their log odds are
moved by as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.schema import Policy
from measure.calibration import FLOOR, Calibrator, calibration_error_interval, expected_calibration_error
from student.judge import Judged
from student.labels import Ids, LabelSpace, Targets
from student.texts import is_known, shop_of

Shares = NDArray[np.float32]
Chances = NDArray[np.float64]
FEWEST = 30  # rows: with fewer nothing is said of a stratum
CLEAR = 3.0  # standard errors: what is nearer may be chance
_PRIOR = 1.0  # the standard deviation, in log odds, of how far strata are expected to be off
_STEPS = 25
_ROUNDS = 3
ENOUGH = 200  # rows for a map of their own
RETAILERS = 10  # in the report


@dataclass
class Sample:
    """Held-out rows that have an answer, and whether it is right.

    Attributes
    ----------
    shares : ndarray of float32, shape (rows, levels)
        The best path's share, by level.
    right : ndarray of bool, shape (rows, levels)
        Whether its first levels are right.
    strata, groups : ndarray of int64, shape (rows,)
        Of `texts.stratum`; the same for near-duplicates.
    other_shares : ndarray of float32, shape (others,)
        Shares of further candidates.
    other_right : ndarray of bool, shape (others,)
        Whether those are right.
    """

    shares: Shares
    right: NDArray[np.bool_]
    strata: Ids
    groups: Ids
    other_shares: Shares
    other_right: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.shares)

    def take(self, rows: NDArray[Any]) -> Sample:
        """Return some rows, and all further candidates."""
        return replace(
            self,
            shares=self.shares[rows],
            right=self.right[rows],
            strata=self.strata[rows],
            groups=self.groups[rows],
        )

    @classmethod
    def of(
        cls,
        judged: Sequence[Judged],
        rows: Ids,
        targets: Targets,
        groups: Ids,
        space: LabelSpace,
        levels: int,
        policy: Policy,
    ) -> Sample:
        """Compare what `rows` were told with their labels; those without an answer are left out."""
        parts: dict[str, list[NDArray[Any]]] = {
            name: [] for name in ("shares", "right", "row", "strata", "more", "hit")
        }
        at = 0
        for block in judged:
            found = block.found
            mine = rows[at : at + found.rows]
            at += found.rows
            main = np.argmax(targets.weight[mine], axis=1)
            order, ranked = block.rank(policy)
            row, first = found.row[order], ranked == 0
            truth_upper, truth_last = targets.upper[mine, main][row], targets.last[mine, main][row]
            upper = found.upper[order]
            whole = (upper == truth_upper) & (found.last[order] == truth_last)
            right = [prefix[upper] == prefix[truth_upper] for prefix in space.prefixes[: levels - 1]]
            parts["shares"].append(block.level_shares(order[first], space, levels))
            parts["right"].append(np.stack([*right, whole], axis=1)[first])
            parts["row"].append(mine[row[first]])
            parts["strata"].append(block.strata[row[first]])
            parts["more"].append(block.shares[order][~first])
            parts["hit"].append(whole[~first])
        if not parts["row"]:
            none, flat = np.zeros((0, levels), dtype=np.float32), np.zeros(0, dtype=np.int64)
            return cls(none, none.astype(bool), flat, flat, none[:, 0], none[:, 0].astype(bool))
        joined = {name: np.concatenate(arrays) for name, arrays in parts.items()}
        mine = joined["row"]
        return cls(
            joined["shares"],
            joined["right"],
            joined["strata"],
            groups[mine],
            joined["more"],
            joined["hit"],
        )


def joined_samples(one: Sample, other: Sample) -> Sample:
    """Return the rows of both, with the further candidates of the first."""
    names = ("shares", "right", "strata", "groups")
    return replace(one, **{name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in names})


@dataclass
class Calibration:
    """The maps of one policy.

    Attributes
    ----------
    levels : list of Calibrator
        For each level, from the share of the best path's prefix to the probability that the prefix is right.
    others : Calibrator
        From the share of a path that is not the best to the probability that it is right.
    known : list of Calibrator
        In place of `levels` for rows whose text training has; empty where there were too few of them.
    moved : dict of int to list of float
        For strata whose rows are clearly more or less often right than that: by level, what is added to the log odds.
    """

    levels: list[Calibrator]
    others: Calibrator
    known: list[Calibrator] = field(default_factory=list)
    moved: dict[int, list[float]] = field(default_factory=dict)

    @classmethod
    def fit(cls, left_out: Sample, new: Sample) -> Calibration:
        """Fit on held-out rows.

        Parameters
        ----------
        left_out : Sample
            Rows left out each by itself: of the text of some of them, training has near-duplicates.
        new : Sample
            Rows left out with all their near-duplicates, and such as have none, in the proportion of new products.
        """
        others = Calibrator.identity()
        if len(left_out.other_shares):
            others = Calibrator.fit(left_out.other_shares.clip(0, 1), left_out.other_right)
        known = left_out.take(is_known(left_out.strata))
        apart = min(len(known), len(new)) >= ENOUGH
        made = cls(_maps(new if apart else left_out), others, _maps(known) if apart else [])
        both = joined_samples(known, new)
        for _ in range(_ROUNDS):
            made.moved = {}
            chances = made.best(both.shares, both.strata)
            for number in np.unique(both.strata).tolist():
                mine = both.strata == number
                moves = [_move(chances[mine, level], both.right[mine, level]) for level in range(len(made.levels))]
                if any(moves):
                    made.moved[number] = moves
            # A shop that is off must not move the others: the maps are made anew without it.
            rest = ~np.isin(both.strata, list(made.moved))
            here = both.take(rest & ~is_known(both.strata)) if apart else both.take(rest)
            there = both.take(rest & is_known(both.strata))
            if len(here) >= ENOUGH:
                made.levels = _maps(here)
            if apart and len(there) >= ENOUGH:
                made.known = _maps(there)
        return made

    def best(self, level_shares: Shares, strata: Ids) -> Chances:
        """Return probabilities by level, shape (rows, levels), never rising with depth.

        Parameters
        ----------
        level_shares : ndarray of float32, shape (rows, levels)
            The best path's share, by level.
        strata : ndarray of int64, shape (rows,)
            Of `texts.stratum`.
        """
        chances = _applied(self.levels, level_shares)
        if self.known:
            chances = np.where(is_known(strata)[:, None], _applied(self.known, level_shares), chances)
        moved = [number for number in np.unique(strata).tolist() if number in self.moved]
        for number in moved:
            mine = strata == number
            odds = np.log(chances[mine] / (1 - chances[mine])) + self.moved[number]
            chances[mine] = (1 / (1 + np.exp(-odds))).clip(FLOOR, 1 - FLOOR)
        # The last level is the whole path, on which confidence rests; wider levels are at least as sure.
        return np.maximum.accumulate(chances[:, ::-1], axis=1)[:, ::-1]

    def further(self, shares: Shares, best: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return probabilities of the paths after the best, shape (rows, n), none above its forerunner's."""
        chances = np.where(shares > 0, self.others.apply(shares.clip(0, 1)), 0.0)
        both = np.concatenate([best[:, None], chances], axis=1)
        # A list of candidates is exclusive: together they cannot exceed certainty.
        room = np.maximum(1 - np.cumsum(both, axis=1) + both, FLOOR)
        return np.asarray(np.minimum.accumulate(np.minimum(both, room), axis=1)[:, 1:])

    def to_dict(self) -> dict[str, Any]:
        """Return the maps as plain values, for JSON."""
        return {
            "levels": [level.to_dict() for level in self.levels],
            "others": self.others.to_dict(),
            "known": [level.to_dict() for level in self.known],
            "moved": {str(number): moves for number, moves in self.moved.items()},
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Calibration:
        """Read what `to_dict` returned, or what it returned before it told known texts and shops apart."""
        levels = [Calibrator.from_dict(level) for level in value["levels"]]
        known = [Calibrator.from_dict(level) for level in value.get("known", [])]
        moved = {int(number): [float(move) for move in moves] for number, moves in value.get("moved", {}).items()}
        if len(known) not in (0, len(levels)):
            raise ValueError("'known' needs a map for each level")
        if any(len(moves) != len(levels) or not np.isfinite(moves).all() for moves in moved.values()):
            raise ValueError("'moved' needs one finite number for each level")
        return cls(levels, Calibrator.from_dict(value["others"]), known, moved)


def _maps(sample: Sample) -> list[Calibrator]:
    return [
        Calibrator.fit(shares, right) if len(shares) else Calibrator.identity()
        for shares, right in zip(sample.shares.T.clip(0, 1), sample.right.T, strict=True)
    ]


def _applied(maps: list[Calibrator], shares: Shares) -> Chances:
    return np.stack([one.apply(level.clip(0, 1)) for one, level in zip(maps, shares.T, strict=True)], axis=1)


def _move(chances: Chances, right: NDArray[np.bool_]) -> float:
    """Return what to add to the log odds so that they are right on the whole; 0 unless it is clear.

    A logistic regression with nothing but an intercept, drawn towards 0 by a Gaussian prior.
    """
    if len(chances) < FEWEST:
        return 0.0
    odds, move, spread = np.log(chances / (1 - chances)), 0.0, 1.0
    for _ in range(_STEPS):
        expected = 1 / (1 + np.exp(-(odds + move)))
        spread = float((expected * (1 - expected)).sum()) + 1 / _PRIOR**2
        move += float(np.clip(((right - expected).sum() - move / _PRIOR**2) / spread, -1, 1))
    return round(move, 6) if abs(move) > CLEAR / np.sqrt(spread) else 0.0


def calibration_report(left_out: Sample, new: Sample, levels: Sequence[str], shops: Sequence[str]) -> dict[str, Any]:
    """Measure what calibration does on held-out rows: fitted on one half of them, applied to the other, both ways.

    Near-duplicates are in the same half.

    Parameters
    ----------
    left_out, new : Sample
        As `Calibration.fit` takes them.
    levels, shops : sequence of str
        Their names.

    Returns
    -------
    dict
        ``rows``, ``item_accuracy``, ``mean_confidence``, ``ece_before`` and ``ece_after`` (15 equal-mass bins) with its
        bootstrap ``ece_interval``; ``by_level``; ``by_retailer`` where there are several, the `RETAILERS` largest;
        ``new_texts``: the same of `new`. Empty for one row or none.
    """
    if len(left_out) < 2:
        return {}
    after, of_new = np.zeros(left_out.shares.shape), np.zeros(new.shares.shape)
    for half in (0, 1):
        made = Calibration.fit(left_out.take(left_out.groups % 2 != half), new.take(new.groups % 2 != half))
        for sample, chances in ((left_out, after), (new, of_new)):
            here = sample.groups % 2 == half
            chances[here] = made.best(sample.shares[here], sample.strata[here])
    share, right = left_out.shares[:, -1].clip(0, 1), left_out.right
    whole = _measured(after[:, -1], right[:, -1])
    report: dict[str, Any] = {
        "rows": whole["rows"],
        "item_accuracy": whole["item_accuracy"],
        "mean_confidence": whole["mean_confidence"],
        "ece_before": round(float(expected_calibration_error(share, right[:, -1])), 6),
        "ece_after": whole["ece"],
        "ece_interval": whole["ece_interval"],
        "by_level": {
            level: {
                "accuracy": round(float(right[:, at].mean()), 6),
                "ece": round(float(expected_calibration_error(after[:, at], right[:, at])), 6),
            }
            for at, level in enumerate(levels)
        },
    }
    if len(new) and is_known(left_out.strata).any():
        report["new_texts"] = _measured(of_new[:, -1], new.right[:, -1])
    shop = shop_of(left_out.strata)
    numbers, counts = np.unique(shop[shop >= 0], return_counts=True)
    if len(numbers) > 1:
        largest = numbers[np.argsort(-counts, kind="stable")[:RETAILERS]].tolist()
        report["by_retailer"] = {
            shops[number]: _measured(after[shop == number, -1], right[shop == number, -1]) for number in largest
        }
    return report


def _measured(chances: Chances, right: NDArray[np.bool_]) -> dict[str, Any]:
    low, high = calibration_error_interval(chances, right)
    return {
        "rows": len(chances),
        "item_accuracy": round(float(right.mean()), 6),
        "mean_confidence": round(float(chances.mean()), 6),
        "ece": round(float(expected_calibration_error(chances, right)), 6),
        "ece_interval": [round(low, 6), round(high, 6)],
    }
