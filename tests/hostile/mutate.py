"""Files of rows with one thing wrong, or several: seeded, and aware of how CSV, JSON, Parquet and TOML are built."""

import contextlib
import csv
import io
import json
import random
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Row = dict[str, Any]

RAW = {
    "deep": "[" * 5_000 + "]" * 5_000,
    "deep object": '{"a":' * 900 + "1" + "}" * 900,
    "huge": "1" + "0" * 400,
    "longer than Python reads": "9" * 5_000,
    "infinite": "1e999",
    "no number": "NaN",
    "minus infinite": "-Infinity",
    "half a pair": '"\\ud800"',
    "other half": '"x\\udc00y"',
    "nothing": "null",
    "true": "true",
    "a list": "[1, [2, {}]]",
    "an object": '{"a": {"b": []}}',
    "a zero byte": '"a\\u0000b"',
    "marks": '"a' + "\u0301\u0316" * 3_000 + '"',
    "long": '"' + "x" * 200_000 + '"',
    "float": "7.5",
    "large float": "1e300",
    "negative": "-3",
    "empty": '""',
    "torn": '"abc',
}
"""JSON that stands where a value should."""

CELLS: Sequence[Any] = (
    None, True, -1, 2**62, 1.5, float("nan"), float("inf"), "", "\x00", "a\rb", "__", "\u202e", "x" * 2_000,
    b"\xff\xfe", [1], {"a": 1}, Decimal("1e30"),
)  # fmt: skip
"""What cells of a Parquet file may hold."""

TOML = (
    "", "x", "a = ", "[", "[[a]]", "id = 1", "id = []", 'text = "a"', "text = [1]", "levels = {a = 1}",
    "a = 1979-05-27",
    "a = inf", "price = nan", "a" + ".a" * 500 + " = 1", "a = " + "[" * 3_000, "a = " + "9" * 5_000, '"" = 1',
    "id = ''",
    "levels = [" + "'a'," * 500 + "]", "text = ['a', 'a']", "'\\u0000' = 1", "base = {a = {b = 1}}", "input = -1",
)  # fmt: skip


def json_lines(rows: Sequence[Row], chance: random.Random) -> bytes:
    """Return rows as JSON lines, with something wrong."""
    lines = []
    for row in rows:
        cells = [(json.dumps(name), json.dumps(value)) for name, value in row.items()]
        for _ in range(chance.randrange(2)):
            at = chance.randrange(len(cells))
            name, value = cells[at]
            kind = chance.randrange(4)
            if kind == 0:
                cells.append((name, value))  # twice
            elif kind == 1:
                cells.pop(at)
                cells = cells or [("1", "1")]
            else:
                cells[at] = (name, chance.choice(list(RAW.values())))
        lines.append("{" + ", ".join(f"{name}: {value}" for name, value in cells) + "}")
    return _torn("\n".join(lines).encode(), chance)


def table(rows: Sequence[Row], chance: random.Random) -> bytes:
    """Return rows as CSV, with something wrong."""
    header = list(rows[0])
    lines = [header, *([row[name] for name in header] for row in rows)]
    for _ in range(chance.randrange(3)):
        line = chance.choice(lines)
        at = chance.randrange(len(line)) if line else 0
        kind = chance.randrange(4)
        if kind == 0:
            line.append(chance.choice(header))
        elif kind == 1 and line:
            line.pop(at)
        elif line:
            line[at] = chance.choice(
                ["", "\x00", "\r", '"', "x" * 200_000, "9" * 5_000, "nan", "-1", header[0], "a\nb"]
            )
    out = io.StringIO()
    csv.writer(out, lineterminator=chance.choice(["\n", "\r\n", "\r"])).writerows(lines)
    return _torn(out.getvalue().encode(), chance)


def parquet(rows: Sequence[Row], chance: random.Random) -> bytes:
    """Return rows as Parquet, with something wrong."""
    names = list(rows[0])
    columns = [pa.array([row[name] for row in rows]) for name in names]
    for _ in range(chance.randrange(3)):
        at = chance.randrange(len(names))
        kind = chance.randrange(6)
        if kind == 0:
            names[at] = chance.choice(names)
        elif kind == 1:
            columns[at] = pa.array([chance.choice(CELLS)] * len(rows))
        elif kind == 2:
            # Text that is not UTF-8, and days that no calendar of Python's has.
            columns[at] = pa.array([b"\xff\xfe"] * len(rows)).view(pa.string())
        elif kind == 3:
            columns[at] = pa.array([2**60] * len(rows)).cast(pa.timestamp("us", chance.choice([None, "No/Where"])))
        elif kind == 4:
            columns[at] = pa.array([[("a", 1)]] * len(rows), pa.map_(pa.string(), pa.int64()))
        else:
            with contextlib.suppress(pa.ArrowException):  # nested ones cannot be
                columns[at] = columns[at].dictionary_encode()
    out = io.BytesIO()
    whole = pa.Table.from_arrays(columns, names=names)
    pq.write_table(whole.slice(0, chance.choice([0, len(rows)])), out)
    return _torn(out.getvalue(), chance)


def toml(lines: Sequence[str], chance: random.Random) -> bytes:
    """Return lines of TOML, with something wrong."""
    kept = [line for line in lines if chance.randrange(4)]
    kept.insert(chance.randrange(len(kept) + 1), chance.choice(TOML))
    return _torn("\n".join(kept).encode(), chance)


def _torn(content: bytes, chance: random.Random) -> bytes:
    """Return content with bytes cut out, or replaced; often as it is."""
    kind = chance.randrange(6)
    at = chance.randrange(len(content) + 1)
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + bytes(chance.randrange(256) for _ in range(3)) + content[at + chance.randrange(9) :]
    return content


MAKERS = {".jsonl": json_lines, ".csv": table, ".parquet": parquet}


def write_mutant(folder: Path, name: str, rows: Sequence[Row], seed: int) -> Path:
    """Write rows as a file of some kind, with something wrong; the same seed gives the same file."""
    chance = random.Random(seed)
    suffix, make = chance.choice(sorted(MAKERS.items()))
    file = folder / (name + suffix)
    file.write_bytes(make(rows, chance))
    return file
