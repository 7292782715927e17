"""A search engine on this machine alone: it stumbles on request, and notes what it was asked and what it bills."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Stumble:
    """What comes in place of an answer. What is not 429 is billed: the work was done."""

    status: int = 200
    value: Any = None
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    drop: bool = False

    @property
    def billed(self) -> bool:
        return self.status not in (401, 429)


def results(query: str) -> dict[str, Any]:
    """What is found, in the form of an endpoint that has its list in `web.results`."""
    found = [{"title": f"About {query}", "url": "https://shop.test/1", "description": f"<b>{query}</b> &amp; more"}]
    return {"web": {"results": found}}


def chatted(query: str) -> dict[str, Any]:
    """The same of a model that searches."""
    note = {"type": "url_citation", "url_citation": {"url": "https://shop.test/1", "title": "a shop"}}
    message = {"role": "assistant", "content": f"It is {query}.", "annotations": [note]}
    usage = {"prompt_tokens": 60, "completion_tokens": 10}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}


class SearchServer:
    """The server. `script` says what happens to the n-th search (from 1); by default it is answered."""

    def __init__(self, url: str, never: asyncio.Event) -> None:
        self.url, self._never = url, never
        self.script: Callable[[int, str], Stumble | None] = lambda number, query: None
        self.queries: list[str] = []
        self.answered: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.billed = self.now = self.most = 0

    def release(self) -> None:
        """Let go of what hangs; to be called in the server's thread."""
        self._never.set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else {}
        chat = request.path.endswith("/chat/completions")
        query = body["messages"][-1]["content"] if chat else str(body.get("q") or request.query.get("q", ""))
        self.queries.append(query)
        self.headers.append(dict(request.headers))
        stumble = self.script(len(self.queries), query)
        self.billed += stumble is None or stumble.billed
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if stumble is not None and stumble.hang:
                await self._never.wait()
            await asyncio.sleep(0)
        finally:
            self.now -= 1
        if stumble is None:
            self.answered[query] += 1
            return web.json_response(chatted(query) if chat else results(query))
        if stumble.drop:
            assert request.transport is not None
            request.transport.abort()
        content = json.dumps(stumble.value).encode() if stumble.content is None else stumble.content
        return web.Response(status=stumble.status, body=content, headers=stumble.headers)


@contextmanager
def searching() -> Iterator[SearchServer]:
    """Serve while the block runs."""
    loop = asyncio.new_event_loop()
    server = SearchServer("", asyncio.Event())

    async def begin() -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", server.serve)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    runner = loop.run_until_complete(begin())
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    thread = threading.Thread(target=loop.run_forever, name="search-server", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(server.release)
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
