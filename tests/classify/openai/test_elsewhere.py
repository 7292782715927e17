"""Nothing is sent to another host than the one that was chosen, whatever a server answers; and no cookie comes back."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from catalog.errors import ShelfmarkError
from catalog.messages import Request
from classify.engines.server import ServerEngine, ServerOptions
from classify.provider.batches import Batches
from classify.provider.client import Provider
from classify.search.base import SearchOptions
from classify.search.generic import GenericSearch
from classify.search.openai import OpenaiSearch
from tests.classify.engines.conftest import Loopback
from tests.openai_server import KEY

SECRET = "what is uploaded"


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Loopback, Loopback]]:
    """A server that sends everybody to another one, and that one."""
    here, there = Loopback(), Loopback()
    headers = {"Location": f"{there.url}/files", "Set-Cookie": "session=1; Path=/"}
    here.everything = Loopback.reply(307, value={}, headers=headers)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(Provider, "sleep", staticmethod(lambda seconds: None))
    yield here, there
    here.end()
    there.end()


def upload(url: str, tmp_path: Any) -> None:
    (tmp_path / "requests").write_text(SECRET)
    Batches(Provider(url), "run").upload(tmp_path / "requests", "requests.jsonl")


def ask(url: str, tmp_path: Any) -> None:
    list(
        ServerEngine(ServerOptions(llm="m", base_url=url)).complete([Request("1", [{"role": "user", "content": "?"}])])
    )


def search(kind: Any, **options: Any) -> None:
    async def once() -> None:
        provider = kind(SearchOptions(**options))
        await provider.connection.open()
        try:
            await provider.search("milk")
        finally:
            await provider.connection.close()

    asyncio.run(once())


CALLS: dict[str, Any] = {
    "an upload": upload,
    "a download": lambda url, tmp_path: Batches(Provider(url), "run").download("file", tmp_path / "out"),
    "a list": lambda url, tmp_path: list(Batches(Provider(url), "run").every()),
    "a batch": lambda url, tmp_path: Batches(Provider(url), "run").create("file", {}),
    "a request": ask,
    "a search": lambda url, tmp_path: search(OpenaiSearch, search="openai", llm="m", base_url=url),
    "another search": lambda url, tmp_path: search(GenericSearch, search=f"{url}/?q={{query}}"),
}


@pytest.mark.parametrize("name", CALLS)
def test_nothing_follows_to_another_host(hosts: tuple[Loopback, Loopback], tmp_path: Any, name: str) -> None:
    here, there = hosts
    with pytest.raises(ShelfmarkError, match="HTTP 307"):
        CALLS[name](here.url, tmp_path)
    assert len(here.headers) == 1
    assert there.headers == []


def test_no_cookie_comes_back(hosts: tuple[Loopback, Loopback]) -> None:
    here, _ = hosts
    here.everything = Loopback.reply(value={"data": [], "has_more": False}, headers={"Set-Cookie": "session=1; Path=/"})
    batches = Batches(Provider(here.url), "run")
    for _ in range(2):
        assert list(batches.every()) == []
    assert len(here.headers) == 2
    assert "cookie" not in "".join(here.headers).lower()
