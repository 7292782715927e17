"""A search engine, an endpoint file for it, and products to search for."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from classify.search.searching import Searcher
from tests.search_server import SearchServer, searching

KEY = "BSA/very+secret=1"


@pytest.fixture
def engine() -> Iterator[SearchServer]:
    with searching() as server:
        yield server


@pytest.fixture
def endpoint(engine: SearchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The TOML file that describes the engine; it wants a key."""
    monkeypatch.setenv("SEARCH_KEY", KEY)
    file = tmp_path / "engine.toml"
    file.write_text(
        f'url = "{engine.url}/search?q={{query}}&count=5"\nkey = "SEARCH_KEY"\nresults = "web.results"\n'
        '[headers]\nX-Subscription-Token = "{key}"\n'
    )
    return file


@pytest.fixture
def products(tmp_path: Path) -> Callable[..., Path]:
    """Write products with these descriptions."""

    def write(*texts: str, name: str = "test.features") -> Path:
        file = tmp_path / name
        rows = (
            {"indoml_id": row, "description": text, "retailer": "shop", "price": 1} for row, text in enumerate(texts)
        )
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return file

    return write


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is waited, in seconds; nobody does."""
    waited: list[float] = []

    async def at_once(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(Searcher, "sleep", staticmethod(at_once))
    return waited
