"""The loopback server of the tests, whose answers are odd at times: well-formed HTTP that says what no provider should.

`Faults` of the server itself are those that its own work may have (errors, cuts, lost batches). What is here changes
answers on their way out, each with a chance, so that asking again may help.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from aiohttp import web

from tests.openai_server import Server, running
from tests.openai_server.app import make_app
from tests.openai_server.state import State

Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]
USAGES: tuple[Any, ...] = (
    None,
    [],
    "many",
    {},
    {"prompt_tokens": -5, "completion_tokens": -1},
    {"prompt_tokens": 10**30, "completion_tokens": 1},
    {"prompt_tokens": "7", "completion_tokens": None},
    {"prompt_tokens": 1.5, "completion_tokens": True},
    {"prompt_tokens": [1], "completion_tokens": {}},
    {"input_tokens": 3},
)
IDS: tuple[Any, ...] = (
    "../../outside",
    "/tmp/outside",
    "a/b",
    "",
    " ",
    "x" * 300,
    "a\x00b",
    "..",
    None,
    7,
    ["batch_1"],
    "\x1b[2J",
)
STATUSES: tuple[Any, ...] = (None, "", "done", 7, [], "COMPLETED", {"status": "completed"})
BODIES = (
    b"",
    b"null",
    b"[]",
    b"7",
    b'"text"',
    b"{",
    b"\xff\xfe",
    b"<html>",
    b'{"a": NaN}',
    b"[" * 50_000,
    b'{"id": 1, "id": 2}',
)


@dataclass
class Oddity:
    """What is odd, and how often: chances of each answer.

    `usage`, `ids`, `status`, `fields`: of a batch or of an answer. `body`: of any call. `redirect`: to another host.
    `gone`, `cut`: of the files of batches. `echo`: lines of an output file once more, with another answer. `slow`: in
    seconds, of each call. `storm`: so many calls in a row get 429. `close`: the connection is cut within the answer.
    """

    seed: int = 0
    usage: float = 0
    ids: float = 0
    status: float = 0
    fields: float = 0
    body: float = 0
    redirect: float = 0
    gone: float = 0
    cut: float = 0
    echo: float = 0
    slow: float = 0
    storm: int = 0
    close: float = 0
    hit: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.draw = random.Random(f"odd {self.seed}")
        self.elsewhere = ""

    def happens(self, name: str) -> bool:
        """Draw whether it happens now, and count it."""
        happens = self.draw.random() < getattr(self, name)
        self.hit[name] += happens
        return happens


CHANCES: dict[str, tuple[float, ...]] = {
    "usage": (0.3, 1),
    "ids": (0.2,),
    "status": (0.2,),
    "fields": (0.2,),
    "body": (0.1,),
    "redirect": (0.1,),
    "gone": (0.4,),
    "cut": (0.4,),
    "echo": (1,),
    "slow": (0.005,),
    "storm": (3, 20),
    "close": (0.1,),
}


def random_oddity(seed: int) -> Oddity:
    """Draw one to four of them."""
    draw = random.Random(f"oddity {seed}")
    chosen = draw.sample(sorted(CHANCES), draw.randint(1, 4))
    return Oddity(seed, **{name: draw.choice(CHANCES[name]) for name in chosen})  # type: ignore[arg-type]


def _odd_object(odd: Oddity, value: dict[str, Any]) -> dict[str, Any]:
    """Return a batch, a file or an answer as an odd provider tells of it."""
    if "usage" in value and odd.happens("usage"):
        value["usage"] = odd.draw.choice(USAGES)
    if value.get("object") == "batch" and odd.happens("status"):
        if odd.draw.random() < 0.5:
            value.pop("status", None)
        else:
            value["status"] = odd.draw.choice(STATUSES)
    if "id" in value and odd.happens("ids"):
        value["id"] = odd.draw.choice(IDS)
    if value.get("object") == "batch" and odd.happens("fields"):
        names = ["output_file_id", "error_file_id", "metadata", "request_counts", "errors", "input_file_id", "model"]
        name = odd.draw.choice(names)
        value[name] = odd.draw.choice([*IDS, {}, [], 10**30, {"a": {"b": None}}])
    return value


def _odd_answer(odd: Oddity, content: bytes) -> bytes:
    try:
        value = json.loads(content)
    except ValueError:
        return content
    if isinstance(value, dict):
        if isinstance(value.get("data"), list):
            value["data"] = [_odd_object(odd, one) if isinstance(one, dict) else one for one in value["data"]]
        value = _odd_object(odd, value)
    return json.dumps(value).encode()


def _odd_lines(odd: Oddity, content: bytes) -> bytes:
    """Return an output file in which rows are answered twice, or with odd numbers of tokens."""
    lines = content.split(b"\n")[:-1]
    more = []
    for place, line in enumerate(lines):
        try:
            value = json.loads(line)
            body = value["response"]["body"]
        except (ValueError, TypeError, LookupError):
            continue
        if not isinstance(body, dict):
            continue
        if odd.usage and odd.happens("usage"):
            body["usage"] = odd.draw.choice(USAGES)
            lines[place] = json.dumps(value).encode()
        if odd.echo and odd.draw.random() < 0.3 and body.get("choices"):
            odd.hit["echo"] += 1
            body["choices"][0]["message"] = {"role": "assistant", "content": "another answer"}
            more.append(json.dumps(value).encode())
    if odd.draw.random() < 0.5:
        lines += more
    else:
        lines = more + lines
    return b"".join(line + b"\n" for line in lines)


def _middleware(odd: Oddity) -> Any:
    @web.middleware
    async def oddly(request: web.Request, handler: Serve) -> web.StreamResponse:
        if request.path.startswith("/control"):
            return await handler(request)
        if odd.slow:
            odd.hit["slow"] += 1
            await asyncio.sleep(odd.slow)
        if odd.storm > 0 and odd.draw.random() < 0.7:
            odd.storm -= 1
            odd.hit["storm"] += 1
            await request.read()
            return web.json_response({"error": {"message": "slow down", "type": "requests"}}, status=429)
        if odd.happens("redirect"):
            await request.read()
            raise web.HTTPTemporaryRedirect(f"{odd.elsewhere}{request.path}")
        response = await handler(request)
        file = request.path.endswith("/content")
        if file and odd.happens("gone"):
            return web.json_response({"error": {"message": "No such File object"}}, status=404)
        content = _content(response)
        if content is None or response.status != 200:
            return response
        if odd.happens("body"):
            content = odd.draw.choice(BODIES)
        elif file:
            content = _odd_lines(odd, content)
            if odd.happens("cut"):
                content = content[: odd.draw.randrange(len(content) + 1)]
        else:
            content = _odd_answer(odd, content)
        if odd.happens("close"):
            cut = web.StreamResponse(headers={"Content-Type": "application/json"})
            cut.content_length = len(content) + 10
            await cut.prepare(request)
            await cut.write(content[: len(content) // 2])
            if request.transport is not None:
                request.transport.close()
            return cut
        return web.Response(body=content, content_type="application/json")

    return oddly


def _content(response: web.StreamResponse) -> bytes | None:
    """Return what a response will say; None where it is on its way already."""
    if isinstance(response, web.FileResponse):
        return response._path.read_bytes()
    if isinstance(response, web.Response) and isinstance(response.body, bytes):
        return response.body
    return None


class Stranger:
    """Another host, which nobody should send anything to: it notes the keys and bytes that it gets."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def serve(self, request: web.Request) -> web.Response:
        body = await request.read()
        if "authorization" in request.headers:
            self.calls.append(f"the key, by {request.method} {request.path}")
        elif body:
            self.calls.append(f"{len(body)} bytes, by {request.method} {request.path}")
        return web.json_response({"object": "list", "data": []})


@contextmanager
def odd_server(odd: Oddity, **settings: Any) -> Iterator[tuple[Server, Stranger]]:
    """Run the server of the tests with odd answers, and the host that it redirects to."""
    stranger = Stranger()
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # that a connection was cut is on purpose

    def app(state: State) -> web.Application:
        made = make_app(state)
        made.middlewares.append(_middleware(odd))
        return made

    def other(state: State) -> web.Application:
        del state
        made = web.Application()
        made.router.add_route("*", "/{tail:.*}", stranger.serve)
        return made

    with patch("tests.openai_server.running.make_app", other), running() as elsewhere:
        # The same machine by another name is another host.
        odd.elsewhere = elsewhere.url.removesuffix("/v1").replace("127.0.0.1", "localhost")
        with patch("tests.openai_server.running.make_app", app), running(**settings) as server:
            yield server, stranger
