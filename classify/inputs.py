"""A run's own copies of what it reads: so that it can be carried elsewhere, and resumed when the files have changed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from catalog.files import atomic_write
from catalog.places import features_file, labels_beside, place_named, readable
from catalog.products import read_products, stream_products
from classify.contexts import count_known
from classify.job import Job

INPUTS = "inputs"


def copy_inputs(job: Job, folder: Path) -> dict[str, Any]:
    """Read and check all that a job classifies by, and copy it into a run's folder, which is made where it is missing.

    Returns
    -------
    dict
        What the manifest says of it: ``rows``, ``test`` and, where there is one, ``context``.

    Raises
    ------
    ShelfmarkError
        When an input is wrong; then nothing is written.
    """
    test = features_file(job.test, "test")
    rows = sum(len(block) for block in stream_products(test, job.schema, limit=job.limit))
    labels = labels_beside(test)
    if labels is not None and job.limit is None:
        read_products(test, job.schema, labels=True)  # wrong labels would fail the last stage
    known = None if job.context is None else count_known(job.context, test, job.schema, job.limit)
    place = folder / INPUTS
    place.mkdir(parents=True, exist_ok=True)
    about: dict[str, Any] = {"rows": rows, "test": f"{INPUTS}/{readable(_copy(test, place).name)}"}
    if labels is not None:
        _copy(labels, place)
    if job.context is not None:
        (place / "context").mkdir(exist_ok=True)
        cache = _copy(job.context, place / "context")
        about["context"] = {"file": f"{INPUTS}/context/{readable(cache.name)}", "products": known}
    return about


def _copy(source: Path, folder: Path) -> Path:
    target = folder / place_named(readable(source.name))
    with open(source, "rb") as content, atomic_write(target, binary=True, packed=True) as out:
        shutil.copyfileobj(content, out)
    return target
