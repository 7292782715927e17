"""What was done for one fine-tune, written down in its folder so that nothing is done twice."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from catalog.errors import ShelfmarkError
from catalog.json_reader import checked, decode_json
from catalog.text_lines import MOST_LINE, bounded_lines
from classify.lines import GrowingLines
from classify.provider.stored import Told

FILE = "record.jsonl"


class _Line(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class _Begun(_Line):
    did: Literal["begun"]
    id: str
    wanted: dict[str, Any]
    about: Told


class _Event(_Line):
    did: Literal["asked", "refused", "made"]
    what: str
    id: str = ""


class Record:
    """Events, a line each: ``{"did": ...}``. That something is asked for stands there before it is.

    ``begun``
        What is wanted, and the id of this fit.
    ``asked``, ``refused``, ``made``
        Of ``what``: one of the files, or the job. An ``asked`` without one of the others right behind it may have been
        done or not, whatever became of later ones.

    Parameters
    ----------
    folder : Path
        Of the fine-tune.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / FILE
        self.events = list(_whole_lines(self.file))

    def add(self, did: str, **values: Any) -> None:
        """Write an event down; it is on the disk when this returns."""
        event = {"did": did, **values}
        with GrowingLines(self.file) as lines:
            lines.append([event])
        self.events.append(event)

    def begin(self, wanted: dict[str, Any], about: dict[str, Any]) -> None:
        """Begin the record of what is wanted, or go on with one that was begun.

        Parameters
        ----------
        wanted : dict
            JSON values; all that makes two fine-tunes the same.
        about : dict
            JSON values; what there is to tell of it.

        Raises
        ------
        ShelfmarkError
            When another fine-tune may have been paid for in this folder.
        """
        if self.events and self.wanted != wanted:
            name = min(key for key in wanted.keys() | self.wanted.keys() if wanted.get(key) != self.wanted.get(key))
            if self.made("job") or self.unheard("job"):
                what = f"{name.replace('_', ' ')} was {self.wanted.get(name)}, now {wanted.get(name)}"
                raise ShelfmarkError(
                    f"{self.file.parent}: belongs to another fine-tune ({what}); give it the same again, choose "
                    "another --out, or delete the folder"
                )
            self.file.unlink()  # nothing is paid for yet
            self.events = []
        if not self.events:
            self.add("begun", id=secrets.token_hex(8), wanted=wanted, about=about)

    @property
    def id(self) -> str:
        """Of this fit: no other has it."""
        return str(self.events[0]["id"])

    @property
    def wanted(self) -> dict[str, Any]:
        """What was wanted when the record was begun; empty where it was not."""
        return dict(self.events[0]["wanted"]) if self.events else {}

    @property
    def about(self) -> dict[str, Any]:
        """What was told of it then."""
        return dict(self.events[0]["about"]) if self.events else {}

    def unheard(self, what: str) -> bool:
        """Tell whether it was asked for once, or more often, and nobody heard what became of that."""
        did = [event["did"] for event in self.events if event.get("what") == what]
        return "made" not in did and ("asked", "asked") in pairwise([*did, "asked"])

    def made(self, what: str) -> str:
        """Return the provider's id of what was made; empty where it is not known to be."""
        done = (event for event in reversed(self.events) if event["did"] == "made" and event["what"] == what)
        return str(next(done, {"id": ""})["id"])


def _whole_lines(file: Path) -> Iterator[dict[str, Any]]:
    """Yield what was written; a line that a killed process left torn is none."""
    if not file.is_file():
        return
    # By bytes: a text has more ends of lines (U+2028, U+0085), and they are written as they are.
    advice = "put it back from a copy; the provider's own list has the job"

    def too_long(number: int) -> ShelfmarkError:
        return ShelfmarkError(f"{file}, line {number}: damaged (longer than {MOST_LINE >> 20} MiB); {advice}")

    with open(file, "rb") as stream:
        for number, line in bounded_lines(stream, too_long):
            if not line.endswith(b"\n"):
                return
            place = f"{file}, line {number}"
            try:
                value = decode_json(line)
            except ValueError as error:
                reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                raise ShelfmarkError(f"{place}: damaged ({reason}); {advice}") from None
            # The first line alone says what is wanted.
            checked(_Begun if number == 1 else _Event, value, place, advice)
            yield value
