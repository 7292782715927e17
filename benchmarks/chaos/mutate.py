"""Files made wrong by a seed: odd in content, or broken in form, each kind of file after its own fashion."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import random
import string
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

Draw = random.Random

SIGNS = (
    "\x00",
    "\x1b[2J",
    "\u202e",
    "\u2028",
    "\ufeff",
    "\r",
    "\n",
    "\t",
    '"',
    "\\",
    "__",
    "|",
    "<|im_end|>",
    "ﬁ",
    "é",
    "🧀",
    "\x85",
)
TEXTS = (
    "",
    " ",
    "=1+1",
    "../../x",
    "/etc/passwd",
    "file-../../x",
    "NaN",
    "null",
    "-1",
    "1e999",
    "{{ 7*7 }}",
    "x" * 70_000,
)
NUMBERS = (
    0,
    -1,
    1,
    2**31,
    -(2**31),
    2**63,
    2**64,
    10**30,
    10**400,
    0.5,
    -0.0,
    1e308,
    5e-324,
    math.nan,
    math.inf,
    -math.inf,
)
WHOLE = (None, True, False, [], {}, [[]], [None], {"": None}, "text", 7)


def odd_value(draw: Draw) -> Any:
    """Return a value that nobody expects."""
    kind = draw.randrange(5)
    if kind == 0:
        return draw.choice(NUMBERS)
    if kind == 1:
        return draw.choice(TEXTS)
    if kind == 2:
        return draw.choice(SIGNS) + "".join(draw.choices(string.printable, k=draw.randrange(8)))
    if kind == 3:
        return nested(draw.choice((3, 60, 2_000, 60_000)), draw.random() < 0.5)
    return draw.choice(WHOLE)


class Raw(str):
    """JSON as it is to stand in the file, whatever a writer would make of it."""


def nested(depth: int, lists: bool) -> Raw:
    return Raw("[" * depth + "]" * depth if lists else '{"a":' * depth + "1" + "}" * depth)


def odd_text(draw: Draw, text: str) -> str:
    """Return a text with a sign put in, a part taken out, or said again and again."""
    place = draw.randrange(len(text) + 1)
    kind = draw.randrange(4)
    if kind == 0:
        return text[:place] + draw.choice(SIGNS) + text[place:]
    if kind == 1:
        return text[:place]
    if kind == 2:
        return text * draw.choice((2, 50, 2000))
    return text[:place] + draw.choice(("\ud800", "\udfff")) + text[place:]


def dumps(value: Any) -> str:
    """Return JSON as `json.dumps` writes it, with what is `Raw` as it is."""
    raws: list[str] = []

    def plain(one: Any) -> Any:
        if isinstance(one, Raw):
            raws.append(str(one))
            return f"@raw{len(raws) - 1}@"
        if isinstance(one, dict):
            return {key: plain(inner) for key, inner in one.items()}
        return [plain(inner) for inner in one] if isinstance(one, list) else one

    text = json.dumps(plain(value), ensure_ascii=False)
    if any(0xD800 <= ord(sign) < 0xE000 for sign in text):
        text = json.dumps(plain(value))
    for number, raw in enumerate(raws):
        text = text.replace(f'"@raw{number}@"', raw)
    return text


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return the places of a JSON value: each a container and a key or an index in it."""
    found: list[tuple[Any, Any]] = []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        found.append((value, key))
        found += places(one)
    return found


def odd_json(draw: Draw, value: Any) -> Any:
    """Change one place of a JSON value."""
    where = places(value)
    if not where or draw.random() < 0.03:
        return odd_value(draw)
    container, key = draw.choice(where)
    old, kind = container[key], draw.randrange(8)
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(container, dict):
        container[odd_text(draw, str(key))] = container.pop(key)
    elif kind == 2 and isinstance(container, list):
        container.insert(key, old)
    elif kind == 3 and isinstance(container, dict):
        other = draw.choice(list(container))
        container[key], container[other] = container[other], old
    elif kind == 4 and isinstance(old, int | float) and not isinstance(old, bool):
        container[key] = draw.choice([str(old), [old], -old, old + 0.5, old * 10**6, bool(old), None])
    elif kind == 5 and isinstance(old, str):
        container[key] = odd_text(draw, old)
    elif kind == 6 and isinstance(old, list | dict):
        container[key] = draw.choice([type(old)(), None, [old], {"a": old}, dumps(old)])
    else:
        container[key] = odd_value(draw)
    return value


