"""Trust: how often an answer of so much confidence is right, learned on held-out rows that have no candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from classify.choice import FOLDS
from classify.joint import FEWEST
from measure.calibration import Calibrator, expected_calibration_error


@dataclass(frozen=True)
class Trust:
    """Turns what an answer says of its own sureness into the probability that it is right.

    Attributes
    ----------
    calibrator : Calibrator
        From the one to the other.
    report : dict
        ``rows`` (held out), ``answers`` (their item accuracy), and the calibration error before (``ece_before``) and
        after (``ece_after``, each row by a map fitted on others).
    """

    calibrator: Calibrator
    report: dict[str, Any] = field(default_factory=dict)

    def probability(self, confidence: float) -> float:
        """Return the probability that an answer of this raw confidence, in [0, 1], is right."""
        return float(self.calibrator.apply(confidence))

    @classmethod
    def fit(cls, confidence: Sequence[float], right: Sequence[bool]) -> Trust | None:
        """Learn from held-out rows; None where there are fewer than `FEWEST`.

        Parameters
        ----------
        confidence : sequence of float
            What each answer says of its sureness, in [0, 1].
        right : sequence of bool
            Whether it names the row's label; same length.
        """
        if len(confidence) < FEWEST:
            return None
        raw, hits = np.array(confidence, dtype=np.float64), np.array(right, dtype=bool)
        fold = np.arange(len(raw)) % FOLDS
        told = np.empty_like(raw)
        for left_out in range(FOLDS):
            mine = fold == left_out
            told[mine] = Calibrator.fit(raw[~mine], hits[~mine]).apply(raw[mine])
        report = {
            "rows": len(raw),
            "answers": round(float(hits.mean()), 6),
            "ece_before": round(expected_calibration_error(raw, hits), 6),
            "ece_after": round(expected_calibration_error(told, hits), 6),
        }
        return cls(Calibrator.fit(raw, hits), report)
