"""Tables for people: how a run ended, how predictions score."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from catalog.files import MOST_FACTS, read_json
from catalog.messages import STATUSES
from classify.cost_rows import Lines, add_costs
from classify.manifest_check import check_metrics
from classify.next_commands import next_commands
from classify.rundir import RunDirectory
from classify.terminal import shown
from measure.evaluation import Evaluation

CLEAR = 3.0  # standard errors


def _two_columns(title: str) -> Table:
    # `shown`, for what is the user's: square brackets in it are not markup.
    table = Table(title=shown(title), title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right", overflow="fold")
    return table


def run_table(run: RunDirectory) -> Table:
    """Return what a run has done: rows, time by stage, statuses, confidence, accuracy where labels are known."""
    manifest = run.manifest
    table = _two_columns(str(run.folder))
    engine = f", {manifest['engine']}" if manifest["engine"] else ""
    table.add_row("strategy", f"{manifest['strategy']}{engine}")
    table.add_row("rows", f"{manifest['rows']:,}")
    if "context" in manifest:
        table.add_row("  known from the web", f"{manifest['context']['products']:,}")
    for stage, done in manifest["stages"].items():
        speed = f", {done['rows'] / done['seconds']:,.0f} rows/s" if done["seconds"] >= 0.1 else ""
        table.add_row(stage, f"{done['seconds']:,.1f} s{speed}")
    calibration = manifest.get("calibration")
    if calibration:  # measured on rows held out inside training
        before, after = calibration["ece_before"], calibration["ece_after"]
        table.add_row("calibration error, held out", f"{before:.4f} before, {after:.4f} after{_interval(calibration)}")
        new = calibration.get("new_texts")
        if new:  # of whose text, but for case, order and sizes, training has nothing
            table.add_row("  of new texts alone", f"{new['ece']:.4f}{_interval(new)}")
        for name, shop in _off(calibration.get("by_retailer", {})):
            gap = f"confidence {shop['mean_confidence']:.3f}, right {shop['item_accuracy']:.3f}"
            table.add_row(shown(f"  but for {name}"), gap)
    add_answers(table, manifest)
    if run.finished:
        file = run.folder / "metrics.json"
        metrics = check_metrics(read_json(file, MOST_FACTS), str(file))
        for status in STATUSES:
            count = metrics["statuses"].get(status, 0)
            table.add_row(status, f"{count:,} ({count / metrics['rows']:.1%})")
        table.add_row("mean confidence", f"{metrics['mean_confidence']:.3f}")
        if "evaluation" in metrics:
            _add_scores(table, metrics["evaluation"])
        if run.page.is_file():
            table.add_row("report", shown(str(run.page)))
    for told, command in zip(("next", "or, without an LLM"), next_commands(run.folder, manifest), strict=False):
        table.add_row(told, shown(command))
    return table


_NOTHING_ASKED = {"answers": 0, "errors": 0, "prompt_tokens": 0, "completion_tokens": 0, "asked_again": 0}


def _interval(measured: dict[str, Any]) -> str:
    if "ece_interval" not in measured:  # of a model that was fitted before it was told
        return ""
    low, high = measured["ece_interval"]
    return f" ({low:.4f} to {high:.4f})"


def _off(retailers: dict[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Return the retailers whose held-out rows are right clearly more or less often than they were told."""
    found = []
    for name, told in retailers.items():
        right, chance = told["item_accuracy"], told["mean_confidence"]
        error = (max(right * (1 - right), chance * (1 - chance)) / told["rows"]) ** 0.5
        if abs(right - chance) > CLEAR * error:
            found.append((name, told))
    return found


def add_answers(table: Lines, manifest: dict[str, Any]) -> None:
    """Say what was asked, what it took, and what held-out rows tell of it."""
    compared = manifest.get("top_k") or {"compared": []}
    for scores in compared["compared"]:
        parts = [f"{name} {scores[name]:.3f}" for name in ("retriever", "answers", "joint") if name in scores]
        chosen = " (chosen)" if scores["top_k"] == compared["chosen"] else ""
        table.add_row(f"top-k {scores['top_k']}, held out{chosen}", ", ".join(parts))
    settled, asking = manifest.get("settled"), manifest.get("asking")
    if settled:
        table.add_row("settled by tree", f"{settled['rows']:,} ({settled['rows'] / manifest['rows']:.1%})")
        for name, where in (("accuracy_settled", "tree is sure"), ("accuracy_asked", "it is not")):
            if settled.get(name) is not None:
                table.add_row(f"  held out, where {where}", f"{settled[name]:.4f}")
    if not asking or manifest["engine"] == "neighbours":
        return
    asking = {**_NOTHING_ASKED, **asking}  # a process that was killed has written less
    asked = asking["answers"] + asking["errors"]
    table.add_row("answers", f"{asking['answers']:,}, {asking['errors']:,} errors")
    tokens = asking["prompt_tokens"], asking["completion_tokens"]
    seconds = asking.get("seconds") or 0.0
    if seconds:
        speed = f" ({tokens[0] / seconds:,.0f} and {tokens[1] / seconds:,.0f} a second)"
        table.add_row("answering", f"{seconds:,.1f} s, {asked / seconds:,.1f} rows/s")
    table.add_row("tokens read and written", f"{tokens[0]:,} and {tokens[1]:,}{speed if seconds else ''}")
    if settled and asked:
        saved = settled["rows"] * sum(tokens) / asked
        worth = f", ${asking['cost'] * settled['rows'] / asked:,.4f}" if asking.get("cost") else ""
        share = settled["rows"] / (settled["rows"] + asked)
        table.add_row("saved by tree", f"about {saved:,.0f} tokens ({share:.1%}){worth}")
    if asking["asked_again"]:
        table.add_row("asked again", f"{asking['asked_again']:,} that were in flight when a process ended")
    add_costs(table, manifest)
    reading, joint = manifest.get("reading"), manifest.get("joint")
    trust = manifest.get("trust")
    if trust and trust["rows"]:
        table.add_row(f"held out: {trust['rows']:,} rows", "what confidences are worth")
        table.add_row("  answers", f"{trust['answers']:.4f}")
        before, after = trust["ece_before"], trust["ece_after"]
        table.add_row("  calibration error", f"{before:.4f} before, {after:.4f} after")
    if reading:
        table.add_row("answers outside the candidates", f"{reading['outside']:,}")
    if joint and joint["rows"]:
        heard = "weighed with the retriever" if joint["used"] else "no better than the retriever, which stands"
        table.add_row(f"held out: {joint['rows']:,} rows", heard)
        for name in ("retriever", "answers", "joint"):
            table.add_row(f"  {name}", f"{joint[name]:.4f}")
        if reading:
            table.add_row("answers overruled", f"{reading['overruled']:,}")


