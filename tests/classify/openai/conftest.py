"""The provider's API on this machine, asked over real HTTP by its real client."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from classify.provider.client import Provider
from tests.openai_server import KEY, Server, running


@dataclass
class Bench:
    """A server, how to fit a model there, and the seconds that were waited."""

    server: Server
    folder: Path
    train: Path
    test: Path
    slept: list[float] = field(default_factory=list)

    @property
    def out(self) -> Path:
        return self.folder / "model"

    @property
    def work(self) -> Path:
        return self.folder / "model.training"

    @property
    def fit(self) -> tuple[object, ...]:
        """The command that fits a small model."""
        return ("fit", "--strategy", "openai", "--train", self.train, "--out", self.out)

    @property
    def jobs(self) -> list:
        return list(self.server.state.jobs.values())

    @property
    def bills(self) -> int:
        return self.server.state.billed()["training"]["bills"]

    @property
    def calls(self) -> int:
        return self.server.state.calls.total()


@pytest.fixture
def bench(shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Serve, with a key that is known there, and without waiting."""
    with running(tmp_path / "server") as server:
        made = Bench(server, tmp_path, shop.train_file, shop.test_file)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setattr(Provider, "sleep", staticmethod(made.slept.append))
        yield made
