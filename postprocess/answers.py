"""Files of raw answers, from wherever they come, and the predictions that snapping makes of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError
from catalog.files import atomic_write
from catalog.messages import LabelPath, Prediction, RowId, Status
from catalog.products import Products
from catalog.schema import SEPARATOR, Schema
from catalog.tables import Row, read_table
from catalog.taxonomy import Policy, Taxonomy
from postprocess.changes import RULES
from postprocess.snap import Snapped, Snapper

_HASHED_ID = re.compile(r"(.+)-[0-9a-f]{8}")
_OUT_SUFFIXES = (".jsonl", ".ndjson", ".json", ".predict")


@dataclass
class Answers:
    """The raw answers of a file, in its order.

    Parameters
    ----------
    ids : list of int or str
        One for each answer, unique.
    texts : list of str
        The raw answers; empty where there was an error instead.
    failed : set of int
        The places of the answers that are errors.
    """

    ids: list[RowId] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    failed: set[int] = field(default_factory=set)

    def __len__(self) -> int:
        """Return the number of answers."""
        return len(self.ids)


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
        Changes by rule, the most frequent first; see `postprocess.changes.RULES`.
    """

    rows: int
    statuses: dict[str, int]
    rules: dict[str, int]

    def lines(self) -> list[str]:
        """Return the summary as lines of text."""
        width = max(map(len, (*self.statuses, *self.rules)), default=0)
        return [
            f"{self.rows:,} answers",
            *(f"  {status:<{width}}  {count:>9,}" for status, count in self.statuses.items()),
            *(["changes, by rule"] if self.rules else []),
            *(f"  {rule:<{width}}  {count:>9,}  {RULES[rule]}" for rule, count in self.rules.items()),
        ]


def read_answers(path: str | Path, schema: Schema) -> Answers:
    """Read the raw answers of a file.

    Parameters
    ----------
    path : str or Path
        JSON lines, CSV or Parquet (text also gzipped) of one of these kinds, told apart row by row: the id column and
        ``answer``; the id column and the levels (a ``.predict`` file); lines of OpenAI's Batch API output
        (``custom_id``, ``response``, ``error``); lines of a run's ``completions.jsonl`` (``id``, ``text``). The hash
        that a run appends to its request ids is taken off again.
    schema : Schema
        Names the id column and the levels.

    Raises
    ------
    ShelfmarkError
        When the file or a row of it is none of these, or an id occurs twice.
    """
    answers = Answers()
    seen: dict[RowId, str] = {}
    for row in read_table(path):
        name, text = _answer(row, schema)
        if name in seen:
            raise row.fault(f"the id {name!r} occurs twice, first in {seen[name]}; one answer for each id")
        seen[name] = row.place
        if text is None:
            answers.failed.add(len(answers.ids))
        answers.ids.append(name)
        # Half a surrogate pair (an emoji that a token limit cut in two) cannot be written to a file again.
        answers.texts.append((text or "").encode("utf-8", "replace").decode("utf-8"))
    return answers


def _answer(row: Row, schema: Schema) -> tuple[RowId, str | None]:
    """Return the id and the raw answer of a row, None for an error."""
    values = row.values
    if "custom_id" in values:
        return _row_id(row, "custom_id"), _batch_answer(row)
    if schema.id not in values and "id" in values and ("text" in values or "error" in values):
        return _row_id(row, "id"), None if values.get("error") else _raw(row, "text")
    name = row.id(schema.id)
    if "answer" in values:
        answer = values["answer"]
        # An answer that was written as an object instead of as text is read like the text of it.
        return name, json.dumps(answer, ensure_ascii=False) if isinstance(answer, dict | list) else _raw(row, "answer")
    if any(level in values for level in schema.levels):
        path = [row.text(level, default="") for level in schema.levels]
        if all(path) and not any(SEPARATOR in value for value in path):
            return name, SEPARATOR.join(path)
        return name, json.dumps(dict(zip(schema.levels, path, strict=True)), ensure_ascii=False) if any(path) else ""
    raise row.fault(
        f"no answer here; it needs a column 'answer', or the levels ({', '.join(schema.levels)}), or to be a line of "
        f"Batch API output; columns here: {', '.join(values) or 'none'}"
    )


def _raw(row: Row, column: str) -> str:
    # A model's text is taken as it is; what the user's own columns may not hold is no fault of the file here.
    value = row.values.get(column)
    return value if isinstance(value, str) else row.text(column, default="")


def _row_id(row: Row, column: str) -> RowId:
    value = row.values[column]
    match = _HASHED_ID.fullmatch(value) if isinstance(value, str) else None
    return Row(row.file, row.place, {column: match[1]}).id(column) if match else row.id(column)


