"""What goes wrong, and how often."""

import random
from dataclasses import asdict, dataclass, field, fields
from typing import Any

Chance = float


@dataclass
class Faults:
    """Everything that can go wrong. All of it may be combined; nothing does by default.

    A `Chance` below 1 is a probability, each time. From 1 on it is "the next so many times", and counts down: a huge
    one is always. What happens to a batch or a fine-tuning job is decided when it is created. Of `fail_batch`, `expire`
    and `cancel_batch` the first that happens to a batch keeps the others from it.
    """

    seed: int = 0

    # A whole batch. A share is the share of its rows that are done, and billed, before its end.
    expire: Chance = 0
    expire_share: float = 0.5
    fail_batch: Chance = 0
    fail_share: float = 0  # more than 0: failed, and with an output file
    fail_code: str = "internal_error"
    fail_message: str = "The batch failed because of an internal error."
    cancel_batch: Chance = 0
    cancel_share: float = 0.5
    no_output: Chance = 0  # completed and billed, without any file
    late_output: Chance = 0  # the ids of the files come only with ...
    late_output_steps: int = 2  # ... so many retrieves after the one that says completed
    only_errors: Chance = 0  # each row gets a 500
    no_usage: Chance = 0
    no_counts: Chance = 0  # how many requests are done is never told
    batch_fields: dict[str, Any] = field(default_factory=dict)  # in place of what every look at a batch shows
    ended_fields: dict[str, Any] = field(default_factory=dict)  # the same, once it has ended
    made_fields: dict[str, Any] = field(default_factory=dict)  # in place of what the answer to its creation shows
    enqueued_limit: int | None = None  # tokens of one organisation and model
    enqueued_refuses: bool = False  # creation is refused (429) instead of failing the batch
    legacy: bool = False  # metadata is never given back

    # Each row.
    row_errors: Chance = 0  # 500 or 429, not billed

    # Each output file (shuffle), and each of its lines.
    shuffle: Chance = 0
    repeat: Chance = 0
    drop: Chance = 0
    corrupt: Chance = 0
    unknown: Chance = 0
    blank: Chance = 0
    crlf: Chance = 0
    damage_errors: bool = False  # error files are damaged, too

    # Each download, or the first so many looks (by id or in a listing) at each new object.
    cut_file: Chance = 0
    cut_lines: Chance = 0  # after half of the lines, as if it were whole
    gone_output: Chance = 0  # the output of a batch is unknown
    hide_file: int = 0
    hide_batch: int = 0

    # Each call of one of the routes ("POST /v1/batches"; none: of all). `http`: before the work; `after`: it is done.
    http_429: Chance = 0
    http_500: Chance = 0
    http_503: Chance = 0
    http_drop: Chance = 0
    http_routes: list[str] = field(default_factory=list)
    retry_after: float = 0
    after_500: Chance = 0
    after_drop: Chance = 0
    after_routes: list[str] = field(default_factory=list)

    # A fine-tuning job.
    fail_tune: Chance = 0
    fail_tune_code: str = "server_error"
    fail_tune_message: str = "The job failed due to an internal error."
    slow_tune: int = 0  # retrieves more until it is done

    # The clock, in seconds.
    clock_offset: float = 0
    clock_jump: float = 0  # added to the offset by each request

    _random: random.Random | None = field(default=None, init=False, repr=False, compare=False)
    _seed: int = field(default=0, init=False, repr=False, compare=False)

    def hit(self, name: str) -> bool:
        """Return whether the fault happens now, and count it."""
        chance = float(getattr(self, name))
        if chance >= 1:
            setattr(self, name, chance - 1)
            return True
        return chance > 0 and self.random().random() < chance

    def random(self) -> random.Random:
        """Return the generator that all chances are drawn from; another seed begins it anew."""
        if self._random is None or self._seed != self.seed:
            self._random, self._seed = random.Random(self.seed), self.seed
        return self._random

    def damages(self) -> bool:
        """Return whether the lines of an output file may be damaged at all."""
        return any((self.shuffle, self.repeat, self.drop, self.corrupt, self.unknown, self.blank, self.crlf))

    def update(self, values: dict[str, Any]) -> None:
        """Set some fields by their names."""
        unknown = values.keys() - {one.name for one in fields(self) if one.init}
        if unknown:
            raise ValueError(f"no such fault: {', '.join(sorted(unknown))}")
        for name, value in values.items():
            now = getattr(self, name)
            kind = int | float if isinstance(now, int | float) else type(now)
            if not isinstance(value, int | None if name == "enqueued_limit" else kind):
                raise ValueError(f"{name} cannot be {value!r}")
        for name, value in values.items():
            setattr(self, name, value)

    def as_dict(self) -> dict[str, Any]:
        """Return all fields, as they are now."""
        return {name: value for name, value in asdict(self).items() if not name.startswith("_")}
