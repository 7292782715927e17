"""The drawings of the pages, each of numbers that stand beside it as a table, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from classify.report.compare import Paired
from classify.report.figures import Figures, Group
from classify.report.unlabelled import Glance, Shift
from measure.accuracy import wilson_interval
from measure.calibration import ReliabilityBin
from measure.coverage import Coverage
from pages.drawing import FAINT, FIRST, INK, SECOND, Estimate, Plot, estimates, percent, plot, short, thousands

Plots = dict[str, Plot]


def labelled_plots(figures: Figures) -> Plots:
    """Draw what there is to draw of rows whose labels are known."""
    scores = figures.scores
    drawn = {
        "levels": _groups("Accuracy by level", "level", figures.levels, "right at the level", None),
    }
    if figures.reliability:
        drawn["reliability"] = reliability(figures.reliability, scores.ece or 0.0)
        drawn["coverage"] = coverage(figures.curve, scores.item_accuracy)
    for name, title, what, groups in (
        ("retailers", "Item accuracy by retailer", "retailer", figures.retailers),
        ("prices", "Item accuracy by price", "price band", figures.prices),
        ("frequencies", "Item accuracy by class frequency", "frequency", figures.frequencies),
    ):
        if len(groups) > (name == "retailers"):  # of one retailer the drawing would say what the headline says
            drawn[name] = _groups(title, what, groups, "item accuracy", scores.item_accuracy)
    return drawn


def _groups(title: str, what: str, groups: Sequence[Group], axis: str, whole: float | None) -> Plot:
    told = ", ".join(f"{short(group.name)} {group.share:.1%}" for group in groups[:8])
    more = f" and {len(groups) - 8} more" if len(groups) > 8 else ""
    line = "" if whole is None else f" The dashed line is all rows, {whole:.1%}."
    alt = f"Chart of {axis} with 95% intervals, by {what}: {told}{more}.{line}"
    return estimates(title, alt, [Estimate(one.name, one.share, one.low, one.high) for one in groups], axis, whole)


def reliability(bins: Sequence[ReliabilityBin], ece: float) -> Plot:
    """Draw what each bin of rows promised and kept."""
    first, last = bins[0], bins[-1]
    alt = (
        f"Chart of accuracy against confidence in {len(bins)} bins of as many rows each: the least sure promise "
        f"{first.confidence:.1%} and keep {first.accuracy:.1%}, the surest promise {last.confidence:.1%} and keep "
        f"{last.accuracy:.1%}; the mean gap is {ece:.3f}."
    )

    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color=INK, linestyle=":", linewidth=1, label="as promised")
        for part in bins:
            low, high = wilson_interval(min(part.rows, round(part.accuracy * part.rows)), part.rows)
            axes.plot([part.confidence] * 2, [low, high], color=FIRST, linewidth=2.5, alpha=0.45)
        axes.plot(
            [part.confidence for part in bins],
            [part.accuracy for part in bins],
            "o-",
            color=FIRST,
            markersize=4.5,
            linewidth=1,
            label="this run",
        )
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("confidence")
        axes.set_ylabel("item accuracy")
        percent(axes.xaxis)
        percent(axes.yaxis)
        axes.legend(frameon=False, labelcolor=INK, loc="upper left")

    return plot("Accuracy against confidence", alt, draw, grid="both")


def coverage(curve: Sequence[Coverage], whole: float) -> Plot:
    """Draw the accuracy of the surest share of the rows."""
    told = [point for point in curve if point.rows in {curve[len(curve) * part // 4].rows for part in (0, 1, 2, 3)}]
    parts = ", ".join(f"{point.accuracy:.1%} of the surest {point.share:.0%}" for point in told)
    alt = f"Line chart of the accuracy of the surest rows: {parts}, {curve[-1].accuracy:.1%} of all that are answered."

    def draw(axes: Any) -> None:
        axes.plot([point.share for point in curve], [point.accuracy for point in curve], color=FIRST, linewidth=2)
        axes.axhline(whole, color=SECOND, linestyle="--", linewidth=1.2, label="all rows")
        axes.set_xlim(0, 1)
        lowest = min(whole, *(point.accuracy for point in curve))
        axes.set_ylim(max(0.0, lowest - 0.05), 1.005)
        axes.set_xlabel("surest share of the answered rows")
        axes.set_ylabel("item accuracy")
        percent(axes.xaxis)
        percent(axes.yaxis)
        axes.legend(frameon=False, labelcolor=INK, loc="best")

    return plot("Accuracy of the surest share", alt, draw)


def glance_plots(glance: Glance) -> Plots:
    """Draw what there is to draw of rows whose labels are not known."""
    drawn = {"shifts": _shifts(glance.shifts[0])}
    if glance.answered:
        drawn["histogram"] = _histogram(glance.histogram)
    if glance.levels:
        drawn["sureness"] = _sureness(glance)
    return drawn


def _histogram(bins: Sequence[tuple[float, float, int]]) -> Plot:
    rows = sum(count for _, _, count in bins)
    sure = sum(count for low, _, count in bins if low >= 0.899)
    unsure = sum(count for _, high, count in bins if high <= 0.501)
    alt = f"Histogram of the confidence of {rows:,} answered rows: {sure / rows:.1%} of them at 90% or more, "
    alt += f"{unsure / rows:.1%} below 50%."

    def draw(axes: Any) -> None:
        lows, counts = [low for low, _, _ in bins], [count for _, _, count in bins]
        axes.bar(lows, counts, width=bins[0][1], align="edge", color=FIRST, edgecolor=FAINT, linewidth=0.6)
        axes.set_xlim(0, 1)
        axes.set_xlabel("confidence")
        axes.set_ylabel("rows")
        percent(axes.xaxis)
        thousands(axes.yaxis)

    return plot("How sure the rows are", alt, draw)


def _sureness(glance: Glance) -> Plot:
    told = ", ".join(f"{short(level.name)} {level.mean:.1%}" for level in glance.levels)
    alt = f"Chart of the confidence down to each level, median and middle half of the rows; means: {told}."
    rows = [Estimate(level.name, level.middle, level.low, level.high) for level in glance.levels]
    return estimates("Confidence by level", alt, rows, "confidence: median, middle half")


def _shifts(shifts: Sequence[Shift]) -> Plot:
    told = ", ".join(f"{short(one.name)} {one.share:.1%} here, {one.training:.1%} in training" for one in shifts[:5])
    alt = f"Bar chart of the share of the commonest values: {told}."

    def draw(axes: Any) -> None:
        for at, one in enumerate(shifts):
            axes.barh(at - 0.19, one.share, height=0.36, color=FIRST, label="here" if not at else None)
            # Hollow: not told from the other by its colour alone.
            told = {"edgecolor": SECOND, "linewidth": 1.3, "label": "training" if not at else None}
            axes.barh(at + 0.19, one.training, height=0.34, color="none", **told)
        axes.set_yticks(range(len(shifts)), [short(one.name) for one in shifts])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(shifts) - 0.5, -0.5)
        axes.set_xlabel("share of the rows with an answer there")
        percent(axes.xaxis)
        axes.legend(frameon=False, labelcolor=INK, loc="best")

    return plot("Labels here and in training", alt, draw, height=0.9 + 0.32 * len(shifts), grid="x")


def paired_plot(pairs: Sequence[Paired]) -> Plot:
    """Draw how much better each run is than the first, with its paired interval."""
    told = ", ".join(
        f"{short(pair.name)} {pair.difference:+.1%} ({pair.low:+.1%} to {pair.high:+.1%})" for pair in pairs[:8]
    )
    alt = f"Chart of the difference in item accuracy to the first run, with 95% paired intervals: {told}."

    def draw(axes: Any) -> None:
        for at, pair in enumerate(pairs):
            axes.plot([pair.low, pair.high], [at, at], color=FIRST, linewidth=3, alpha=0.45, solid_capstyle="round")
            axes.plot([pair.difference], [at], "o", color=FIRST, markersize=6)
        axes.axvline(0, color=SECOND, linestyle="--", linewidth=1.2)
        axes.set_yticks(range(len(pairs)), [short(pair.name) for pair in pairs])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(pairs) - 0.5, -0.5)
        axes.set_xlabel("item accuracy, difference to the first run")
        percent(axes.xaxis)

    return plot("Difference in item accuracy", alt, draw, height=0.75 + 0.3 * len(pairs), grid="x")