def odd_bytes(draw: Draw, content: bytes) -> bytes:
    """Change bytes, whatever they mean."""
    kind, place = draw.randrange(8), draw.randrange(len(content) + 1)
    end = min(place + draw.choice((1, 2, 16, 300)), len(content))
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content[:place] + draw.randbytes(end - place) + content[end:]
    if kind == 2:
        return content[:place] + content[end:]
    if kind == 3:
        return content[:end] + content[place:]
    if kind == 4:
        return content[:place] + b"\x00" * (end - place) + content[end:]
    if kind == 5:
        return (
            b""
            if draw.random() < 0.3
            else draw.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\x1f\x8b", b"PAR1", b"\n")) + content
        )
    if kind == 6:
        return content + draw.choice((b"\x00", b"\n\n", b"}", b"\xff", b"\r\n"))
    bits = bytearray(content)
    if bits:
        bits[draw.randrange(len(bits))] ^= 1 << draw.randrange(8)
    return bytes(bits)


def json_file(draw: Draw, content: bytes) -> bytes:
    value = json.loads(content)
    if isinstance(value, dict) and value and draw.random() < 0.1:  # a key is said a second time, with another value
        text = "{" + json.dumps(draw.choice(list(value))) + ": " + dumps(odd_value(draw)) + ", " + dumps(value)[1:]
    else:
        text = dumps(odd_json(draw, value))
    return text.encode(errors="surrogatepass") + b"\n"


def json_lines(draw: Draw, content: bytes) -> bytes:
    lines = content.split(b"\n")[:-1]
    if not lines:
        return odd_bytes(draw, content)
    place, kind = draw.randrange(len(lines)), draw.randrange(8)
    if kind == 0:
        lines.insert(draw.randrange(len(lines) + 1), lines[place])
    elif kind == 1:
        del lines[place]
    elif kind == 2:
        draw.shuffle(lines)
    elif kind == 3:
        lines.insert(place, draw.choice((b"", b"   ", b"null", b"[]", b"{}", b"7", b'"x"', b"{", b"\xff")))
    else:
        lines[place] = json_file(draw, lines[place])[:-1]
    return b"\n".join(lines) + b"\n" * (draw.random() < 0.95)


def table_text(draw: Draw, content: bytes, *, separator: str = ",") -> bytes:
    rows = list(csv.reader(io.StringIO(content.decode()), delimiter=separator))
    place, column = draw.randrange(len(rows)), draw.randrange(max(len(rows[0]), 1))
    kind = draw.randrange(9)
    if kind == 0:
        for row in rows:
            del row[column : column + 1]
    elif kind == 1:
        other = draw.randrange(len(rows[0]))
        for row in rows:
            row[column], row[other] = row[other], row[column]
    elif kind == 2:
        rows.insert(place, rows[place])
    elif kind == 3:
        rows[0][column] = draw.choice(["", rows[0][0], rows[0][-1], odd_text(draw, rows[0][column])])
    elif kind == 4:
        rows[place] = rows[place][: draw.randrange(len(rows[place]) + 1)]
    elif kind == 5:
        rows[place] = [*rows[place], "more"]
    elif kind == 6:
        value = odd_value(draw)
        rows[place][column] = str(value)
    elif kind == 7:
        rows[place][column] = odd_text(draw, rows[place][column])
    else:
        rows = rows[: draw.randrange(2)]
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator=draw.choice(("\n", "\r\n", "\r"))).writerows(rows)
    written = out.getvalue().encode(draw.choice(("utf-8", "utf-8", "utf-8", "latin-1", "utf-16")), errors="replace")
    return written.replace(b'"', b"", 1) if draw.random() < 0.1 else written


