"""How many files requests fill when they are written for the Batch API, without writing them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from catalog.messages import Request
from classify.engines.base import ModelOptions
from classify.engines.batch_files import MOST_BYTES, MOST_ROWS, request_line
from classify.engines.forms import AnswerForm


@dataclass
class BatchFiles:
    """Counts the files that requests fill when they are written for the Batch API, without writing them.

    Attributes
    ----------
    options : ModelOptions
        Of the model: they stand in every line.
    form : AnswerForm or None
        What may be answered to requests without candidates.
    count : int
        Files so far.
    bytes : int
        Of all lines so far.
    """

    options: ModelOptions
    form: AnswerForm | None = None
    count: int = 0
    bytes: int = 0
    _rows: int = 0
    _size: int = 0

    def watch(self, requests: Iterable[Request]) -> Iterator[Request]:
        """Yield the requests as they come, and count."""
        for request in requests:
            line = request_line(request, self.options, self.form)
            if not self.count or self._rows == MOST_ROWS or self._size + len(line) > MOST_BYTES:
                self.count, self._rows, self._size = self.count + 1, 0, 0
            self._rows, self._size, self.bytes = self._rows + 1, self._size + len(line), self.bytes + len(line)
            yield request
