"""Anything that speaks the OpenAI chat-completions API: vllm serve, TGI, Ollama, llama.cpp, OpenAI."""

from __future__ import annotations

import asyncio
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, ClassVar

from pydantic import Field, field_validator

from catalog.errors import ShelfmarkError, nearest
from catalog.messages import Completion, Request
from classify.engines import chat, retry
from classify.engines.background import Background
from classify.engines.base import ApiOptions, Constrain
from classify.engines.beside import Bound
from classify.engines.connection import (
    NO_CONNECTION,
    TOO_LONG,
    UNPAID,
    Connection,
    ForbiddenError,
    TroubleError,
    check_url,
)
from classify.engines.forms import AnswerForm
from classify.loads import load_of_body
from classify.provider.client import DEFAULT_URL, provider_key
from classify.token_counts import token_counts

MORE_FAILURES = 20
PROBES = 3  # requests that are forbidden before any is answered: then it is the key, and not what is asked
FORBIDDEN = "forbidden"
LONGEST_ANSWER = 2**26  # bytes
"""So many requests, besides as many as may be in flight, fail one after the other before the server counts as gone."""

_LADDERS: dict[Constrain, tuple[Constrain, ...]] = {
    "choice": ("choice", "json", "off"),
    "json": ("json", "off"),
    "off": ("off",),
}


class ServerOptions(ApiOptions):
    """What a user chooses of a server.

    Attributes
    ----------
    base_url : str
        Where it is, up to ``/v1``; by default what ``OPENAI_BASE_URL`` says, else a ``vllm serve`` on this machine.
    concurrency : int
        The most requests in flight at once.
    timeout : float
        Seconds that one request may take.
    retries : int
        How often a request is asked again after a trouble that may pass.
    """

    free: ClassVar[frozenset[str]] = frozenset({"base_url", "concurrency", "timeout", "retries"})

    base_url: str = Field(
        default_factory=lambda: os.environ.get("OPENAI_BASE_URL") or "http://localhost:8000/v1", validate_default=True
    )
    concurrency: int = Field(default=64, ge=1, le=4096)
    timeout: float = Field(default=120.0, gt=0, allow_inf_nan=False)
    retries: int = Field(default=6, ge=0, le=100)

    @field_validator("base_url")
    @classmethod
    def _address(cls, url: str) -> str:
        return check_url(url)


class _Ladder:
    """Ways to ask, best first, and how far down a server was found to understand them.

    Attributes
    ----------
    rungs : list of (constrain, logprobs)
        The ways.
    rung : int
        The place of the best that may be understood.
    settled : bool
        Whether it was.
    """

    def __init__(self, constrains: Iterable[Constrain]) -> None:
        self.rungs = [(constrain, logprobs) for constrain in constrains for logprobs in (True, False)]
        self.rung, self.settled = 0, False

    def below(self, rung: int) -> int | None:
        """Return what to try after a way that was refused; None where nothing is left."""
        # Another request may have found out meanwhile what works.
        following = max(rung + 1, self.rung) if rung < self.rung or not self.settled else len(self.rungs)
        return following if following < len(self.rungs) else None


