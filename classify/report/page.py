"""The report of a run as one page: nothing outside the file is needed to read it, and it has a bounded size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catalog.errors import ShelfmarkError, first_line
from catalog.files import atomic_write
from catalog.messages import STATUSES
from catalog.schema import SEPARATOR
from classify.console import say
from classify.report.about import about, command
from classify.report.answered import Answered, mean_known
from classify.report.compare import MOST_IDS, compare
from classify.report.drawings import glance_plots, labelled_plots, paired_plot
from classify.report.figures import figures
from classify.report.shown import show
from classify.report.unlabelled import glance
from classify.rundir import RunDirectory
from measure.coverage import Coverage
from pages.template import environment, printable
from rag.shown import Near

HERE = Path(__file__).parent
COMPARISON = "comparison.html"


def write_report(run: RunDirectory, labels: Path | None = None, out: Path | None = None) -> Path:
    """Write the report of a finished run.

    Parameters
    ----------
    run : RunDirectory
        The run.
    labels : Path, optional
        The true labels, in place of those that stood beside the test file.
    out : Path, optional
        Where to write; ``report.html`` of the run by default.

    Returns
    -------
    Path
        The page. The same run and labels give the same bytes.

    Raises
    ------
    ShelfmarkError
        When the run is not finished, a file is damaged, or a row has no label.
    """
    answered = Answered.read(run, labels)
    taxonomy = run.taxonomy()
    values: dict[str, Any]
    if answered.truth is not None:
        known = figures(answered, taxonomy)
        values = {"known": known, "glance": None, "plots": labelled_plots(known)}
        rows = known.mistakes
    else:
        seen = glance(answered, taxonomy)
        values = {"known": None, "glance": seen, "plots": glance_plots(seen)}
        rows = [*seen.surest, *seen.doubtful, *(row for row, _ in seen.unlike)]
    counts = {status: int((answered.statuses == at).sum()) for at, status in enumerate(STATUSES)}
    return _write(
        out or run.page,
        "report.html.jinja",
        name=run.folder.resolve().name,
        manifest=run.manifest,
        levels=answered.schema.levels,
        rows=len(answered),
        confidence=mean_known(answered.sureness),
        statuses={status: count for status, count in counts.items() if count},
        shown=show(answered, rows),
        about=about(run),
        command=command(run),
        **values,
    )


def try_report(run: RunDirectory) -> None:
    """Write the report of a run that has just finished. Where that fails, it is said, and the run stands."""
    try:
        write_report(run)
    except Exception as error:  # whatever it is: hours of work are done, and this can be done again
        why = f"{run.page} was not written ({first_line(error)})"
        say(f"classify: {why}; classify report {run.folder} tries again", err=True)


def write_comparison(runs: Sequence[RunDirectory], labels: Path | None = None, out: Path | None = None) -> Path:
    """Write a page that compares runs with the first of them.

    Parameters
    ----------
    runs : sequence of RunDirectory
        At least two.
    labels : Path, optional
        The true labels, in place of those that stood beside the test file.
    out : Path, optional
        Where to write; ``comparison.html`` beside the first run by default.

    Raises
    ------
    ShelfmarkError
        When a run is not finished or damaged, or the runs are of other rows.
    """
    found = compare(runs, labels)
    first = found.answered[0]
    wanted = [{*pair.won_rows, *pair.lost_rows, *pair.other_rows} for pair in found.pairs]
    before = show(first, set().union(*wanted))
    after = [show(one, rows) for one, rows in zip(found.answered[1:], wanted, strict=True)]
    return _write(
        out or runs[0].folder.resolve().parent / COMPARISON,
        "comparison.html.jinja",
        standings=found.standings,
        pairs=list(zip(found.pairs, after, strict=True)),
        before=before,
        levels=first.schema.levels,
        rows=len(first),
        test=first.run.test.name,
        known=first.truth is not None,
        plot=paired_plot(found.pairs) if first.truth is not None else None,
        commands=[command(one.run) for one in found.answered],
    )


def check_page(out: Path | None) -> None:
    """Refuse to write a page over what is none.

    Raises
    ------
    ShelfmarkError
        When the name is not one of a page.
    """
    if out is not None and (out.suffix not in (".html", ".htm") or out.is_dir()):
        raise ShelfmarkError(f"--out {out}: the page is one file; name it with .html")


def _write(place: Path, template: str, **values: Any) -> Path:
    templates = environment(HERE, tenths=_tenths, of=_of, points="{:+.1%}".format, chance="{:.2g}".format)
    templates.globals.update(status_rows=_status_rows, nears=_nears, most_ids=MOST_IDS)
    page = templates.get_template(template).render(**values)
    with atomic_write(place) as stream:
        stream.write(printable(page))
    return place


def _of(count: int, rows: int) -> str:
    return f"{count / rows:.1%}"


def _tenths(curve: Sequence[Coverage]) -> list[Coverage]:
    """Return the points nearest to each tenth, each once."""
    nearest = (min(curve, key=lambda point: abs(point.share - at / 10)) for at in range(1, 11))
    return list({point.rows: point for point in nearest}.values())


def _status_rows(statuses: dict[str, int], rows: int) -> list[tuple[str, str, str]]:
    return [(status, f"{count:,}", f"{count / rows:.1%}") for status, count in statuses.items()]


def _nears(near: Sequence[Near]) -> list[tuple[str, str]]:
    return [(one.shown, one.label.replace(SEPARATOR, " › ")) for one in near]
