"""The server in a thread of this process."""

import asyncio
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.openai_server.app import make_app
from tests.openai_server.faults import Faults
from tests.openai_server.state import State


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    state: State

    @property
    def faults(self) -> Faults:
        return self.state.faults


async def start(state: State, port: int = 0) -> tuple[web.AppRunner, str]:
    """Begin to serve on this machine alone; return what stops it, and its address."""
    runner = web.AppRunner(make_app(state), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/v1"


@contextmanager
def running(folder: Path | None = None, port: int = 0, **settings: Any) -> Iterator[Server]:
    """Serve while the block runs. The settings are the first fields of `State`."""
    with tempfile.TemporaryDirectory(prefix="openai-server-") as temporary:
        home = folder or Path(temporary)
        home.mkdir(parents=True, exist_ok=True)
        state, loop = State(home, **settings), asyncio.new_event_loop()
        runner, url = loop.run_until_complete(start(state, port))
        thread = threading.Thread(target=loop.run_forever, name="openai-server", daemon=True)
        thread.start()
        try:
            yield Server(url, state)
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(30)
            loop.close()
