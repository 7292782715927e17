"""The engine `server` beside a plain load generator, at the same concurrency, in one run.

    python benchmarks/server_load.py [--requests 3000] [--concurrency 64] [--service-ms 100] [--base-url URL --llm NAME]

The server is our own, in a process of its own: after the service time it gives one answer of nine tokens with twenty
alternatives each, 12 kB. The load generator writes bytes made beforehand to connections that stay open, and looks for
nothing in the answers but their length. With --base-url both ask a real server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import time
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from urllib.parse import urlsplit

from catalog.messages import Request
from classify.engines import chat
from classify.engines.server import ServerEngine, ServerOptions

TOKENS = ["food", "__", "da", "iry", "__", "milk", "__", "bra", "nd0"]
OTHERS = ["home", "bev", "d", "br", "x", "milk", "snack", "ice", "b", "t", "co", "sugar", "oil", "pet", "a", "s", "w"]


def answer() -> bytes:
    steps = []
    for token in TOKENS:
        others = [token, *OTHERS, "f", "g"][:20]
        top = [{"token": text, "logprob": -0.5 - rank, "bytes": [*text.encode()]} for rank, text in enumerate(others)]
        steps.append({**top[0], "top_logprobs": top})
    message = {"role": "assistant", "content": "".join(TOKENS)}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": {"content": steps}}
    body = {"model": "m", "choices": [choice], "usage": {"prompt_tokens": 900, "completion_tokens": len(TOKENS)}}
    content = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(content) + content


class Server(asyncio.Protocol):
    """Answers each request after `seconds`, whatever it says."""

    content = answer()
    seconds = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.got = transport, b""

    def data_received(self, data: bytes) -> None:
        self.got += data
        head, found, rest = self.got.partition(b"\r\n\r\n")
        if not found or len(rest) < int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]):
            return
        self.got = b""
        asyncio.get_running_loop().call_later(self.seconds, self.transport.write, self.content)


def serve(pipe: Pipe, seconds: float) -> None:
    async def work() -> None:
        Server.seconds = seconds
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(work())


def made_up(count: int) -> list[Request]:
    paths = [("food", "dairy", "milk", f"brand{n}") for n in range(10)]
    paths += [(group, "x", "snacks", f"brand{n}") for n in range(5) for group in ("home", "beverages")]
    turns = [{"role": "system", "content": "Choose. " * 50}, {"role": "user", "content": "a product text " * 100}]
    return [Request(str(row), turns, paths, [0.05] * 20) for row in range(count)]


async def load(url: str, bodies: list[bytes], concurrency: int) -> None:
    """POST all bodies and read what comes, with nothing else done."""
    parts, waiting = urlsplit(url), iter(bodies)
    path, key = f"{parts.path}/chat/completions", os.environ.get("OPENAI_API_KEY", "none")
    head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {key}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: "

    async def work() -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
        for body in waiting:
            writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
            got = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert got.startswith(b"http/1.1 200"), got
            await reader.readexactly(int(got.partition(b"content-length:")[2].split(b"\r\n")[0]))
        writer.close()

    await asyncio.gather(*[work() for _ in range(concurrency)])


def compare(url: str, llm: str, requests: list[Request], concurrency: int) -> None:
    options = ServerOptions(base_url=url, llm=llm, concurrency=concurrency)
    bodies = [json.dumps(chat.body(r, options, constrain="choice", logprobs=True)).encode() for r in requests]
    list(ServerEngine(options).complete(requests[:1]))  # imports, too
    rates = {}
    for name in ("load generator", "engine", "load generator", "engine"):  # twice each; the better one counts
        wall, cpu = time.perf_counter(), time.process_time()
        if name == "engine":
            errors = sum(completion.error is not None for completion in ServerEngine(options).complete(requests))
            assert not errors, f"{errors} errors"
        else:
            asyncio.run(load(url, bodies, concurrency))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        rates[name] = max(rates.get(name, 0.0), len(requests) / wall)
        print(f"{name:15} {len(requests) / wall:7.0f} answers/s   {1000 * cpu / len(requests):.2f} ms CPU each")
    print(f"engine / load generator: {rates['engine'] / rates['load generator']:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--service-ms", type=float, default=100.0)
    parser.add_argument("--base-url")
    parser.add_argument("--llm", default="m")
    chosen = parser.parse_args()
    where = chosen.base_url or f"{chosen.service_ms:g} ms each"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine}; {chosen.requests} requests, {chosen.concurrency} at once, {where}")
    requests = made_up(chosen.requests)
    if chosen.base_url:
        compare(chosen.base_url.rstrip("/"), chosen.llm, requests, chosen.concurrency)
        return
    ours, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=serve, args=(theirs, chosen.service_ms / 1000), daemon=True)
    process.start()
    compare(f"http://127.0.0.1:{ours.recv()}/v1", chosen.llm, requests, chosen.concurrency)
    process.terminate()


if __name__ == "__main__":
    main()
