import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import ShelfmarkError
from finetune.hub import push

TOKEN = "hf_ThisIsNoRealToken0123456789"
SPEC = importlib.util.spec_from_file_location("hub_server", Path(__file__).with_name("hub.py"))
assert SPEC is not None
assert SPEC.loader is not None
server = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(server)


def weights(folder: Path) -> Path:
    """Give a model of words alone what stands for weights, and what must stay here."""
    for part, config in (("merged", "config.json"), ("adapter", "adapter_config.json")):
        (folder / part).mkdir()
        (folder / part / config).write_text(json.dumps({"base_model_name_or_path": "/home/me/base", "r": 4}))
        (folder / part / "model.safetensors").write_bytes(part.encode() * 1000)
        (folder / part / "tokenizer.json").write_text("{}")
        (folder / part / "training_args.bin").write_bytes(b"a pickle with paths")
        (folder / part / "README.md").write_text("the library's own card")
    (folder / "merged" / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "merged" / "LICENSE").write_text("the base's")
    return folder


@pytest.fixture
def hub() -> Iterator[Any]:
    with server.serve(TOKEN) as served:
        yield served


Push = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def pushed(hub) -> Push:
    """Push with the command and the real client, in a process of its own: the client reads its settings once."""

    def run(*arguments: object, **settings: str) -> subprocess.CompletedProcess[str]:
        known = {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN}
        command = [sys.executable, "-m", "classify.cli", "push", *map(str, arguments)]
        done = subprocess.run(
            command, env={**os.environ, **known, **settings}, capture_output=True, text=True, timeout=120
        )
        assert TOKEN not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def test_without_a_token(told, monkeypatch: pytest.MonkeyPatch) -> None:
    for token in ("", "  "):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(ShelfmarkError, match="HF_TOKEN is not set: make a token that may write"):
            push(weights(told) if not token else told, "a/b")
    monkeypatch.setenv("HF_TOKEN", TOKEN + "\x07")
    with pytest.raises(ShelfmarkError, match="HF_TOKEN holds signs that no token has") as raised:
        push(told, "a/b")
    assert TOKEN not in str(raised.value)


def test_models_that_are_not_whole(told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(ShelfmarkError, match="merged: missing or not whole"):
        push(told, "a/b")


@pytest.mark.extras
def test_what_is_sent(told, hub, pushed: Push) -> None:
    done = pushed(weights(told), "--to", "shelf")
    assert (done.returncode, done.stderr) == (0, "")
    repo = f"{server.OWNER}/shelf"
    assert done.stdout == f"{told}: now at {hub.address}/{repo}\n"
    assert hub.repos == {repo: True}
    sent = {path: content for (name, path), content in hub.files.items() if name == repo}
    assert set(sent) == {
        *("README.md", "LICENSE", "config.json", "chat_template.jinja", "tokenizer.json", "model.safetensors"),
        *("adapter/adapter_config.json", "adapter/model.safetensors", "adapter/tokenizer.json"),
    }
    assert sent["model.safetensors"] == b"merged" * 1000
    assert sent["adapter/model.safetensors"] == b"adapter" * 1000
    for name in ("config.json", "adapter/adapter_config.json"):
        assert json.loads(sent[name]) == {"base_model_name_or_path": "base", "r": 4}
    text = sent["README.md"].decode()
    assert f'name = "{repo}"' in text
    assert "in the folder `adapter`" in text
    # The token goes to the hub in this header, and not with the weights to where they are stored.
    assert {header for method, _, header in hub.asked if method == "PUT"} == {""}
    about = [(path, header) for _, path, header in hub.asked if "shelf" in path or path == "/api/repos/create"]
    assert len(about) >= 5
    assert {header for _, header in about} == {f"Bearer {TOKEN}"}
    assert TOKEN.encode() not in b"".join(hub.files.values())


@pytest.mark.extras
def test_public_and_there_already(told, hub, pushed: Push) -> None:
    weights(told)
    assert pushed(told, "--to", "else/shelf", "--public").returncode == 0
    assert hub.repos == {"else/shelf": False}
    assert pushed(told, "--to", "else/shelf", "--public").returncode == 0
    before = dict(hub.files)
    done = pushed(told, "--to", "else/shelf")
    assert done.returncode == 2
    assert done.stderr == (
        "classify: --to else/shelf: is there already and public; choose another name, or give --public\n"
    )
    assert hub.files == before


@pytest.mark.extras
def test_what_the_hub_refuses(told, hub, pushed: Push) -> None:
    weights(told)

    def refused(name: str = "a/b", **settings: str) -> str:
        done = pushed(told, "--to", name, **settings)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        return done.stderr

    assert "the hub does not know the token in HF_TOKEN (401)" in refused(HF_TOKEN="hf_another")
    assert "not a name on the hub" in refused("a/b/c")
    assert "HF_HUB_OFFLINE is set" in refused(HF_HUB_OFFLINE="1")
    assert "the hub cannot be reached" in refused(HF_ENDPOINT="http://127.0.0.1:9")
    hub.fails = {"/lfs/": 403}
    assert "may not write there (403)" in refused()
    hub.fails = {"/commit/": 413}
    assert "the hub answered 413 (out of order: Bearer ...)" in refused()  # a hub that tells the token
    hub.fails, hub.writes = {}, False
    assert "the token in HF_TOKEN may not write there (403)" in refused()
    assert hub.files == {}