class ServerEngine:
    """Asks a server, many requests at once.

    Servers differ in what they know. The first requests find out: a body that is refused is sent again without
    logprobs, then with a JSON schema in place of a choice, then unconstrained. What worked stays, and `report` tells.
    Requests without candidates find out for themselves, beginning with the schema.
    The key is read from ``OPENAI_API_KEY``; no text that leaves here holds it.

    Attributes
    ----------
    charge : callable or None
        Told of each try whose answer was lost and may be billed; says whether another one can be paid. It is called in
        another thread, by one request at a time.
    """

    name: ClassVar[str] = "server"
    needs: ClassVar[tuple[str, str] | None] = None
    options_class: ClassVar[type[ServerOptions]] = ServerOptions
    deterministic: ClassVar[bool] = False

    sleep = staticmethod(asyncio.sleep)

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self._connection = Connection(options.base_url, options.timeout, longest=LONGEST_ANSWER)
        self._forbidden: ForbiddenError | None = None
        self._ending = False
        self.form: AnswerForm | None = None
        self.charge: Callable[[Request], bool] | None = None
        self._ladders: dict[bool, _Ladder] = {}
        self._troubles: Counter[str] = Counter()
        self.report: dict[str, Any] = {"retries": 0, "server errors": {}}

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one completion for each request, as they come; at most `concurrency` are in flight.

        The first request goes alone, so that no others are drawn where all would be in vain. Errors of requests whose
        retries are used up, or that are forbidden, are held back until the server answers another one or the requests
        end: if it turns out to be gone, nothing is said of them, and a resumed run asks them again. Where it is of no
        use any more, what is in flight may be paid: its answers are waited for first.

        Raises
        ------
        ShelfmarkError
            When there is no server, it is gone, it wants a key and there is none, or it knows neither the key nor the
            model.
        """
        if self.options.base_url == DEFAULT_URL:
            provider_key()  # nothing is answered there without one
        waiting = iter(requests)
        held: list[Completion] = []
        in_flight, room, last, forbidden, answered = 0, 1, "", 0, False
        useless: ShelfmarkError | None = None
        self._forbidden, self._ending = None, False
        with Background[tuple[Completion, str]]() as background:
            background.call(self._connection.open())
            try:
                while True:
                    while useless is None and in_flight < room and (request := next(waiting, None)) is not None:
                        background.start(self._answer(request))
                        in_flight += 1
                    if not in_flight:
                        break
                    in_flight -= 1
                    try:
                        completion, trouble = background.take()
                    except ShelfmarkError as error:
                        useless, self._ending = useless or error, True
                        continue
                    if trouble != FORBIDDEN:
                        room = self.options.concurrency
                    if not trouble:
                        yield completion
                        yield from held
                        held, last, forbidden, answered = [], "", 0, True
                        continue
                    held.append(completion)
                    last = trouble
                    forbidden += trouble == FORBIDDEN
                    if forbidden >= (self.options.concurrency + MORE_FAILURES if answered else PROBES):
                        useless = useless or self._forbidden
                    elif len(held) >= self.options.concurrency + MORE_FAILURES:
                        why = f"{len(held)} requests in a row failed, the last with {completion.error}"
                        useless = useless or self._gone(why)
                    self._ending = useless is not None
                if useless is None and forbidden and not answered:
                    useless = self._forbidden
                if useless is not None:
                    raise useless
                if last == NO_CONNECTION:
                    raise self._gone(f"the last {len(held)} requests failed, the last with {held[-1].error}")
                yield from held
            finally:
                background.cancel()
                background.call(self._connection.close())

    async def _answer(self, request: Request) -> tuple[Completion, str]:
        """Return the completion, and the kind of trouble that outlasted the retries, or an empty string."""
        trouble = TroubleError("not asked", "")
        for retries in range(self.options.retries + 1):
            if retries and self._ending:
                break
            try:
                return await self._ask(request), ""
            except ForbiddenError as error:
                self._forbidden = error
                return Completion(request.id, error=str(error)), FORBIDDEN
            except TroubleError as error:
                trouble = error
            self._troubles[trouble.kind] += 1
            self.report["server errors"] = dict(sorted(self._troubles.items()))
            if self.charge is not None and trouble.kind not in UNPAID and not self.charge(request):
                return Completion(request.id, error=f"{trouble}, and --max-cost allows no other try"), trouble.kind
            if trouble.kind == TOO_LONG:
                break
            if retries < self.options.retries:
                self.report["retries"] += 1
                await self.sleep(retry.wait(retries, trouble.retry_after))
        if not self._connection.answered:
            raise ShelfmarkError(
                f"{self._connection.url}: no server answers ({trouble}); start one, for example vllm serve MODEL, "
                "or say where it is with --base-url"
            )
        return Completion(request.id, error=f"{trouble}{retry.after(retries)}"), trouble.kind

    async def _ask(self, request: Request) -> Completion:
        """Send a request as the server is known to understand it, or find out how.

        Raises
        ------
        TroubleError
            When it may be answered if it is asked again.
        ShelfmarkError
            When no request will be.
        """
        options = self.options.model_copy(update={"llm": await self._model()})
        scrub = self._connection.scrub
        ladder = self._ladder(request)
        rung = ladder.rung
        while True:
            constrain, logprobs = ladder.rungs[rung]
            value = chat.body(request, options, constrain=constrain, logprobs=logprobs, form=self.form)
            status, answer = await self._connection.send("POST", "/chat/completions", value)
            code, reason = chat.problem(answer)
            if 200 <= status < 300:
                try:
                    completion = chat.read(request, answer, constrain, most=partial(self._most, value))
                except chat.NoAnswerError as error:
                    raise TroubleError(str(error), scrub(reason)) from None
                if not ladder.settled:
                    ladder.settled, ladder.rung = True, rung
                    self.report |= {"constrained by": constrain, "logprobs asked for": logprobs}
                return completion
            if "content_filter" in code:
                return Completion(request.id, error="content filter")
            if status == 404:
                raise await self._missing(options.llm, reason)
            following = ladder.below(rung) if status in (400, 422) and "context_length" not in code else None
            if following is None:
                return Completion(request.id, error=scrub(f"HTTP {status}: {reason}"))
            rung = following

    def _most(self, value: dict[str, Any]) -> Bound:
        """Return the tokens that the body of a request may take, at most."""
        load = load_of_body(value, token_counts(self.options.llm), None)
        return math.ceil(load.most_read), math.ceil(load.most_written)

    def _ladder(self, request: Request) -> _Ladder:
        """Return the ways to ask a request: there are others where it has no candidates."""
        held = bool(request.candidates)
        if held not in self._ladders:
            constrains = _LADDERS[self.options.constrain]
            if not held:
                written = self.form is not None and self.form.writing == "json"
                constrains = ("json", "off") if written and "json" in constrains else ("off",)
            self._ladders[held] = _Ladder(constrains)
        return self._ladders[held]

    async def _model(self) -> str:
        """Return the model's name: the one that was chosen, or the first that the server has."""
        if self.options.llm:
            self.report["model"] = self.options.llm
        if "model" not in self.report:
            names = await self._connection.models()
            if not names:
                raise ShelfmarkError(f"{self._connection.url}/models: names no model; choose one with --llm")
            self.report["model"] = names[0]
        return str(self.report["model"])

    async def _missing(self, model: str, reason: str) -> ShelfmarkError:
        """Return what to say of HTTP 404: there is no such model, or no such API."""
        names = await self._connection.models()
        if names and model not in names:
            fault = f"--llm {model}: unknown there{nearest(model, names)}; there are: {', '.join(names[:10])}"
        else:
            fault = f"HTTP 404; check --llm and --base-url, which mostly ends in /v1; the server says: {reason}"
        return ShelfmarkError(self._connection.scrub(f"{self._connection.url}: {fault}"))

    def _gone(self, why: str) -> ShelfmarkError:
        return ShelfmarkError(
            f"{self._connection.url}: {why}; is it still running? Recorded answers are kept: classify resume RUN "
            "carries on"
        )
