"""A plan of a fine-tune, as tables for people and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from classify.terminal import shown
from finetune.plan import CALIBRATION, OnCard, Plan

BAR = 40
"""Signs of the longest bar."""


def lora_value(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON: what is not known is null."""
    work = plan.workload
    return {
        "strategy": "lora",
        "recipe": plan.recipe.model_dump(),
        "rows": work.rows,
        "held_out": work.held_out,
        "label_paths": work.paths,
        "tokens": {
            "all": round(work.tokens_a_row * work.rows),
            "a_row": work.tokens_a_row,
            "estimated": work.estimated,
            "counted_rows": len(work.lengths.counts),
            "counted_a_row": float(work.lengths.counts.mean()),
            "longest": work.longest,
            "limit": work.lengths.limit,
            "too_long": work.too_long,
            "histogram": [list(stretch) for stretch in work.lengths.histogram()],
        },
        "steps": plan.steps,
        "evaluations": plan.evaluations,
        "parameters": plan.parameters,
        "trained_parameters": plan.trained,
        "test_rows": work.test_rows,
        "cards": [_card_value(found) for found in plan.cards],
        "calibration": CALIBRATION,
    }


def _card_value(found: OnCard) -> dict[str, Any]:
    value = asdict(found)
    return {**value, "card": found.card.model_dump(), "needed": {**value["needed"], "total": found.needed.total}}


def lora_tables(plan: Plan) -> list[Table]:
    """Return a plan's tables: the work, its lengths, the cards."""
    return [_work(plan), _lengths(plan), _cards(plan)]


def _work(plan: Plan) -> Table:
    work, recipe = plan.workload, plan.recipe
    table = Table(title=shown(recipe.base), title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right", overflow="fold")
    table.add_row("rows learned from", f"{work.rows:,} of {work.paths:,} label paths; {work.held_out:,} held out")
    counted = len(work.lengths.counts)
    of = "" if counted == work.rows else f", counted on {counted:,} rows at random"
    mean = f"{work.lengths.counts.mean():.0f}"
    if work.estimated:
        table.add_row("tokens a row, estimated on the high side", f"{mean} (mean), {work.longest} (longest){of}")
        table.add_row("  as Llama 3's tokenizer counts, about", f"{work.tokens_a_row:.0f}")
    else:
        table.add_row("tokens a row, by the base's tokenizer", f"{mean} (mean), {work.longest} (longest){of}")
    table.add_row("tokens in all", f"{'about ' if of or work.estimated else ''}{work.tokens_a_row * work.rows:,.0f}")
    table.add_row("longer than max_seq_length", f"{work.too_long:,} (limit {work.lengths.limit})")
    rows_a_step = recipe.batch_size * recipe.gradient_accumulation
    table.add_row("steps", f"{plan.steps:,} of {rows_a_step} rows ({recipe.epochs:g} epochs)")
    if plan.evaluations:
        table.add_row("evaluations, on top", f"{plan.evaluations:,} of {work.held_out:,} rows")
    table.add_row("parameters", f"{plan.parameters:,}")
    table.add_row("trained", f"{plan.trained:,} ({plan.trained / plan.parameters:.2%})")
    if work.test_rows:
        table.add_row("rows to predict", f"{work.test_rows:,}")
    return table


def _lengths(plan: Plan) -> Table:
    lengths = plan.workload.lengths
    table = Table(title="tokens a row", title_justify="left", show_header=False, box=None)
    table.add_column(justify="right")
    table.add_column(justify="right")
    table.add_column()
    stretches = lengths.histogram()
    most = max(found for _, _, found in stretches)
    for low, high, found in stretches:
        table.add_row(f"{low}-{high}" if high > low else f"{low}", f"{found:,}", "#" * -(-found * BAR // most))
    return table


def _cards(plan: Plan) -> Table:
    table = Table(title="cards", title_justify="left", caption=_caption(plan), caption_justify="left")
    table.add_column("card")
    predicted = ("prediction",) if plan.workload.test_rows else ()
    for name in ("GB", "needs GB", "training", *predicted, "$ an hour", "dollars"):
        table.add_column(name, justify="right")
    table.add_column("")
    for found in plan.cards:
        card = found.card
        said = ["fits" if found.fits else "", found.note]
        if plan.workload.test_rows:
            said.append({None: "cannot predict", 4: "predicts in 4 bits"}.get(found.prediction_bits, ""))
        table.add_row(
            shown(card.name),
            f"{card.memory:g}",
            f"{found.needed.total:.1f}",
            _time(found.training_hours),
            *([_time(found.prediction_hours)] if predicted else []),
            "unknown" if card.dollars is None else f"{card.dollars:.2f}",
            "unknown" if found.dollars is None else f"{found.dollars:,.2f}",
            shown("; ".join(filter(None, said))),
        )
    return table


def _caption(plan: Plan) -> Text:
    """Say what the figures rest on."""
    said = [CALIBRATION]
    if plan.evaluations:
        said.append("evaluations while training come on top")
    sources: dict[str, list[str]] = {}
    for found in plan.cards:
        card = found.card
        if card.dollars is not None:
            when = f" ({card.priced})" if card.priced else ""
            sources.setdefault(f"{card.source or 'no source given'}{when}", []).append(card.name)
    if sources:
        said.append("prices: " + "; ".join(f"{', '.join(names)}: {source}" for source, names in sources.items()))
    return shown("\n".join(said))


def _time(hours: float | None) -> str:
    if hours is None:
        return "-"
    minutes = hours * 60
    if minutes < 1:
        return "under 1 min"
    return f"{minutes:.0f} min" if minutes < 60 else f"{hours:.1f} h"