def parquet(draw: Draw, content: bytes) -> bytes:
    frame = pyarrow.parquet.read_table(io.BytesIO(content))
    name = draw.choice(frame.column_names)
    place, column, kind = frame.column_names.index(name), frame.column(name), draw.randrange(8)
    rows = len(frame)
    odd: list[Callable[[], Any]] = [
        lambda: pyarrow.nulls(rows),
        lambda: pyarrow.array([None] * rows, pyarrow.string()),
        lambda: pyarrow.array([[1, 2]] * rows),
        lambda: pyarrow.array([{"a": 1}] * rows),
        lambda: pyarrow.array([b"\xff\xfe"] * rows),
        lambda: pyarrow.array([draw.choice(NUMBERS[10:]) for _ in range(rows)], pyarrow.float64()),
        lambda: pyarrow.array([2**63 - 1] * rows),
        lambda: pyarrow.array([0] * rows, pyarrow.timestamp("us")),
        lambda: pyarrow.array([True] * rows),
        lambda: pyarrow.array([draw.choice(SIGNS) for _ in range(rows)]).dictionary_encode(),
        lambda: pyarrow.array([str(value) for value in column.to_pylist()]),
    ]
    if kind < 4:
        frame = frame.set_column(place, name, draw.choice(odd)())
    elif kind == 4:
        frame = frame.remove_column(place)
    elif kind == 5:
        frame = frame.append_column(draw.choice([name, "", "\x1b[2J", "answer"]), column)
    elif kind == 6:
        frame = frame.slice(0, draw.randrange(rows)) if draw.random() < 0.5 else pyarrow.concat_tables([frame, frame])
    else:
        other = draw.randrange(len(frame.column_names))
        names = frame.column_names
        names[place], names[other] = names[other], names[place]
        frame = frame.rename_columns(names)
    out = io.BytesIO()
    pyarrow.parquet.write_table(frame, out)
    return out.getvalue()


def array(draw: Draw, content: bytes) -> bytes:
    values = np.load(io.BytesIO(content))
    kind = draw.randrange(9)
    if kind == 0:
        values = values.astype(draw.choice(["<f8", ">f4", "<i2", "<u8", "|b1", "<c8", "<U3", "|S2", "<M8[s]"]))
    elif kind == 1:
        values = values.reshape(-1)[: draw.randrange(values.size + 1)]
    elif kind == 2:
        values = values.reshape(draw.choice([(-1,), (1, -1), (-1, 1), (1, 1, -1)]))
    elif kind == 3:
        values = np.concatenate([values.reshape(-1), values.reshape(-1)])
    elif kind == 4:
        values = np.zeros(draw.choice([(), (0,), (0, 5), (3, 0)]), values.dtype)
    elif kind == 5 and values.size:
        values = values.copy()
        flat = values.reshape(-1)
        whole = np.issubdtype(values.dtype, np.integer)
        extremes = (
            [np.iinfo(values.dtype).max, np.iinfo(values.dtype).min] if whole else [np.nan, np.inf, -np.inf, 1e30]
        )
        with np.errstate(all="ignore"):
            flat[draw.randrange(flat.size)] = draw.choice(extremes)
    elif kind == 6:
        values = values.reshape(-1)[::-1].reshape(values.shape)
    elif kind == 7:
        values = np.full(values.shape, draw.choice([0, 1, -1])).astype(values.dtype)
    else:
        return _header(draw, content)
    out = io.BytesIO()
    np.save(out, values)
    return out.getvalue()


