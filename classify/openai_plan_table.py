"""A plan of what a provider is paid for, as tables for people and as JSON."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from catalog.extras import install_command
from classify.costs import Price
from classify.openai_plan import Asked, Dollars, ProviderPlan, Training
from classify.provider.figures import TuningFigures
from classify.terminal import shown


def provider_value(plan: ProviderPlan) -> dict[str, Any]:
    """Return a plan as JSON: what is not planned, or not known, is null."""
    return {
        "base": plan.base,
        "tokens": {"counted_by": plan.counts.by, "exact": plan.counts.exact},
        "training": plan.training and _training_value(plan.training),
        "prediction": plan.asked and _asked_value(plan.asked),
        "dollars": _both(plan.dollars),
    }


def _training_value(training: Training) -> dict[str, Any]:
    epochs = training.figures.epochs
    return {
        "figures": training.figures.model_dump(include=set(TuningFigures.model_fields)),
        "rows": training.rows,
        "held_out": training.held_out,
        "rows_over_budget": training.left_out,
        "label_paths": training.paths,
        "all_label_paths": training.all_paths,
        "prompt_tokens_a_row": training.prompt_tokens,
        "answer_tokens_a_row": training.answer_tokens,
        "file_tokens": _both((training.tokens, training.most_tokens)),
        "training_tokens": _both((epochs * training.tokens, epochs * training.most_tokens)),
        "dollars": _both(training.dollars),
        "price": _price_value(training.price),
    }


def _asked_value(asked: Asked) -> dict[str, Any]:
    load = asked.load
    return {
        "model": asked.model,
        "rows": load.rows,
        "read": _both((load.read, load.most_read)),
        "written": _both((load.written, load.most_written)),
        "dollars": _both(asked.dollars(batch=True)),
        "dollars_without_batch": _both(asked.dollars(batch=False)),
        "files": asked.files,
        "enqueued": asked.enqueued or None,
        "waves": asked.waves or None,
        "price": _price_value(asked.price),
    }


def _both(amounts: Dollars | None) -> dict[str, float] | None:
    return amounts and {"expected": amounts[0], "most": amounts[1]}


def _price_value(price: Price | None) -> dict[str, Any] | None:
    return None if price is None else price.model_dump()


def provider_tables(plan: ProviderPlan) -> list[Table]:
    """Return a plan's tables: the fine-tune, prediction, and on what the figures rest."""
    tables = []
    if plan.training:
        tables.append(_training(plan.training))
    if plan.asked:
        tables.append(_asked(plan.asked))
    if plan.training and plan.asked:
        tables[-1].add_section()
        tables[-1].add_row("dollars, fine-tune and batches", *_dollars(plan.dollars))
    return [*tables, _notes(plan)]


def _table(title: str) -> Table:
    table = Table(title=shown(title), title_justify="left")
    table.add_column("")
    for name in ("expected", "at most"):
        table.add_column(name, justify="right", overflow="fold")
    return table


def _training(training: Training) -> Table:
    figures = training.figures
    table = _table(f"fine-tune of {figures.base}")
    table.add_row("rows learned from", f"{training.rows:,}")
    table.add_row("  held out", f"{training.held_out:,}")
    table.add_row("  left out for --max-training-tokens", f"{training.left_out:,}")
    table.add_row("label paths learned from", f"{training.paths:,} of {training.all_paths:,}")
    table.add_row("tokens a row, prompt and answer", f"{training.prompt_tokens:.1f} + {training.answer_tokens:.1f}")
    table.add_row("tokens of the training file", *_tokens(training.tokens, training.most_tokens))
    table.add_row("  --max-training-tokens", f"{figures.max_training_tokens:,}")
    passes = "1 epoch" if figures.epochs == 1 else f"{figures.epochs} epochs"
    table.add_row(
        f"tokens trained on, {passes}",
        *_tokens(figures.epochs * training.tokens, figures.epochs * training.most_tokens),
    )
    table.add_row("dollars", *_dollars(training.dollars))
    return table


def _asked(asked: Asked) -> Table:
    load = asked.load
    table = _table(f"prediction by {asked.model}")
    table.add_row("requests", f"{load.rows:,}")
    table.add_row("tokens read", *_tokens(load.read, load.most_read))
    table.add_row("tokens written", *_tokens(load.written, load.most_written))
    table.add_row("dollars, as batches", *_dollars(asked.dollars(batch=True)))
    table.add_row("dollars, one by one", *_dollars(asked.dollars(batch=False)))
    table.add_row("files of a batch", f"{asked.files:,}")
    tiers = len(asked.enqueued)
    waves = ", ".join(f"{waves:,}" for waves in asked.waves)
    table.add_row(f"waves of batches, usage tiers 1 to {tiers}" if tiers else "waves of batches", waves or "unknown")
    return table


def _tokens(expected: float, most: float) -> tuple[str, str]:
    return f"{expected:,.0f}", f"{most:,.0f}"


def _dollars(amounts: Dollars | None) -> tuple[str, str]:
    if amounts is None:
        return "unknown", "unknown"
    expected, most = (f"{amount:,.2f}" if amount >= 1 else f"{amount:,.4f}" for amount in amounts)
    return expected, most


def _notes(plan: ProviderPlan) -> Table:
    """Say what the figures rest on."""
    said = [f"tokens: counted by {plan.counts.by}"]
    if not plan.counts.exact:
        said = [
            "tokens: estimated; what is expected is rather above the truth, and a budget of tokens is held against it",
            f"exact ones, once the tokenizer's table is on this machine: {install_command('tokens')}, then",
            f"  python -c \"import tiktoken; tiktoken.encoding_for_model('{plan.base}')\"",
        ]
    if plan.asked:
        said.append("at most: every answer as long as it may be")
        if plan.asked.enqueued:
            said.append(f"a wave: the tokens that may wait, {_waiting(plan.asked.enqueued)}")
    for model, price in _priced(plan).items():
        if price is None:
            said.append(f"price of {model}: unknown; give a file of prices with --prices")
        else:
            said.append(f"price of {model}: {price.source or 'no source given'}, {price.as_of or 'no date given'}")
    table = Table(show_header=False, box=None, pad_edge=False)
    for line in said:
        table.add_row(shown(line))
    return table


def _waiting(enqueued: list[int]) -> str:
    return ", ".join(f"{most / 1_000_000:,g}M" for most in enqueued)


def _priced(plan: ProviderPlan) -> dict[str, Price | None]:
    found = {}
    if plan.training:
        found[plan.training.figures.base] = plan.training.price
    if plan.asked:
        found[plan.asked.model] = plan.asked.price
    return found
