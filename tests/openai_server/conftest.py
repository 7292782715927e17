"""A server for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from tests.openai_server import Server, running
from tests.openai_server.asking import client_of


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path / "server") as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[OpenAI]:
    with client_of(server.url) as client:
        yield client
