"""A table for people: how a provider's fine-tune went, or goes."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from classify.terminal import shown


def tuning_table(about: dict[str, Any]) -> Table:
    """Return what is known of a fine-tune: rows, tokens, losses, what it costs, and the model's name.

    Parameters
    ----------
    about : dict
        As in a model's ``tuning.json``; what is not in it is left out.
    """
    table = Table(title=shown(about["job"] or about["model"]), title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right", overflow="fold")
    for name in ("base", "status", "error"):
        if about.get(name):
            table.add_row(name, shown(str(about[name])))
    if "label_paths" in about:
        table.add_row("label paths", f"{about['label_paths']:,}")
    if "rows" in about:
        of_all = f" of {about['all_rows']:,}" if "all_rows" in about else ""
        table.add_row("rows learned from", f"{about['rows']:,}{of_all}")
    if "validation_rows" in about:
        table.add_row("rows held out", f"{about['validation_rows']:,}")
    tokens = about.get("tokens")
    if tokens:
        table.add_row(f"tokens, {shown(tokens['by'])}", f"{tokens['expected']:,}, at most {tokens['at_most']:,}")
    if about.get("trained_tokens") is not None:
        table.add_row("tokens trained", f"{about['trained_tokens']:,}")
    cost = about.get("cost")
    if cost:
        expected, at_most, actual = (cost.get(name) for name in ("expected", "at_most", "actual"))
        estimate = "unknown: --prices gives prices"
        if expected is not None and at_most is not None:
            estimate = f"${expected:,.4f}, at most ${at_most:,.4f}"
        table.add_row("cost, estimated", estimate)
        if actual is not None:
            table.add_row("cost, of the tokens trained", f"${actual:,.4f}")
    curve = about.get("curve") or []
    if any("step" in step for step in curve):
        table.add_row("steps", f"{_last(curve, 'step'):,.0f}{_of_all(curve)}")
    for name, told in (("train_loss", "loss, training"), ("valid_loss", "loss, held-out rows")):
        if any(name in step for step in curve):
            table.add_row(told, f"{_last(curve, name):.4f}")
    table.add_row("model", shown(about["model"] or "not there yet"))
    return table


def _last(curve: list[dict[str, Any]], name: str) -> float:
    """Return the last number of a curve, of the steps that have one."""
    return float(next(step[name] for step in reversed(curve) if name in step))


def _of_all(curve: list[dict[str, Any]]) -> str:
    return f" of {_last(curve, 'total_steps'):,.0f}" if any("total_steps" in step for step in curve) else ""
