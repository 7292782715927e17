"""The report of a training as one page: curves, lengths, figures; nothing outside the file is needed to read it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from catalog.errors import ShelfmarkError
from catalog.files import atomic_write
from finetune.card import cell, figures, licence_of, without_paths
from finetune.fitted import Fitted, public_name
from finetune.fitted_check import read_profile
from finetune.profile import duration
from pages.drawing import FAINT, FIRST, INK, SECOND, Plot, plot, thousands
from pages.template import environment, printable

TEMPLATE = Path(__file__).with_name("training.html.jinja")


def write_report(folder: str | Path) -> Path:
    """Write a model's ``report.html`` of its ``training.json`` and, where there is one, ``profile.json``.

    Returns
    -------
    Path
        The page: loss and item accuracy against the step, with the kept checkpoint marked; the lengths of the
        examples against the limit; tables of data, recipe, scores, cost and versions.

    Raises
    ------
    ShelfmarkError
        When the folder is no LoRA model, or a damaged one.
    """
    fitted = Fitted.read(folder)
    training = fitted.training
    profile = fitted.folder / "profile.json"
    templates = environment(TEMPLATE.parent, cell=cell, seconds=duration)
    try:
        page = templates.get_template(TEMPLATE.name).render(
            name=fitted.folder.resolve().name,
            base=fitted.shown_base,
            training={"best": None, "merge": None, "lengths": None, "stopped_early": False, "versions": {}, **training},
            recipe=public_name(str(fitted.options.get("recipe") or "")),
            told=[
                ("base", fitted.shown_base),
                ("licence of the base", str(licence_of(fitted.base))),
                *((key, cell(value)) for key, value in figures(fitted.options).items()),
            ],
            levels=fitted.schema.levels,
            notes=[without_paths(note.replace(fitted.base, fitted.shown_base)) for note in fitted.notes],
            plots=plots(training),
            profile=read_profile(profile) if profile.is_file() else None,
        )
    except (jinja2.UndefinedError, KeyError, TypeError) as error:
        raise ShelfmarkError(f"{folder}: training.json or profile.json is damaged ({error}); make it again") from None
    place = fitted.folder / "report.html"
    with atomic_write(place) as stream:
        stream.write(printable(page))
    return place


def plots(training: dict[str, Any]) -> list[Plot]:
    """Draw what ``training.json`` tells of; what it does not tell of is left out."""
    history = training.get("history") or []
    best, lengths = training.get("best"), training.get("lengths")
    loss, held_out = _series(history, "loss"), _series(history, "eval_loss")
    right = _series(history, "item_accuracy")
    drawn = []
    if loss or held_out:
        drawn.append(_loss(loss, held_out, best))
    if right:
        drawn.append(_accuracy(right, best))
    if lengths and lengths.get("histogram"):
        drawn.append(_lengths(lengths))
    return drawn


Series = list[tuple[int, float]]


def _series(history: Sequence[dict[str, Any]], key: str) -> Series:
    return [(int(entry["step"]), float(entry[key])) for entry in history if entry.get(key) is not None]


def _loss(loss: Series, held_out: Series, best: dict[str, Any] | None) -> Plot:
    parts = []
    for name, series in (("training", loss), ("validation", held_out)):
        if series:
            parts.append(f"{name} loss from {series[0][1]:.3f} to {series[-1][1]:.3f}")
    last = max(series[-1][0] for series in (loss, held_out) if series)

    def draw(axes: Any) -> None:
        if loss:
            axes.plot(*zip(*loss, strict=True), color=FIRST, label="training", linewidth=1.4)
        if held_out:
            marker = "o" if len(held_out) < 40 else ""
            axes.plot(
                *zip(*held_out, strict=True),
                color=SECOND,
                label="validation",
                linewidth=1.4,
                linestyle="--",
                marker=marker,
                markersize=3,
            )
        _mark(axes, best)
        axes.set_ylabel("nats per token of the answers")
        axes.set_xlabel("step")
        thousands(axes.xaxis)
        axes.legend(frameon=False, labelcolor=INK, loc="best")

    return plot("Loss", f"Line chart: {', '.join(parts)}, at step {last:,}{_kept(best)}.", draw)


def _accuracy(right: Series, best: dict[str, Any] | None) -> Plot:
    alt = f"Line chart: item accuracy on held-out rows from {right[0][1]:.3f} at step {right[0][0]:,} to "
    alt += f"{right[-1][1]:.3f} at step {right[-1][0]:,}{_kept(best)}"
    alt += f", {best['item_accuracy']:.3f}." if best else "."

    def draw(axes: Any) -> None:
        axes.plot(
            *zip(*right, strict=True), color=FIRST, linewidth=1.4, marker="o" if len(right) < 40 else "", markersize=3
        )
        _mark(axes, best)
        if best:
            axes.plot([best["step"]], [best["item_accuracy"]], "o", markersize=8, markeredgecolor=INK, color="none")
            axes.legend(frameon=False, labelcolor=INK, loc="best")
        axes.set_ylim(0, 1.02)
        axes.set_ylabel("item accuracy")
        axes.set_xlabel("step")
        thousands(axes.xaxis)

    return plot("Item accuracy on held-out rows", alt, draw)


def _lengths(lengths: dict[str, Any]) -> Plot:
    bins = [(int(low), int(high), int(count)) for low, high, count in lengths["histogram"]]
    limit, longest = int(lengths["limit"]), int(lengths["longest"])
    alt = (
        f"Histogram: examples of {bins[0][0]:,} to {longest:,} tokens, {lengths['mean']:.1f} on average; the limit is "
    )
    alt += f"{limit:,}."

    def draw(axes: Any) -> None:
        axes.bar(
            [low for low, _, _ in bins],
            [count for _, _, count in bins],
            width=[high + 1 - low for low, high, _ in bins],
            align="edge",
            color=FIRST,
            edgecolor=FAINT,
            linewidth=0.6,
        )
        axes.axvline(limit, color=SECOND, linestyle="--", linewidth=1.2)
        # Beside the line on the side that has room: all bars are on its left.
        axes.annotate(
            f"limit {limit:,}",
            (limit, 0.93),
            xycoords=("data", "axes fraction"),
            xytext=(-4, 0),
            textcoords="offset points",
            ha="right",
            color=INK,
        )
        axes.set_xlim(0, max(limit, longest) * 1.04)
        axes.set_xlabel("tokens, the chat template's included")
        axes.set_ylabel("examples")
        thousands(axes.xaxis)
        thousands(axes.yaxis)

    return plot("Lengths of examples", alt, draw)


def _kept(best: dict[str, Any] | None) -> str:
    return f"; the checkpoint that was kept is that of step {best['step']:,}" if best else ""


def _mark(axes: Any, best: dict[str, Any] | None) -> None:
    if best:
        axes.axvline(best["step"], color=INK, linestyle=":", linewidth=1, label=f"kept: step {best['step']:,}")