def _add_scores(table: Table, scores: dict[str, Any]) -> None:
    low, high = scores["item_accuracy_interval"]
    table.add_row("item accuracy", f"{scores['item_accuracy']:.4f} ({low:.4f} to {high:.4f})")
    for level, values in scores["by_level"].items():
        table.add_row(shown(f"  {level}"), f"{values['accuracy']:.4f}")
    if scores["coverage"] < 1:
        table.add_row("coverage", f"{scores['coverage']:.2%}")
        if scores["answered_item_accuracy"] is not None:
            table.add_row("item accuracy of those", f"{scores['answered_item_accuracy']:.4f}")
    table.add_row("hierarchical F1", f"{scores['hierarchical_f1']:.4f}")
    table.add_row("macro F1", f"{scores['macro_f1']:.4f}")
    if scores["valid"] is not None:
        table.add_row("valid", f"{scores['valid']:.2%}")
    if scores["ece"] is not None:
        table.add_row("calibration error", f"{scores['ece']:.4f}")


def evaluation_table(whole: Evaluation, parts: dict[str, Evaluation], by: str | None) -> Table:
    """Return the scores of all rows or, with `by`, one line for each value of that column and one for all."""
    if by is None:
        table = _two_columns(f"{whole.rows:,} rows")
        _add_scores(table, whole.to_dict())
        return table
    table = Table(title=shown(f"{whole.rows:,} rows by {by}"), title_justify="left")
    table.add_column(shown(by))
    for name in ("rows", "item accuracy", "accuracy", "macro F1", "hierarchical F1", "valid", "ECE"):
        table.add_column(name, justify="right")
    for value, scores in [*parts.items(), ("all", whole)]:
        table.add_row(
            shown(value),
            f"{scores.rows:,}",
            *(f"{number:.4f}" for number in (scores.item_accuracy, scores.accuracy, scores.macro_f1)),
            f"{scores.hierarchical_f1:.4f}",
            "" if scores.valid is None else f"{scores.valid:.2%}",
            "" if scores.ece is None else f"{scores.ece:.4f}",
        )
    return table


def training_table(about: dict[str, Any]) -> Table:
    """Return how a fine-tune went: rows, steps, time, item accuracy on held-out rows, and what merging changed."""
    table = _two_columns(f"fine-tuned {about['base']}")
    table.add_row("trained by", f"{about['backend']} on {about['device']}, {about['precision']}")
    table.add_row("rows learned from", f"{about['rows']:,} of {about['all_rows']:,}")
    table.add_row("rows held out", f"{about['validation_rows']:,}")
    lengths = about["lengths"]
    table.add_row("tokens a row", f"{lengths['mean']:,.0f}, the longest {lengths['longest']:,} of {lengths['limit']:,}")
    trained, total = about["parameters"]["trained"], about["parameters"]["total"]
    table.add_row("parameters trained", f"{trained:,} of {total:,} ({trained / total:.2%})")
    early = " (stopped early)" if about["stopped_early"] else ""
    table.add_row("steps", f"{about['steps']:,} of {about['planned_steps']:,}{early}")
    table.add_row("training", f"{about['seconds']:,.0f} s")
    for entry in [entry for entry in about["history"] if "item_accuracy" in entry][-10:]:
        best = " (best)" if entry["step"] == about["best"]["step"] else ""
        table.add_row(f"  step {entry['step']:,}{best}", f"item accuracy {entry['item_accuracy']:.4f}")
    merge = about.get("merge")
    if merge:
        table.add_row(f"merged to {merge['precision']}", f"{merge['rows']:,} held-out rows asked twice")
        table.add_row("  the adapter's answer", f"{merge['same_answer']:,}")
        table.add_row("  the adapter's label path", f"{merge['same_path']:,}")
    for note in about["notes"]:
        table.add_row("note", shown(note))
    return table
