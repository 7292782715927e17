"""Putting a fine-tuned model on the Hugging Face hub: merged weights, adapters and card."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError, first_line, require
from finetune.card import card
from finetune.fitted import Fitted, public_name

EXTRA = "lora"
TOKEN = "HF_TOKEN"  # noqa: S105 -- the name of the variable, not its value
# Weights, configurations, tokenizers, templates and licences: no trainer's states, which are pickles, no logs.
SENT = {".json", ".safetensors", ".jinja", ".txt", ".model", ".tiktoken"}
SENT_NAMES = ("LICENSE", "NOTICE", "USE_POLICY")
# Where a library wrote down the folder that it read.
_ORIGINS = ("base_model_name_or_path", "_name_or_path", "name_or_path")


def push(folder: str | Path, name: str, *, private: bool = True) -> str:
    """Put a model on the hub: the merged model, its adapters in ``adapter/``, and its card.

    The token is read from the environment variable HF_TOKEN alone, and no text ever holds it. What is on the hub
    already under this name is replaced, file by file.

    Parameters
    ----------
    folder : str or Path
        A fitted LoRA model.
    name : str
        ``owner/name``, or ``name`` for the token's owner.
    private : bool
        Let only the owner see it.

    Returns
    -------
    str
        Its address.

    Raises
    ------
    ShelfmarkError
        When the folder is no whole LoRA model, there is no token, the token may not write there, a public repository
        stands where a private one was asked for, or the hub cannot be reached.
    """
    fitted = Fitted.read(folder)
    merged, adapter = fitted.merged, fitted.adapter
    token = check_token()
    library, tools = require("huggingface_hub", EXTRA), require("huggingface_hub.utils", EXTRA)
    if not sys.stderr.isatty():
        tools.disable_progress_bars()
    tools.logging.set_verbosity_error()  # a failure is told in one line, below
    api = library.HfApi(token=token)
    text = card(folder, name)  # before anything is made on the hub: a damaged model leaves nothing there
    try:
        with tempfile.TemporaryDirectory() as staged:
            _stage(merged, Path(staged))
            _stage(adapter, Path(staged) / "adapter")
            place = api.create_repo(name, private=private, exist_ok=True)
            if place.repo_id != name:  # with the owner, whom the token tells
                name = place.repo_id
                text = card(folder, name)
            # The hub does not change what is there already.
            if private and api.repo_info(name).private is False:
                raise ShelfmarkError(f"--to {name}: is there already and public; choose another name, or give --public")
            (Path(staged) / "README.md").write_text(text, encoding="utf-8")
            api.upload_folder(repo_id=name, folder_path=staged, commit_message="The model, its adapters and its card")
    except ShelfmarkError:
        raise
    except Exception as error:  # the library and its transport raise many kinds
        raise ShelfmarkError(_reason(name, error).replace(token, "...")) from None
    return str(place)


def check_token() -> str:
    """Return the token, from the environment alone.

    Raises
    ------
    ShelfmarkError
        When there is none, or what is there cannot be one.
    """
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        raise ShelfmarkError(
            f"{TOKEN} is not set: make a token that may write at https://huggingface.co/settings/tokens, and set it in "
            "the environment"
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ShelfmarkError(f"{TOKEN} holds signs that no token has; copy the token again")
    return token


def _stage(source: Path, place: Path) -> None:
    """Lay out in `place` what of a model's folder others get: links to the weights, texts without our paths."""
    place.mkdir(exist_ok=True)
    for file in sorted(source.iterdir()):
        if not file.is_file() or (file.suffix not in SENT and not file.name.startswith(SENT_NAMES)):
            continue
        if file.suffix == ".json" and _tells_origin(file):
            values = json.loads(file.read_text(encoding="utf-8"))
            cleaned = {key: public_name(str(one)) if key in _ORIGINS and one else one for key, one in values.items()}
            (place / file.name).write_text(json.dumps(cleaned, indent=2, ensure_ascii=False), encoding="utf-8")
        else:
            (place / file.name).symlink_to(file.resolve())


def _tells_origin(file: Path) -> bool:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(values, dict) and not values.keys().isdisjoint(_ORIGINS)


def _reason(name: str, error: BaseException) -> str:
    """Return the one line for what the hub, or the way to it, refused."""
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in chain:
        chain.append(at)
        at = at.__cause__ or at.__context__
    status = next((found for one in chain if (found := _status(one)) is not None), None)
    kinds = {kind.__name__ for one in chain for kind in type(one).__mro__}
    if "OfflineModeIsEnabled" in kinds:
        return f"--to {name}: HF_HUB_OFFLINE is set, so the hub cannot be asked; unset it"
    if status == 401:
        return f"--to {name}: the hub does not know the token in {TOKEN} (401); make a new one and set it"
    if status == 403:
        return f"--to {name}: the token in {TOKEN} may not write there (403); take one that may, or another name"
    if "HFValidationError" in kinds:
        return f"--to {name}: not a name on the hub ({first_line(error)}); take OWNER/NAME"
    if status is not None:
        said = next((getattr(one, "server_message", None) for one in chain if _status(one) is not None), None)
        return f"--to {name}: the hub answered {status} ({said or first_line(error)}); try again later"
    # The transport is httpx in one version of the library, another in others: its errors are known by their names.
    if kinds & {"ConnectError", "TimeoutException", "NetworkError", "TransportError", "ConnectionError"}:
        return f"--to {name}: the hub cannot be reached ({first_line(chain[-1])}); check the network and HF_ENDPOINT"
    return f"--to {name}: not sent ({first_line(error)})"


def _status(error: BaseException) -> int | None:
    response: Any = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    return status if isinstance(status, int) else None
