"""What `classify doctor` shows."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from classify.doctor import KEYS, Report
from classify.terminal import shown

GIBI = 2**30
FOR_DEVELOPERS = "dev"


def doctor_tables(report: Report) -> Iterator[Table]:
    """Yield the machine, what is installed, and what can be done."""
    yield _machine(report)
    yield _extras(report)
    yield _ways(report)


def _machine(report: Report) -> Table:
    table = Table(title="this machine", title_justify="left", show_header=False)
    table.add_row("shelfmark", f"{report.shelfmark}, Python {report.python}, {report.system}")
    table.add_row("cores", f"{report.cores:g}")
    size = report.memory
    table.add_row("memory", f"{size['total'] / GIBI:,.1f} GiB, {size['available'] / GIBI:,.1f} GiB available")
    table.add_row("disk, here", f"{report.disk / GIBI:,.1f} GiB free")
    for card in report.gpus:
        table.add_row("GPU", shown(f"{card['name']}, {card['memory'] / GIBI:,.1f} GiB, driver {card['driver']}"))
    if not report.gpus:
        table.add_row("GPU", "none found by nvidia-smi")
    for name, use in KEYS.items():
        table.add_row(name, f"{'set' if report.keys[name] else 'not set'} (for {use})")
    return table


def _extras(report: Report) -> Table:
    table = Table(title="extras", title_justify="left", show_header=False)
    for extra, parts in report.extras.items():
        if extra == FOR_DEVELOPERS:
            continue
        if all(part.installed for part in parts):
            state = "yes"
        else:
            state = "in part" if any(part.installed for part in parts) else "no"
        told = (f"{part.name} {_version(part.version, part.installed, part.wanted)}" for part in parts)
        table.add_row(
            extra or "(core)", state, shown(", ".join(told) if extra or state != "yes" else f"{len(parts)} packages")
        )
    return table


def _version(version: str, installed: bool, wanted: str) -> str:
    if not version:
        return "-"
    return version if installed else f"{version} (it must be {wanted})"


def _ways(report: Report) -> Table:
    table = Table("what can be done", "", "how, or what opens it", title_justify="left")
    for way in report.ways:
        needs = f" (with {way.note})" if way.note else ""
        if way.ready:
            table.add_row(way.name, "ready", shown(way.how + needs))
        else:
            table.add_row(way.name, "no", shown("; then ".join(way.enable) + needs))
    return table
