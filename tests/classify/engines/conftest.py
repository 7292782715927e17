"""A server on this machine that speaks the chat-completions API, and stumbles as it is told."""

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass
class Reply:
    """What the server does with one request: it answers, unless it is told otherwise."""

    status: int = 200
    value: Any = None  # JSON; by default an answer
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None  # in place of a JSON value
    hang: bool = False  # no answer at all
    reset: bool = False  # the connection, in place of an answer
    times: int = 1  # the same answer so often
    full: bool = False  # wait until so many requests are in flight as `Loopback.full_at` says


def answer(text: str | None, finish: str = "stop", **more: Any) -> dict[str, Any]:
    """The body of an answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}, **more}


class Loopback:
    """The server, in a thread of its own.

    `script` says what to do with the n-th chat request, given its body; by default the answer is the last message.
    """

    reply = Reply
    answer = staticmethod(answer)

    def __init__(self) -> None:
        self.script: Callable[[int, dict[str, Any]], Reply | None] = lambda number, body: None
        self.everything: Reply | None = None  # in place of any other answer
        self.models: Reply = Reply(value={"data": [{"id": "first"}, {"id": "second"}]})
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[str] = []
        self.paths: list[str] = []
        self.connections = self.now = self.most = 0
        self.full_at = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loopback")
        self._thread.start()
        self._full, self._never = asyncio.Event(), asyncio.Event()
        self._server = self._call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    def die(self) -> None:
        """Listen no longer, and drop all connections."""

        async def work() -> None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()

        self._call(work())

    def end(self) -> None:
        async def work() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.die()
        self._call(work())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:-2])
                content = await reader.readexactly(int(fields.get("content-length", 0)))
                self.headers.append(head)
                self.paths.append(head.split(" ")[1])
                await self._respond(writer, content)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _respond(self, writer: asyncio.StreamWriter, content: bytes) -> None:
        if self.everything is not None:
            reply = self.everything
        elif not content:
            reply = self.models
        else:
            body = json.loads(content)
            self.bodies.append(body)
            reply = self.script(len(self.bodies), body) or Reply(value=answer(body["messages"][-1]["content"]))
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if self.now == self.full_at:
                self._full.set()
            if reply.full:
                await self._full.wait()
            if reply.hang:
                await self._never.wait()
        finally:
            self.now -= 1
        if reply.reset:
            # Lingering for no time at all: the other side gets a reset, not an end.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise ConnectionError
        content = json.dumps(reply.value).encode() if reply.content is None else reply.content
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), **reply.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write((f"HTTP/1.1 {reply.status} X\r\n{lines}\r\n".encode() + content) * reply.times)
        await writer.drain()
        if int(headers["Content-Length"]) != len(content):
            raise ConnectionError


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    server = Loopback()
    yield server
    server.end()
