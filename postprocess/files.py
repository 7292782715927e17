"""From a file of raw answers to a file of predictions, with every change written down."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError
from catalog.files import atomic_write
from catalog.messages import STATUSES, LabelPath, Prediction, RowId, Status
from catalog.products import Products
from catalog.schema import Policy, Schema
from catalog.sheets import SheetWriter
from catalog.taxonomy import Taxonomy
from postprocess.answers import Answers, read_answers
from postprocess.changes import RULES, Change, shown
from postprocess.snap import Snapped, Snapper

SUFFIXES = (".jsonl", ".ndjson", ".json", ".predict", ".csv")
_CHANGED = ("id", "level", "was", "became", "rule", "sureness", "left")
_BLOCK = 4096
_SHARED = 1 << 14
"""So many answers are snapped at once by several processes: enough that a tenth of them is worth their start."""

_MEANINGS = {
    "exact": "a valid path, up to form",
    "repaired": "snapped onto a valid path",
    "fallback": "of no use; the most frequent path instead",
    "abstained": "left alone: written as answered",
    "failed": "an error; the most frequent path instead",
}


@dataclass(frozen=True)
class Summary:
    """What snapping did to a file.

    Parameters
    ----------
    rows : int
        Answers read, and predictions written.
    statuses : dict of str to int
        Predictions by status.
    rules : dict of str to int
        Changes by rule, the most frequent first; see `postprocess.changes.RULES`. Those that were not made, because the
        answer was left alone, are not counted.
    """

    rows: int
    statuses: dict[str, int]
    rules: dict[str, int]

    def lines(self) -> list[str]:
        """Return the summary as lines of text."""
        width = max(map(len, (*self.statuses, *self.rules)), default=0)

        def line(name: str, count: int, meaning: str) -> str:
            return f"  {name:<{width}}  {count:>9,}  {meaning}"

        return [
            f"{self.rows:,} answers",
            *(line(status, count, _MEANINGS[status]) for status, count in self.statuses.items()),
            *(["changes, by rule"] if self.rules else []),
            *(line(rule, count, RULES[rule]) for rule, count in self.rules.items()),
        ]


def snap_file(
    answers: str | Path | Sequence[str | Path],
    taxonomy: Taxonomy,
    out: str | Path,
    schema: Schema,
    *,
    policy: Policy = "path",
    leave_below: float = 0.0,
    products: Products | None = None,
    changes: str | Path | None = None,
    processes: int = 1,
) -> Summary:
    """Snap one or several files of raw answers and write predictions, one for each id, in the same order.

    Parameters
    ----------
    answers : str, Path or sequence of them
        See `read_answers`.
    taxonomy : Taxonomy
        The valid paths; `Taxonomy.from_labels` makes it of training rows.
    out, schema, products, changes, processes
        See `snap_answers`.
    policy, leave_below
        See `Snapper`.

    Raises
    ------
    ShelfmarkError
        When a file or an option is wrong. Then nothing is written.
    """
    files = [answers] if isinstance(answers, str | Path) else answers
    check_places(out, changes, files)
    snapper = Snapper(taxonomy, policy, leave_below=leave_below)
    found = read_answers(files, schema)
    return snap_answers(found, snapper, out, schema, products=products, changes=changes, processes=processes)


def snap_answers(
    answers: Answers,
    snapper: Snapper,
    out: str | Path,
    schema: Schema,
    *,
    products: Products | None = None,
    changes: str | Path | None = None,
    advance: Callable[[int], None] | None = None,
    processes: int = 1,
) -> Summary:
    """Snap answers and write predictions, one for each, in the same order.

    An answer of no use becomes the most frequent path (of its retailer, where `products` tells it), with the status
    ``fallback``, or ``failed`` where there is an error instead of an answer. One that is left alone keeps the values
    that were answered, as far as they could be read, with the status ``abstained``.

    Parameters
    ----------
    answers : Answers
        The raw answers.
    snapper : Snapper
        Knows the valid paths.
    out : str or Path
        Predictions as JSON lines or CSV; a ``.predict`` file gets the id and the levels alone. ``.gz`` compresses.
    schema : Schema
        Names the id column and the levels.
    products : Products, optional
        The products that were answered for: their descriptions and retailers break ties.
    changes : str or Path, optional
        Where every change is kept, as JSON lines or CSV: id, level, was, became, rule, sureness, and whether the answer
        was left alone instead. By default `changes_beside` `out`.
    advance : callable, optional
        Told how many more answers are done.
    processes : int
        So many snap where there is much to do; see `Snapper.snap_all`.

    Raises
    ------
    ShelfmarkError
        When a file or an option is wrong. Then nothing is written.
    """
    check_places(out, changes, [])
    ids, said, failed = answers.ids, answers.texts, answers.failed
    texts, retailers = _hints(ids, products)
    frequent = _Frequent(snapper.taxonomy)
    statuses: Counter[Status] = Counter()
    rules: Counter[str] = Counter()
    # Both are open before the first answer is snapped: a place where nothing can be written is found at once.
    with _written(out, _columns(out, schema)) as predicted, _written(changes or changes_beside(out), _CHANGED) as kept:
        size = _SHARED if processes > 1 else _BLOCK
        for start in range(0, len(ids), size):
            block = slice(start, start + size)
            snapped = snapper.snap_all(
                said[block],
                texts=texts and texts[block],
                retailers=retailers and retailers[block],
                processes=processes,
            )
            for row, one in enumerate(snapped, start):
                best = frequent.path(retailers[row] if retailers else "")
                prediction = _prediction(ids[row], one, best, failed=row in failed)
                predicted(prediction.to_dict(schema.id, schema.levels))
                statuses[prediction.status] += 1
                left = one.status == "left"
                if prediction.status == "fallback":
                    one = one._replace(changes=_replaced(one, said[row], best, schema))
                for change in one.changes:
                    kept({"id": ids[row], **change._asdict(), "sureness": one.sureness, "left": left})
                rules.update(change.rule for change in one.changes if not left)
            if advance is not None:
                advance(len(snapped))
    return Summary(len(ids), {name: statuses[name] for name in STATUSES if statuses[name]}, dict(rules.most_common()))


def changes_beside(out: str | Path) -> Path:
    """Return the file beside `out` that the changes go to by default, which is no other output's.

    Of ``NAME.jsonl`` it is ``NAME.changes.jsonl``, of ``NAME.csv`` and all others ``NAME.csv.changes.jsonl``.
    """
    out = Path(out)
    return out.with_name(out.name.removesuffix(".jsonl") + ".changes.jsonl")


def check_places(out: str | Path, changes: str | Path | None, inputs: Iterable[str | Path]) -> None:
    """Refuse places that cannot be written to, or that something is read from: of a folder, all that is in it.

    Raises
    ------
    ShelfmarkError
        When a kind of file is unknown, a file is a folder, or two are the same.
    """
    read = {Path(place).resolve() for place in inputs}
    kept = Path(changes or changes_beside(out))
    for place in (Path(out), kept):
        _kind(place)
        if place.is_dir():
            raise ShelfmarkError(f"{place}: a folder, not a file")
        if not read.isdisjoint((place.resolve(), *place.resolve().parents)):
            raise ShelfmarkError(f"{place}: it is read from, or lies in a folder that is; write elsewhere")
    if Path(out).resolve() == kept.resolve():
        raise ShelfmarkError(f"{out}: predictions and changes cannot go to the same file")


def _kind(path: str | Path) -> str:
    suffix = Path(Path(path).name.removesuffix(".gz")).suffix.lower()
    if suffix not in SUFFIXES:
        raise ShelfmarkError(f"{path}: cannot tell its kind; name it {', '.join(SUFFIXES)} (also with .gz)")
    return suffix


def _columns(out: str | Path, schema: Schema) -> tuple[str, ...]:
    columns = (schema.id, *schema.levels)
    return columns if _kind(out) == ".predict" else (*columns, "confidence", "status")


@contextmanager
def _written(path: str | Path, columns: Sequence[str]) -> Iterator[Callable[[dict[str, Any]], object]]:
    """Write rows of these columns as a sheet or JSON lines, by the name of the file: whole, or not at all."""
    with atomic_write(path) as stream:
        if _kind(path) == ".csv":
            sheet = SheetWriter(stream, quote_text=True)
            sheet.write(columns)
            yield lambda row: sheet.write([row[column] for column in columns])
        else:
            # `json.dumps` would make an encoder for each row.
            encode = json.JSONEncoder(ensure_ascii=False).encode
            yield lambda row: stream.write(encode({column: row[column] for column in columns}) + "\n")


def _hints(ids: Sequence[RowId], products: Products | None) -> tuple[list[str] | None, list[str] | None]:
    if products is None:
        return None, None
    rows = {name: row for row, name in enumerate(products.ids)}
    missing = next((name for name in ids if name not in rows), None)
    if missing is not None:
        raise ShelfmarkError(f"the answer {missing!r} has no product; give the products that were asked for, or none")
    found, texts = [rows[name] for name in ids], products.texts
    return [texts[row] for row in found], [products.retailers[row] for row in found]


def _replaced(snapped: Snapped, answer: str, path: LabelPath, schema: Schema) -> tuple[Change, ...]:
    """Return the changes to a path that stands in for an answer of no use."""
    was = snapped.answered if any(snapped.answered) else (shown(answer.strip()),) * len(path)
    return tuple(Change(*change, "fallback") for change in zip(schema.levels, was, path, strict=True))


class _Frequent:
    """The most frequent path, of each retailer and of all."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self.of_all = max(taxonomy.counts, key=taxonomy.counts.__getitem__)
        self.by_retailer = {name: max(counts, key=counts.__getitem__) for name, counts in taxonomy.retailers.items()}

    def path(self, retailer: str) -> LabelPath:
        return self.by_retailer.get(retailer, self.of_all)


def _prediction(name: RowId, snapped: Snapped, frequent: LabelPath, *, failed: bool) -> Prediction:
    if snapped.status == "left":
        return Prediction(name, snapped.answered, snapped.sureness, "abstained")
    if snapped.path is None:
        return Prediction(name, frequent, 0.0, "failed" if failed else "fallback")
    return Prediction(name, snapped.path, snapped.sureness, "exact" if snapped.status == "exact" else "repaired")
