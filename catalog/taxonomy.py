"""The valid label paths, as a tree over the levels, with counts."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from catalog.errors import ShelfmarkError
from catalog.files import atomic_write
from catalog.messages import LabelPath
from catalog.schema import SEPARATOR, Policy, Schema, load_schema
from catalog.tables import OTHER_NAMES, read_table


class Taxonomy:
    """The set of valid label paths.

    Parameters
    ----------
    levels : tuple of str
        The names of the levels, widest first.
    counts : mapping of label path to int
        How many labelled products each path has (1 where only its existence is known).
    retailers : mapping of str to mapping of label path to int, optional
        The same for each retailer.

    Attributes
    ----------
    paths : list of label paths
        Sorted, each once.
    """

    def __init__(
        self,
        levels: tuple[str, ...],
        counts: Mapping[LabelPath, int],
        retailers: Mapping[str, Mapping[LabelPath, int]] | None = None,
    ) -> None:
        if not counts:
            raise ShelfmarkError("the taxonomy is empty: it needs at least one label path")
        self.levels = levels
        self.paths: list[LabelPath] = sorted(counts)
        self.counts: dict[LabelPath, int] = {path: counts[path] for path in self.paths}
        self.retailers = {name: dict(paths) for name, paths in sorted((retailers or {}).items())}
        self.brands: set[str] = {path[-1] for path in self.paths}
        self._children: dict[LabelPath, set[str]] = defaultdict(set)
        for path in self.paths:
            for depth in range(len(levels)):
                self._children[path[:depth]].add(path[depth])
        self._joined: dict[str, LabelPath] = {}
        for path in self.paths:
            joined = SEPARATOR.join(path)
            if joined in self._joined:
                raise ShelfmarkError(
                    f"two label paths are both written '{joined}': rename a value that begins or ends with '_'"
                )
            self._joined[joined] = path

    def __len__(self) -> int:
        """Return the number of paths."""
        return len(self.paths)

    def __contains__(self, path: object) -> bool:
        """Tell whether the whole path was seen."""
        return path in self.counts

    def children(self, prefix: LabelPath) -> list[str]:
        """Return the values of the next level under `prefix`, sorted; an empty list where there are none."""
        return sorted(self._children.get(prefix, ()))

    def is_valid(self, path: LabelPath, policy: Policy = "path") -> bool:
        """Tell whether `path` is valid.

        Under ``path`` the whole path was seen. Under ``brand-free`` the levels above the last form a seen path and
        the last value (the brand) is a known one.
        """
        if policy == "path" or len(self.levels) == 1:
            return path in self.counts
        return len(path) == len(self.levels) and path[:-1] in self._children and path[-1] in self.brands

    def parse(self, joined: str) -> LabelPath | None:
        """Return the path that is written `joined`, or None where there is none."""
        return self._joined.get(joined)

    @classmethod
    def from_labels(
        cls, labels: Iterable[LabelPath], levels: tuple[str, ...], retailers: Sequence[str] | None = None
    ) -> Taxonomy:
        """Count the paths of labelled products, and those of each retailer (one for each label) where given.

        Products without a retailer (an empty string) count among the paths alone.
        """
        labels = list(labels)
        by_retailer: dict[str, Counter[LabelPath]] = defaultdict(Counter)
        if retailers is not None:
            for retailer, path in zip(retailers, labels, strict=True):
                if retailer:
                    by_retailer[retailer][path] += 1
        return cls(levels, Counter(labels), by_retailer)

    @classmethod
    def read(cls, path: str | Path, schema: str | Schema = "indoml") -> Taxonomy:
        """Read a CSV file (plain or gzipped) with the level columns, and optionally ``retailer`` and ``count``.

        Raises
        ------
        ShelfmarkError
            When a level column or value is missing, a value contains ``__`` or a count is not a whole number.
        """
        schema = load_schema(schema) if isinstance(schema, str) else schema
        counts: Counter[LabelPath] = Counter()
        retailers: dict[str, Counter[LabelPath]] = defaultdict(Counter)
        for row in read_table(path, required=schema.levels, hint=OTHER_NAMES):
            label = row.label(schema.levels)
            count = row.whole_number("count", default=1)
            counts[label] += count
            retailer = row.text("retailer", default="")
            if retailer:
                retailers[retailer][label] += count
        return cls(schema.levels, counts, retailers)

    def write(self, path: str | Path) -> None:
        """Write the taxonomy as CSV: one row for each path, or for each retailer and path where both are known.

        Counts that belong to no retailer get rows with an empty one.
        """
        # The csv module of Python 3.11 leaves a lone carriage return unquoted, and then cannot read it.
        bare = any("\r" in value for words in (*self.paths, tuple(self.retailers)) for value in words)
        with atomic_write(path) as stream:
            quoting: Literal[0, 2] = csv.QUOTE_NONNUMERIC if bare else csv.QUOTE_MINIMAL
            writer = csv.writer(stream, lineterminator="\n", quoting=quoting)
            if self.retailers:
                writer.writerow(["retailer", *self.levels, "count"])
                for retailer, paths in self.retailers.items():
                    writer.writerows([retailer, *label, count] for label, count in sorted(paths.items()))
                known: Counter[LabelPath] = Counter()
                for paths in self.retailers.values():
                    known.update(paths)
                rest = ((label, count - known[label]) for label, count in self.counts.items())
                writer.writerows(["", *label, count] for label, count in rest if count > 0)
            else:
                writer.writerow([*self.levels, "count"])
                writer.writerows([*label, count] for label, count in self.counts.items())
