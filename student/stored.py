"""What a stored model must be: the facts of ``tree.json``, and for each array its type, shape and range."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from catalog.arrays import FIT_AGAIN, Shape, damaged, load_array, require_numbers, require_rising
from catalog.json_reader import checked
from catalog.schema import POLICIES, Policy
from rag.stored_vote import StoredCalibrator
from student.centroids import SKETCH
from student.evidence import WIDTH, Evidence
from student.features import BUCKETS, IDF_SLOTS
from student.rerank import HIDDEN
from student.storage import read_folder
from student.tallies import TABLES

LAYERS = ((WIDTH, HIDDEN[0]), (HIDDEN[0],), HIDDEN, (HIDDEN[1],), (HIDDEN[1], 1))
"""The shapes of a network's weights and biases."""
Share = Annotated[float, Field(ge=0, le=1)]
Interval = Annotated[list[Share], Field(min_length=2, max_length=2)]
_ROWS = 1e10  # more than there are training rows, even times the square of a standardised price
_LEAST, _MOST = int(np.iinfo(np.int64).min), int(np.iinfo(np.int64).max)


class _Stored(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class StoredCalibration(_Stored):
    """The calibrators of one policy."""

    levels: list[StoredCalibrator]
    others: StoredCalibrator
    known: list[StoredCalibrator] = Field(default_factory=list)
    moved: dict[str, list[Annotated[float, Field(ge=-100, le=100)]]] = Field(default_factory=dict)


class StoredMeasure(_Stored):
    """What was measured on rows of training that were left out."""

    rows: Annotated[int, Field(ge=0)]
    item_accuracy: Share
    mean_confidence: Share
    ece: Share
    ece_interval: Interval


class StoredLevel(_Stored):
    """The same, of one level."""

    accuracy: Share
    ece: Share


class StoredReport(BaseModel):
    """The same, before and after calibration; a model of an earlier version has the two errors alone."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    ece_before: Share
    ece_after: Share
    rows: Annotated[int, Field(ge=0)] = 0
    item_accuracy: Share = 0.0
    mean_confidence: Share = 0.0
    ece_interval: Interval | None = None
    by_level: dict[str, StoredLevel] = Field(default_factory=dict)
    new_texts: StoredMeasure | None = None
    by_retailer: dict[str, StoredMeasure] = Field(default_factory=dict)


class TreeFacts(_Stored):
    """What ``tree.json`` says.

    Attributes
    ----------
    files : dict of str to str
        The checksum of each array, by name.
    levels : list of str
        The levels' names.
    uppers : list of list of str
        Paths of all levels but the last, each once.
    lasts : list of str
        Values of the last level, each once.
    shops : list of str
        Known retailers, each once.
    sentences : str
        The name of a sentence encoder, or ``ngram`` for none.
    networks : list of int
        How many arrays each network has.
    report : dict
        For each policy, what was measured on held-out rows.
    calibrations : dict
        For each policy, its calibrators.
    """

    files: dict[str, str]
    levels: list[str] = Field(min_length=1)
    uppers: list[list[str]] = Field(min_length=1)
    lasts: list[str] = Field(min_length=1)
    shops: list[str]
    sentences: str
    networks: list[int] = Field(min_length=1)
    report: dict[str, StoredReport]
    calibrations: dict[Policy, StoredCalibration]

    def fault(self) -> str:
        """Say what of it does not go with the rest; an empty string where all does."""
        paths = [tuple(upper) for upper in self.uppers]
        if any(len(path) != len(self.levels) - 1 for path in paths):
            return "uppers: a path has other levels than levels"
        for name, values in (("levels", self.levels), ("uppers", paths), ("lasts", self.lasts), ("shops", self.shops)):
            if len(set(values)) != len(values):
                return f"{name}: a value stands twice"
        if any(count != len(LAYERS) for count in self.networks):
            return f"networks: each has {len(LAYERS)} arrays"
        for policy in POLICIES:
            if policy not in self.calibrations:
                return f"calibrations: none for the policy {policy}"
            if len(self.calibrations[policy].levels) != len(self.levels):
                return f"calibrations.{policy}: another number of levels"
        return ""


@dataclass(frozen=True)
class _Wanted:
    dtype: str
    shape: Shape
    least: float = -1e6
    most: float = 1e6


def load_stored(folder: Path) -> tuple[TreeFacts, dict[str, NDArray[Any]]]:
    """Read what `storage.save_folder` wrote; arrays stay on disk until they are used (memory-mapped).

    Raises
    ------
    ShelfmarkError
        When there is no such model, it is of another kind or version, or a file is missing, damaged, or does not go
        with the others.
    """
    file = folder / "tree.json"
    facts = checked(TreeFacts, read_folder(folder), str(file), FIT_AGAIN)
    fault = facts.fault()
    if fault:
        raise damaged(file, fault)
    return facts, StoredArrays(folder, facts).read()


class StoredArrays:
    """Reads a model's arrays, each as it must be beside the others.

    Parameters
    ----------
    folder : Path
        The model's.
    facts : TreeFacts
        Without a `fault`.
    """

    def __init__(self, folder: Path, facts: TreeFacts) -> None:
        self._folder, self._facts = folder, facts

    def read(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name, memory-mapped.

        Raises
        ------
        ShelfmarkError
            When one is missing, or is not what the facts and the others make of it.
        """
        facts = self._facts
        uppers, lasts = len(facts.uppers), len(facts.lasts)
        arrays = {f"evidence_{name}_keys": self._array(f"evidence_{name}_keys", "<i8", (None,)) for name in TABLES}
        pairs = arrays["evidence_pairs_keys"]
        for name in TABLES:
            keys = arrays[f"evidence_{name}_keys"]
            if not len(keys):
                raise damaged(self._file(f"evidence_{name}_keys"), "it is empty")
            high = uppers * lasts - 1 if name == "pairs" else _MOST
            low = 0 if name == "pairs" else _LEAST
            require_rising(self._file(f"evidence_{name}_keys"), keys, low=low, high=high, strictly=True)
        classes = {"upper": uppers, "last": lasts, "pair": len(pairs)}
        middles = self._array("evidence_middle_upper", "<f4", (uppers, None))
        meaning = middles.shape[1] - SKETCH  # dimensions of the sentence encoder
        if meaning < 0 or (meaning == 0) != (facts.sentences == "ngram"):
            raise damaged(self._file("evidence_middle_upper"), f"{middles.shape[1]:,} columns")
        wanted = {
            "idf": _Wanted("<f4", (IDF_SLOTS,), least=0, most=100),
            "weights": _Wanted("<f2", (None, uppers + lasts)),
            "scale_mean": _Wanted("<f4", (WIDTH,)),
            "scale_deviation": _Wanted("<f4", (WIDTH,), least=1e-9, most=1e10),
            "evidence_price_scale": _Wanted("<f4", (2,)),
            "evidence_total_shop": _Wanted("<f4", (max(len(facts.shops), 1),), least=0, most=_ROWS),
            **{f"evidence_{name}_values": self._values(arrays[f"evidence_{name}_keys"]) for name in TABLES},
        }
        for kind in Evidence.KINDS:
            wanted[f"evidence_total_{kind}"] = _Wanted("<f4", (classes[kind],), least=0, most=_ROWS)
            wanted[f"evidence_sums_{kind}"] = _Wanted("<f4", (classes[kind], 3), least=-_ROWS, most=_ROWS)
            wanted[f"evidence_middle_{kind}"] = _Wanted(
                "<f4", (classes[kind], SKETCH + meaning), least=-_ROWS, most=_ROWS
            )
        for turn in range(len(facts.networks)):
            wanted |= {f"network_{turn}_{layer}": _Wanted("<f4", shape) for layer, shape in enumerate(LAYERS)}
        for name, one in wanted.items():
            arrays[name] = self._array(name, one.dtype, one.shape)
            require_numbers(self._file(name), arrays[name], least=one.least, most=one.most)
        if "known_texts" in facts.files:  # a model that was fitted before they were kept has none
            keys = self._array("known_texts", "<u8", (None,))
            require_rising(self._file("known_texts"), keys, low=0, high=2**64 - 1, strictly=True)
            arrays["known_texts"] = keys
        buckets = arrays["weights"].shape[0] - meaning
        if not 1 <= buckets <= BUCKETS or buckets & (buckets - 1):
            raise damaged(self._file("weights"), f"{buckets:,} buckets, which is no power of two up to {BUCKETS:,}")
        if arrays["evidence_price_scale"][1] < 1e-7:  # at least 1e-6 is written
            raise damaged(self._file("evidence_price_scale"), "prices do not spread")
        return arrays

    @staticmethod
    def _values(keys: NDArray[Any]) -> _Wanted:
        return _Wanted("<f4", (len(keys),), least=0, most=_ROWS)

    def _array(self, name: str, dtype: str, shape: Shape) -> NDArray[Any]:
        if name not in self._facts.files:
            raise damaged(self._folder / "tree.json", f"files: no {name}")
        return load_array(self._file(name), dtype, shape)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.npy"
