"""How the fine-tune of a model stands: told by what the fit left behind and, while it goes on, by the provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError
from catalog.files import require_plain
from classify.authority import name_all, require_address
from classify.engines.beside import count
from classify.model import work_folder
from classify.provider.client import Provider, RefusedError
from classify.provider.following import data_of, events, look_up
from classify.provider.record import FILE, Record
from classify.provider.stored import read_tuning

DONE = "tuning.json"


def standing(folder: Path, base_url: str = "") -> dict[str, Any]:
    """Return what is known of the fine-tune of a model.

    Parameters
    ----------
    folder : Path
        Of the model, or that in which its fit keeps what it needs to go on.
    base_url : str
        The address of the provider; empty for the one of the fit, where this machine's user has named it.

    Returns
    -------
    dict
        As in a model's ``tuning.json``; of one that has not ended, what is known so far.

    Raises
    ------
    ShelfmarkError
        When there is none, what is known of it is damaged, or this key's account does not know it.
    """
    if (folder / DONE).is_file():
        return read_tuning(folder / DONE)
    record, job = _begun(folder)
    provider = _provider(record, base_url)
    now = look_up(provider, job)
    curve = [
        {name: number for name, number in data_of(event).items() if isinstance(number, int | float)}
        for event in events(provider, job, set())
        if count(data_of(event).get("step")) is not None
    ]
    return {
        **record.about,
        "job": job,
        "model": now.fine_tuned_model,
        "status": now.status,
        "base": now.model,
        "error": provider.scrub(now.reason),
        "trained_tokens": now.trained_tokens,
        "curve": curve,
    }


def cancel(folder: Path, base_url: str = "") -> str:
    """Cancel the fine-tune of a model, and return its id; `base_url` as in `standing`.

    Raises
    ------
    ShelfmarkError
        When there is none, or it has ended.
    """
    if (folder / DONE).is_file():
        raise ShelfmarkError(f"{folder}: its fine-tune has succeeded; there is nothing to cancel")
    record, job = _begun(folder)
    provider = _provider(record, base_url)
    status = look_up(provider, job).status
    if status in ("succeeded", "failed", "cancelled"):
        raise ShelfmarkError(f"{job}: it has ended: {status}; there is nothing to cancel")
    try:
        provider.again(lambda api: api.fine_tuning.jobs.cancel(job))
    except RefusedError:
        if look_up(provider, job).status != "cancelled":  # where the answer to a first try was lost, it is
            raise
    return job


def how_to_go_on(out: Path) -> str:
    """Return what to do about a fit into `out` that was stopped."""
    work = work_folder(out)
    if not (work / FILE).is_file():
        return f"the same command goes on from the last checkpoint in {work}"
    job = Record(work).made("job")
    if not job:
        return "the same command goes on"
    return (
        f"{job} goes on at the provider, and is paid for; the same command comes back to it, and classify tuning {out} "
        "--cancel cancels it"
    )


def check_unpaid(out: Path) -> None:
    """Refuse to pay for another fine-tune where a model of one stands.

    Raises
    ------
    ShelfmarkError
        When there is one, whole; or what says so is damaged.
    """
    if (out / DONE).is_file() and not (work_folder(out) / FILE).is_file():
        raise ShelfmarkError(
            f"{out}: a fine-tuned model is there, {read_tuning(out / DONE)['model']}; another one costs again: choose "
            "another --out, or delete it"
        )


def _provider(record: Record, base_url: str) -> Provider:
    """Return the provider of a fit; the record may come from somebody else, and a key goes nowhere on its word."""
    if base_url:
        name_all({"base_url": base_url})
        return Provider(base_url)
    url = record.wanted.get("url")
    if not isinstance(url, str):
        raise ShelfmarkError(f"{record.file}, line 1: damaged (wanted.url: no address); give --base-url")
    require_address(url, record.file)
    return Provider(url)


def _begun(folder: Path) -> tuple[Record, str]:
    place = next((place for place in (folder, work_folder(folder)) if (place / FILE).is_file()), None)
    if place is None:
        raise ShelfmarkError(f"{folder}: no fine-tune of a provider's; classify fit --strategy openai begins one")
    require_plain(place)
    record = Record(place)
    job = record.made("job")
    if not job:
        unheard = record.unheard("job")
        what = "it is not known whether its job was made" if unheard else "its job is not made yet"
        raise ShelfmarkError(f"{folder}: {what}; give the fit's command again, which finds out")
    return record, job