def _header(draw: Draw, content: bytes) -> bytes:
    """Say in the header of an array what is not so: objects (a pickle), or a size that no memory holds."""
    shape = draw.choice(["(9223372036854775807,)", "(-1,)", "(3,", "(1000000000000, 8)", "()"])
    kind = draw.choice(["'|O'", "'<f4'", "'<i8'", "'<f999'", "[('a', '<i4')]"])
    header = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return content[:8] + len(header).to_bytes(2, "little") + header.encode() + content[-64:]


def toml(draw: Draw, content: bytes) -> bytes:
    lines = content.decode().split("\n")
    place = draw.choice([number for number, line in enumerate(lines) if line.strip()] or [0])
    name, equals, value = lines[place].partition(" = ")
    kind = draw.randrange(7)
    odd = ["nan", "inf", "-1", "1e400", "[]", "{}", '""', '"../x"', "true", "9" * 30, "9" * 5000, '"\\u0000"']
    odd += ["1979-05-27", "[[1]]", "{a = 1}", "0x7fffffffffffffff", '"\\u001b[2J"', "[" * 5000]
    if kind == 0:
        del lines[place]
    elif kind == 1:
        lines.insert(place, lines[place])
    elif kind == 2 and equals:
        lines[place] = odd_text(draw, name) + equals + value
    elif kind == 3:
        lines.insert(place, f"[{odd_text(draw, 'cards.A40')}]")
    elif kind == 4:
        lines[place] = odd_text(draw, lines[place])
    elif equals:
        lines[place] = name + equals + draw.choice(odd)
    return "\n".join(lines).encode(errors="surrogatepass")


def archive(draw: Draw, content: bytes) -> bytes:
    """Change a zip: members with other names, twice, with more in them than is said, or other content."""
    out, kind = io.BytesIO(), draw.randrange(5)
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.namelist():
            data = old.read(member)
            if kind == 0:
                new.writestr(draw.choice(["../../x", "/x", "a/b", "b/", "\x1b[2J", "a\x00b"]), data)
            elif kind == 1:
                new.writestr(member, data)
                new.writestr("more", b"x")
            elif kind == 2:
                new.writestr(member, b"\x00" * 50_000_000)
            elif kind == 3 and member.endswith(".npy"):
                new.writestr(member, array(draw, data))
            elif kind == 3:
                new.writestr(member, json_lines(draw, data) if data.startswith(b"{") else odd_bytes(draw, data))
            elif draw.random() < 0.5:
                new.writestr(member, data)
    return out.getvalue()


def plain_text(draw: Draw, content: bytes) -> bytes:
    text = content.decode()
    templates = ["{{ 1/0 }}", "{% for a in range(99999999999) %}x{% endfor %}", "{{ x.y.z }}", "{% if %}", ""]
    templates += ["{{ ''.__class__.__mro__ }}", "{{ product.context[99] }}", "{{ 'x' * 99999 }}"]
    template = draw.choice(templates)
    place = draw.randrange(len(text) + 1)
    changed = draw.choice((odd_text(draw, text), text[:place] + template + text[place:], template))
    return changed.encode(errors="surrogatepass")


FORMS: dict[str, Callable[[Draw, bytes], bytes]] = {
    ".json": json_file,
    ".jsonl": json_lines,
    ".features": json_lines,
    ".labels": json_lines,
    ".predict": json_lines,
    ".partial": json_lines,
    ".csv": table_text,
    ".parquet": parquet,
    ".npy": array,
    ".npz": archive,
    ".zip": archive,
    ".toml": toml,
    ".jinja": plain_text,
}


def mutated(name: str, content: bytes, draw: Draw) -> bytes:
    """Return the content of a file made wrong: three times of four by its form, else byte by byte."""
    if name.endswith(".gz"):
        inner = gzip.decompress(content)
        if draw.random() < 0.6:
            return gzip.compress(mutated(name.removesuffix(".gz"), inner, draw), mtime=0)
        return odd_bytes(draw, content)
    form = FORMS.get(Path(name).suffix)
    if form is None or draw.random() < 0.25:
        return odd_bytes(draw, content)
    return form(draw, content)