def _batch_answer(row: Row) -> str | None:
    response = row.values.get("response")
    if row.values.get("error") or not isinstance(response, dict) or response.get("status_code", 200) != 200:
        return None
    found: Any = response.get("body")
    for step in ("choices", 0, "message"):
        try:
            found = found[step]
        except (KeyError, IndexError, TypeError):
            raise row.fault("no 'response.body.choices[0].message': not a line of a chat batch's output") from None
    content = found.get("content") if isinstance(found, dict) else None
    return content if isinstance(content, str) else ""


def snap_file(
    answers: str | Path,
    taxonomy: Taxonomy,
    out: str | Path,
    schema: Schema,
    *,
    policy: Policy = "path",
    leave_below: float = 0.0,
    products: Products | None = None,
    changes: str | Path | None = None,
) -> Summary:
    """Snap a file of raw answers and write predictions, one for each answer, in the same order.

    An answer of no use becomes the most frequent path (of its retailer, where `products` tells it), with the status
    ``fallback``, or ``failed`` where the file has an error instead of an answer. One that is left alone keeps the
    values that were answered, with the status ``abstained``.

    Parameters
    ----------
    answers : str or Path
        See `read_answers`.
    taxonomy : Taxonomy
        The valid paths; `Taxonomy.from_labels` makes it of training rows.
    out : str or Path
        Predictions as JSON lines; a ``.predict`` file gets the id and the levels alone.
    schema : Schema
        Names the id column and the levels.
    policy, leave_below
        See `Snapper`.
    products : Products, optional
        The products that were answered for: their descriptions and retailers break ties.
    changes : str or Path, optional
        Where every change is kept, as JSON lines (id, level, was, became, rule, sureness); by default beside `out`,
        ``NAME.changes.jsonl``.

    Raises
    ------
    ShelfmarkError
        When a file or an option is wrong. Then nothing is written.
    """
    out = Path(out)
    if out.with_suffix("" if out.suffix == ".gz" else out.suffix).suffix.lower() not in _OUT_SUFFIXES:
        raise ShelfmarkError(f"{out}: cannot tell its kind; name it {', '.join(_OUT_SUFFIXES)}")
    snapper = Snapper(taxonomy, policy, leave_below=leave_below)
    read = read_answers(answers, schema)
    texts, retailers = _hints(read.ids, products)
    snapped = snapper.snap_all(read.texts, texts=texts, retailers=retailers)
    frequent = _Frequent(taxonomy)
    predictions = [
        _prediction(name, one, frequent.path(retailers[row] if retailers else ""), failed=row in read.failed)
        for row, (name, one) in enumerate(zip(read.ids, snapped, strict=True))
    ]
    kept = Path(changes) if changes is not None else out.with_name(_stem(out) + ".changes.jsonl")
    _write_changes(kept, read.ids, snapped)
    write_predictions(out, predictions, schema)
    rules = Counter(change.rule for one in snapped for change in one.changes)
    statuses = Counter(prediction.status for prediction in predictions)
    return Summary(len(predictions), dict(statuses.most_common()), dict(rules.most_common()))


def _stem(path: Path) -> str:
    name = path.name.removesuffix(".gz")
    return name.removesuffix(Path(name).suffix)


def _hints(ids: Sequence[RowId], products: Products | None) -> tuple[list[str] | None, list[str] | None]:
    if products is None:
        return None, None
    rows = {name: row for row, name in enumerate(products.ids)}
    missing = next((name for name in ids if name not in rows), None)
    if missing is not None:
        raise ShelfmarkError(f"the answer {missing!r} has no product; give the products that were asked for, or none")
    found = [rows[name] for name in ids]
    return [products.texts[row] for row in found], [products.retailers[row] for row in found]


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
    status: Status = "exact" if snapped.status == "exact" else "repaired"
    return Prediction(name, snapped.path, snapped.sureness, status)


def write_predictions(path: str | Path, predictions: Iterable[Prediction], schema: Schema) -> None:
    """Write predictions as JSON lines, whole or not at all; a ``.predict`` file gets the id and the levels alone."""
    bare = ".predict" in Path(path).suffixes[-2:]
    with atomic_write(path) as stream:
        for prediction in predictions:
            row = prediction.to_dict(schema.id, schema.levels)
            if bare:
                row = {column: row[column] for column in (schema.id, *schema.levels)}
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def _write_changes(path: Path, ids: Sequence[RowId], snapped: Sequence[Snapped]) -> None:
    with atomic_write(path) as stream:
        for name, one in zip(ids, snapped, strict=True):
            for change in one.changes:
                row = {"id": name, **change._asdict(), "sureness": one.sureness}
                if one.status == "left":
                    row["left"] = True
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
