"""The model that a run asks: one that it was given, or one that is fitted for it and kept in its directory."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from catalog.context import join_context
from catalog.errors import ShelfmarkError
from catalog.files import content_hash
from catalog.places import place_named
from catalog.products import join_products, read_products
from classify.contexts import learns
from classify.job import training_files
from classify.model import Model, fit, load_with, work_folder
from classify.names import STRATEGIES
from classify.registry import find
from classify.rundir import RunDirectory
from classify.spending import check_fit


def fitted(run: RunDirectory) -> Model:
    """Return a run's model, fitted now where it has none yet.

    Raises
    ------
    ShelfmarkError
        When the model, or what it is to be fitted on, is missing or has changed, or the fit could cost too much.
    """
    name, options, own = run.manifest["strategy"], run.options, run.model_folder
    if run.manifest["model"] is not None:
        return _told(run, load_with(own, options, strategy=name, trust=run.trust))
    if not (own / "model.json").is_file():
        run.timed("fit", lambda: _fit(run, own))
        run.record(fitted=content_hash(own / "model.json"))
    elif run.manifest.get("fitted") not in (None, content_hash(own / "model.json")):
        raise ShelfmarkError(f"{own / 'model.json'}: it changed since it was fitted; delete {own} to fit it again")
    # Read back even when it was just fitted: a resumed run, which reads it, must compute the same.
    return _told(run, load_with(own, options, trust=run.trust))


def _told(run: RunDirectory, model: Model) -> Model:
    """Tell a strategy that asks about held-out rows as they are in the index what the web says of them."""
    if run.context is not None and hasattr(model.strategy, "context"):
        model.strategy.context = run.context
    return model


def _fit(run: RunDirectory, out: Path) -> int:
    places = [place_named(place) for place in run.manifest["train"]]
    for name, file in training_files(places).items():
        run.require_unchanged(name, file)
    train = join_products([read_products(place, run.schema, labels=True) for place in places])
    name, seed, options = run.manifest["strategy"], run.manifest["seed"], run.fit_options
    if run.context is not None and learns(name):
        train = join_context(train, run.context)
    check_fit(run, train)
    how: dict[str, Any] = {"schema": run.schema, "seed": seed, "progress": run.progress, "work": work_folder(out)}
    money = {"max_cost": run.manifest.get("max_cost"), "prices": run.prices}
    known = find("strategy", STRATEGIES, name).options_class.model_fields
    options = {**options, **{key: value for key, value in money.items() if value not in (None, "") and key in known}}
    fit(train, strategy=name, **how, **options).save(out)
    shutil.rmtree(work_folder(out), ignore_errors=True)
    return len(train)
