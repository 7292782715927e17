"""The zip that is handed in: one ``NAME.predict``, checked against the test file before anything is written."""

from __future__ import annotations

import json
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from catalog.errors import ShelfmarkError, first_line, listed, nearest
from catalog.files import atomic_write, content_hash
from catalog.json_reader import decode_row
from catalog.messages import LabelPath, RowId
from catalog.products import stream_products
from catalog.schema import Schema
from catalog.tables import OTHER_NAMES, Row, read_table
from catalog.text_lines import MOST_SWELLING, UNSUSPICIOUS, lines_within

MEMBER_SUFFIX = ".predict"
_OUR_COLUMNS = ("confidence", "status", "level_confidence", "top")
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    ValueError,
    struct.error,
    OverflowError,
)
_ADVICE = "make the predictions again from this test file"


@dataclass(frozen=True)
class Submission:
    """A zip that was written or checked.

    Attributes
    ----------
    name : str
        What it is called; its one member is ``NAME.predict``.
    path : Path
        The zip.
    rows : int
        How many predictions it holds.
    size : int
        Of the zip, in bytes.
    sha256 : str
        Of the zip's bytes, in hexadecimal.
    """

    name: str
    path: Path
    rows: int
    size: int
    sha256: str


def check_name(name: str) -> str:
    """Return `name` when it can name a submission: ASCII letters, digits, ``.``, ``_`` and ``-``, 100 at most.

    Raises
    ------
    ShelfmarkError
        When it cannot. A name that begins with ``.`` or ``-`` is refused, too: it would hide, or read as an option.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name):
        raise ShelfmarkError(
            f"the name {name!r} cannot be used: take 1 to 100 letters, digits, '.', '_' or '-', "
            "beginning with a letter, a digit or '_'"
        )
    return name


def write_submission(
    predictions_file: str | Path, test_file: str | Path, schema: Schema, out_zip: str | Path, name: str
) -> Submission:
    """Check predictions against the test file and write them as a zip with one ``NAME.predict``.

    That file has one JSON object a line with the id and the levels alone, every test id once, in the order of the test
    file. The same predictions give the same bytes. Where something is wrong nothing is written.

    Parameters
    ----------
    predictions_file : str or Path
        Flat rows (JSON lines, CSV or Parquet) with the id, the levels, and optionally ``confidence`` and ``status``,
        in any order.
    test_file : str or Path
        The products to answer: a file, or a folder that holds ``test.features``.
    schema : Schema
        Names the id and the levels.
    out_zip : str or Path
        Where the zip goes; one that is there is replaced.
    name : str
        See `check_name`.

    Returns
    -------
    Submission

    Raises
    ------
    ShelfmarkError
        When the name cannot be used, a row or column is wrong, a level is empty, or an id is missing, there twice or
        not in the test file: how many, the first, and what to do.
    """
    check_name(name)
    answers = _collect(
        read_table(predictions_file, required=(schema.id, *schema.levels), hint=OTHER_NAMES), schema, _OUR_COLUMNS
    )
    ids = _test_ids(test_file, schema)
    _require_match(predictions_file, answers, test_file, ids)
    path = Path(out_zip)
    with atomic_write(path, binary=True) as stream:
        _write_zip(stream, f"{name}{MEMBER_SUFFIX}", _lines(ids, answers, schema))
    return Submission(name, path, len(ids), path.stat().st_size, content_hash(path))


def validate_archive(archive: str | Path, test_file: str | Path, schema: Schema, name: str | None = None) -> Submission:
    """Read a submission zip and check it as a strict judge would.

    Parameters
    ----------
    archive : str or Path
        The zip.
    test_file, schema
        As in `write_submission`.
    name : str, optional
        What its member must be called; by default any name that `check_name` takes will do.

    Returns
    -------
    Submission

    Raises
    ------
    ShelfmarkError
        When it is no zip or damaged, does not hold exactly one ``NAME.predict``, or the rows are not the id and the
        levels, every test id once, in the order of the test file.
    """
    path = Path(archive)
    if not path.is_file():
        raise ShelfmarkError(f"{path}: no such file")
    ids = _test_ids(test_file, schema)
    try:
        with zipfile.ZipFile(path) as opened:
            member = _only_member(path, opened, name)
            answers = _collect(_member_rows(path, opened, member), schema, ())
    # RuntimeError: encrypted; NotImplementedError: a compression that Python cannot read; the rest: damaged numbers.
    except _DAMAGED as error:
        raise ShelfmarkError(
            f"{path}: not a zip that can be read ({first_line(error)}); write the submission again"
        ) from None
    _require_match(path, answers, test_file, ids)
    for place, (found, expected) in enumerate(zip(answers.paths, ids, strict=True), start=1):
        if found != expected:
            raise ShelfmarkError(
                f"{path}: row {place} has the id {found!r} where {test_file} has {expected!r}; "
                "write the submission again, in the order of the test file"
            )
    return Submission(member.removesuffix(MEMBER_SUFFIX), path, len(ids), path.stat().st_size, content_hash(path))


@dataclass
class _Answers:
    """The label paths by id, in file order, and the first of each kind of fault that a file has."""

    paths: dict[RowId, LabelPath] = field(default_factory=dict)
    twice: int = 0
    first_twice: str = ""
    empty: int = 0
    first_empty: str = ""


def _collect(rows: Iterable[Row], schema: Schema, also: tuple[str, ...]) -> _Answers:
    """Read all rows. Each label path is kept once: they repeat, and a big file then needs little memory."""
    known = (schema.id, *schema.levels, *also)
    allowed = frozenset(known)
    answers = _Answers()
    paths: dict[LabelPath, LabelPath] = {}
    for row in rows:
        if not row.values.keys() <= allowed:
            unknown = next(column for column in row.values if column not in allowed)
            raise row.fault(
                f"unknown column '{unknown}'{nearest(unknown, known)}; keep to {', '.join(known)}",
            )
        name = row.id(schema.id)
        if name in answers.paths:
            answers.twice += 1
            answers.first_twice = answers.first_twice or f"{name!r} on {row.place}"
            continue
        path = tuple(row.text(level) for level in schema.levels)
        answers.paths[name] = paths.setdefault(path, path)
        blank = [level for level, value in zip(schema.levels, path, strict=True) if not value]
        if blank:
            answers.empty += 1
            answers.first_empty = answers.first_empty or f"'{blank[0]}' of the id {name!r} on {row.place}"
    return answers


def _test_ids(test_file: str | Path, schema: Schema) -> list[RowId]:
    return [name for block in stream_products(test_file, schema) for name in block.ids]


def _require_match(file: str | Path, answers: _Answers, test_file: str | Path, ids: list[RowId]) -> None:
    """Refuse answers that are not one full path for each of `ids`: all kinds of fault on one line."""
    faults = []
    if answers.twice:
        faults.append(f"{_counted(answers.twice, 'row')} repeat an id, the first {answers.first_twice}")
    missing = [name for name in ids if name not in answers.paths]
    if missing:
        faults.append(f"{_counted(len(missing), 'id')} of {test_file} missing, the first {missing[0]!r}")
    if len(answers.paths) > len(ids) - len(missing):
        known = set(ids)
        extra = [name for name in answers.paths if name not in known]
        faults.append(f"{_counted(len(extra), 'id')} not in {test_file}, the first {extra[0]!r}")
    advice = _ADVICE
    if answers.empty:
        faults.append(f"{_counted(answers.empty, 'row')} with an empty level, the first {answers.first_empty}")
        if len(faults) == 1:
            advice = "fill them in, or predict again without abstaining"
    if faults:
        raise ShelfmarkError(f"{file}: {'; '.join(faults)}; {advice}")


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _lines(ids: list[RowId], answers: _Answers, schema: Schema) -> Iterator[bytes]:
    for name in ids:
        row = {schema.id: name, **dict(zip(schema.levels, answers.paths[name], strict=True))}
        yield json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _write_zip(stream: IO[bytes], member: str, lines: Iterable[bytes]) -> None:
    # All that a zip says about when, where and by whom it was made is fixed, so that bytes depend on rows alone.
    info = zipfile.ZipInfo(member, date_time=(1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3
    info.external_attr = 0o644 << 16
    with zipfile.ZipFile(stream, "w") as archive, archive.open(info, "w") as out:
        for line in lines:
            out.write(line)


def _only_member(path: Path, archive: zipfile.ZipFile, name: str | None) -> str:
    members = archive.namelist()
    wanted = f"{name or 'NAME'}{MEMBER_SUFFIX}"
    if len(members) != 1:
        there = listed(members[:5]) if members else "nothing"
        raise ShelfmarkError(f"{path}: it holds {len(members)} files ({there}); it must hold {wanted} alone")
    stem = members[0].removesuffix(MEMBER_SUFFIX)
    if stem == members[0] or (name is not None and stem != name):
        raise ShelfmarkError(f"{path}: it holds {members[0][:100]!r}; it must hold {wanted}")
    check_name(stem)
    return members[0]


def _member_rows(path: Path, archive: zipfile.ZipFile, member: str) -> Iterator[Row]:
    file = f"{path}: {member}"
    bound = max(UNSUSPICIOUS, MOST_SWELLING * archive.getinfo(member).compress_size)
    with archive.open(member) as stream:
        for number, raw in lines_within(stream, file, bound):
            place = f"line {number}"
            try:
                values: Any = decode_row(raw.decode("utf-8").rstrip("\r\n"))
            except ValueError as error:
                what = f"not JSON in UTF-8 ({first_line(error)})"
                raise ShelfmarkError(f"{file}, {place}: {what}; write the submission again") from None
            if not isinstance(values, dict):
                raise ShelfmarkError(f"{file}, {place}: not an object; write the submission again")
            yield Row(file, place, values)
