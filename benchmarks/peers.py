"""`student` beside hierarchical, linear, tree and neighbour classifiers: one run, the same rows for all.

    pip install -e '.[peers]'
    python benchmarks/peers.py [--sets NAME,...] [--only NAME,...] [--limit ROWS] [--out FILE]

Data: the product sets in $SHELFMARK_DATA; train.* is learned, dev.* is answered. Each classifier runs in a process of
its own, one after the other: reading the rows is not timed, making features of them is. The peers get one text for each
row: the description and, as one more word, the price in steps of a quarter of a doubling. (A set has one retailer,
which says nothing.) The settings of the peers stand in this file. They are the usual ones; the price word, the letters
of 1-NN and the loss of fastText were chosen by what did best on coles' dev rows, to the peers' advantage. The flat SVM,
fastText, napkinXC and ours fit on all cores, HiClass and 1-NN on one. A path is valid where training had it whole; ours
may pair a known brand with other shelves. Peak memory is what the process ever held, with Python, the libraries and the
rows. A peer whose package is not installed is skipped, and the table says so.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import math
import multiprocessing
import os
import platform
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from catalog.messages import LabelPath
from catalog.products import Products, read_products
from catalog.schema import PRESETS
from catalog.taxonomy import Taxonomy
from measure.evaluation import Evaluation, evaluate

# The parent imports little and holds little: on Linux a child's peak begins at what its parent held when it started it.

SCHEMA = PRESETS["indoml"]
GOALS = {"coles": 0.80, "receipts": 0.52, "bigbasket": 0.49}
CORES = os.cpu_count() or 1
BATCH = 500
COSTS = ("fit, s", "peak memory, MiB")
OURS = "ours"
INSTALL = "pip install -e '.[peers]'"

Answers = tuple[list[LabelPath], list[float] | None]
"""One path a row and, where the classifier has them, the probabilities that they are right."""
Predict = Callable[[Products], Answers]


@dataclass(frozen=True)
class Method:
    """One classifier: how its row is called, what fits it, and the package it needs beyond the core."""

    title: str
    fit: Callable[[Products], Predict]
    package: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What one classifier did on one set; `note` says why there is nothing else."""

    result: Evaluation | None = None
    fit_seconds: float = 0.0
    rows_per_second: float = 0.0
    peak_mib: float = 0.0
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as plain values, for JSON."""
        if self.result is None:
            return {"note": self.note}
        return {
            "fit_seconds": self.fit_seconds,
            "predict_rows_per_second": self.rows_per_second,
            "peak_mib": self.peak_mib,
            **self.result.to_dict(),
        }


def texts_of(products: Products) -> list[str]:
    """Return what the peers read: the description and, where there is one, the price as a word."""
    return [
        f"{text} price{round(4 * math.log2(price))}" if price > 0 else text
        for text, price in zip(products.texts, products.prices.tolist(), strict=True)
    ]


def tfidf() -> Any:
    """Return the features of the linear peers: TF-IDF of words and word pairs, and of 2 to 5 letters within words."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import FeatureUnion

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, dtype=np.float32)
    return FeatureUnion([("words", words), ("letters", letters())])


def letters() -> Any:
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, dtype=np.float32)


def numbered(train: Products) -> tuple[list[LabelPath], list[int]]:
    """Return the different paths, sorted, and each row's place among them: the joined label of the flat peers."""
    paths = sorted(set(train.require_labels()))
    place = {path: number for number, path in enumerate(paths)}
    return paths, [place[path] for path in train.require_labels()]


def hiclass(train: Products) -> Predict:
    import numpy as np
    from hiclass import LocalClassifierPerParentNode
    from sklearn.svm import LinearSVC

    features = tfidf()
    model = LocalClassifierPerParentNode(local_classifier=LinearSVC())
    with warnings.catch_warnings():
        # Parents with fewer rows than twice their children: as small as they are.
        warnings.filterwarnings("ignore", message="The number of unique classes is greater")
        model.fit(features.fit_transform(texts_of(train)).tocsr(), np.array(train.require_labels()))

    def predict(products: Products) -> Answers:
        answers = model.predict(features.transform(texts_of(products)).tocsr())
        return [tuple(str(value) for value in path) for path in answers], None

    return predict


def fasttext(train: Products) -> Predict:
    """Fit fastText on the joined label; hierarchical softmax: the full one takes 16 times as long, no better."""
    import fasttext as library

    paths, targets = numbered(train)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "train.txt"
        lines = [f"__label__{number} {text}\n" for number, text in zip(targets, lines_of(train), strict=True)]
        file.write_text("".join(lines), encoding="utf-8")
        model = library.train_supervised(
            str(file), wordNgrams=2, minn=2, maxn=5, epoch=25, lr=0.5, loss="hs", thread=CORES, verbose=0
        )

    def predict(products: Products) -> Answers:
        # A list, not a text at a time: that path breaks with NumPy 2.
        labels, _ = model.predict(lines_of(products))
        return [paths[int(found[0].removeprefix("__label__"))] if found else paths[0] for found in labels], None

    return predict


def lines_of(products: Products) -> list[str]:
    return [" ".join(text.split()) for text in texts_of(products)]


def napkinxc(train: Products) -> Predict:
    """Fit a probabilistic label tree on the joined label. napkinXC keeps its model in a folder and reads it back."""
    from napkinxc.models import PLT

    paths, targets = numbered(train)
    features = tfidf()
    with tempfile.TemporaryDirectory() as scratch:
        model = PLT(scratch, threads=CORES, verbose=False, seed=0)
        model.fit(features.fit_transform(texts_of(train)).tocsr(), [[number] for number in targets])
        model.load()

    def predict(products: Products) -> Answers:
        answers = model.predict(features.transform(texts_of(products)).tocsr(), top_k=1)
        return [paths[int(found[0])] if len(found) else paths[0] for found in answers], None

    return predict


def nearest(train: Products) -> Predict:
    """Answer with the path of the training row of the highest cosine."""
    vectorizer = letters()
    base = vectorizer.fit_transform(texts_of(train)).T.tocsr()
    labels = train.require_labels()

    def predict(products: Products) -> Answers:
        queries = vectorizer.transform(texts_of(products))
        answers = []
        for start in range(0, queries.shape[0], BATCH):
            near = (queries[start : start + BATCH] @ base).toarray().argmax(axis=1)
            answers += [labels[row] for row in near]
        return answers, None

    return predict


def flat_svm(train: Products) -> Predict:
    """Fit one linear SVM a path against all other rows, by SGD: LinearSVC takes four times as long."""
    import numpy as np
    from sklearn.linear_model import SGDClassifier

    paths, targets = numbered(train)
    features = tfidf()
    model = SGDClassifier(loss="hinge", alpha=1e-5, max_iter=5, tol=None, n_jobs=CORES, random_state=0)
    model.fit(features.fit_transform(texts_of(train)).tocsr(), np.array(targets))

    def predict(products: Products) -> Answers:
        return [paths[number] for number in model.predict(features.transform(texts_of(products)).tocsr())], None

    return predict


def ours(train: Products) -> Predict:
    from student.tree import TreeClassifier

    model = TreeClassifier.fit(train, SCHEMA)

    def predict(products: Products) -> Answers:
        found = model.predict(products, policy="brand-free")
        return [paths[0] for paths in found.paths], found.probabilities[:, 0].tolist()

    return predict


METHODS = {
    "hiclass": Method("HiClass, LinearSVC at each parent", hiclass, "hiclass"),
    "fasttext": Method("fastText, joined label", fasttext, "fasttext"),
    "napkinxc": Method("napkinXC, PLT", napkinxc, "napkinxc"),
    "nearest": Method("1-NN, TF-IDF cosine", nearest),
    "svm": Method("flat linear SVM (SGD)", flat_svm),
    OURS: Method("student.tree, brand-free", ours),
}


def read(folder: Path, limit: int | None) -> tuple[Products, Products]:
    return (
        read_products(folder / "train.features", SCHEMA, labels=True, limit=limit),
        read_products(folder / "dev.features", SCHEMA, labels=True, limit=limit),
    )


def work(name: str, folder: Path, limit: int | None, sender: Connection) -> None:
    """Fit and predict, in a process of its own; send answers, probabilities, fit seconds, predict seconds, peak MiB."""
    train, test = read(folder, limit)
    test.labels = None
    began = time.perf_counter()
    predict = METHODS[name].fit(train)
    fitted = time.perf_counter()
    answers, chances = predict(test)
    done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    sender.send((answers, chances, fitted - began, done - fitted, peak))


def run(name: str, folder: Path, limit: int | None, truth: list[LabelPath], taxonomy: Taxonomy) -> Outcome:
    """Run one classifier on one set. One that fails says why on stderr, and is a row without figures."""
    package = METHODS[name].package
    if package is not None and importlib.util.find_spec(package) is None:
        return Outcome(note="skipped: not installed")
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(name, folder, limit, sender))
    process.start()
    sender.close()
    try:
        answers, chances, fit_seconds, predict_seconds, peak = receiver.recv()
    except EOFError:
        process.join()
        return Outcome(note=f"failed: exit status {process.exitcode}")
    process.join()
    valid = [path in taxonomy for path in answers]
    result = evaluate(truth, answers, chances, SCHEMA.levels, valid)
    return Outcome(result, fit_seconds, len(truth) / predict_seconds, peak)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def table(outcomes: dict[str, Outcome]) -> str:
    """Return the figures of one set, one classifier a line."""
    levels = [f"macro F1 {level}" for level in SCHEMA.levels]
    header = ["classifier", "item accuracy", *levels, "valid paths", "fit, s", "predict, rows/s", "peak memory, MiB"]
    rows = []
    for name, outcome in outcomes.items():
        if outcome.result is None:
            rows.append([METHODS[name].title, outcome.note, *[""] * (len(header) - 2)])
            continue
        result = outcome.result
        f1 = [f"{result.by_level[level]['macro_f1']:.4f}" for level in SCHEMA.levels]
        cost = [f"{outcome.fit_seconds:.1f}", f"{outcome.rows_per_second:,.0f}", f"{outcome.peak_mib:,.0f}"]
        rows.append([METHODS[name].title, f"{result.item_accuracy:.4f}", *f1, f"{result.valid:.4f}", *cost])
    return markdown(header, rows)


def figures(outcome: Outcome) -> dict[str, float]:
    """Return what ours is compared on; less is better of COSTS alone."""
    assert outcome.result is not None
    by_level = outcome.result.by_level
    return {
        "item accuracy": outcome.result.item_accuracy,
        **{f"macro F1 {level}": by_level[level]["macro_f1"] for level in SCHEMA.levels},
        "predict, rows/s": outcome.rows_per_second,
        "fit, s": outcome.fit_seconds,
        "peak memory, MiB": outcome.peak_mib,
    }


def ratios(everything: dict[str, dict[str, Outcome]]) -> tuple[str, dict[str, dict[str, float]]]:
    """Compare ours with the peer that is best at each measure, on the sets that both have figures for."""
    cells: dict[str, list[str]] = {}
    numbers: dict[str, dict[str, float]] = {}
    for place, outcomes in everything.items():
        known = {name: figures(outcome) for name, outcome in outcomes.items() if outcome.result is not None}
        mine = known.pop(OURS, None)
        if mine is None or not known:
            continue
        numbers[place] = {}
        for measure, value in mine.items():
            peer, best = sorted((peer[measure], name) for name, peer in known.items())[0 if measure in COSTS else -1]
            numbers[place][measure] = value / peer if peer else math.inf
            cells.setdefault(measure, []).append(f"{numbers[place][measure]:.3f} ({best})")
    if not numbers:
        return "", {}
    rows = [[f"{name} (less is better)" if name in COSTS else name, *cells[name]] for name in cells]
    return markdown(["ours / the peer that is best at it", *numbers], rows), numbers


def goals(everything: dict[str, dict[str, Outcome]], limited: bool) -> str:
    """Say of each set whether ours reaches its goal, and how well its probabilities hold."""
    rows = []
    for place, outcomes in everything.items():
        result = outcomes[OURS].result if OURS in outcomes else None
        if result is None or result.ece is None:
            continue
        goal = GOALS[place]
        met = "not judged with --limit" if limited else "met" if result.item_accuracy >= goal else "missed"
        low, high = result.item_accuracy_interval
        rows.append(
            [place, f"{result.item_accuracy:.4f}", f"{low:.3f} to {high:.3f}", f"{goal:.2f}", met, f"{result.ece:.4f}"]
        )
    return (
        markdown(["ours", "item accuracy", "95% interval", "goal", "", "ECE, 15 equal-mass bins"], rows) if rows else ""
    )


def machine() -> dict[str, Any]:
    """Return what the figures depend on besides the rows."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    names = ["numpy", "scikit-learn", "hiclass", "fasttext", "fasttext-wheel", "napkinxc"]
    packages = {name: version for name in names if (version := version_of(name))}
    return {
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": CORES,
        "memory_gib": round(memory, 1),
        "packages": packages,
    }


def version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def main() -> int:
    options = argparse.ArgumentParser(description="The embedded classifier beside other classifiers.")
    options.add_argument("--sets", default=",".join(GOALS), help=f"of {','.join(GOALS)} (all)")
    options.add_argument("--only", default=",".join(METHODS), help=f"of {','.join(METHODS)} (all)")
    options.add_argument("--limit", type=int, help="learn and answer so many rows at most, to try it out")
    options.add_argument("--out", type=Path, help="write all figures to this JSON file, too")
    chosen = options.parse_args()
    sets, names = chosen.sets.split(","), chosen.only.split(",")
    for given, known in ((sets, list(GOALS)), (names, list(METHODS))):
        for name in given:
            if name not in known:
                options.error(f"'{name}' is none of {', '.join(known)}")
    if chosen.limit is not None and chosen.limit < 1:
        options.error("--limit must be at least 1")
    root = os.environ.get("SHELFMARK_DATA")
    if not root:
        print("SHELFMARK_DATA is not set: there are no product sets to compare on")
        return 1
    facts = machine()
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    print(f"{facts['cores']} cores, {facts['memory_gib']} GiB, Python {facts['python']}, {packages}; {facts['date']}\n")
    missing = [name for name in names if (need := METHODS[name].package) and importlib.util.find_spec(need) is None]
    for name in missing:
        print(f"{METHODS[name].package} is not installed ({INSTALL}): {METHODS[name].title} is skipped\n")
    everything: dict[str, dict[str, Outcome]] = {}
    for place in sets:
        train, test = read(Path(root) / place, chosen.limit)
        truth, taxonomy = test.require_labels(), Taxonomy.from_labels(train.require_labels(), SCHEMA.levels)
        print(f"{place}: {len(train):,} training rows, {len(taxonomy):,} paths, {len(test):,} rows\n", flush=True)
        del train, test
        everything[place] = {}
        for name in names:
            everything[place][name] = run(name, Path(root) / place, chosen.limit, truth, taxonomy)
            print(f"{place}: {METHODS[name].title} done", file=sys.stderr, flush=True)
        print(table(everything[place]) + "\n", flush=True)
    compared, numbers = ratios(everything)
    for text in (compared, goals(everything, chosen.limit is not None)):
        if text:
            print(text + "\n")
    if chosen.out is not None:
        figures_of = {place: {name: one.to_dict() for name, one in ran.items()} for place, ran in everything.items()}
        report = {"machine": facts, "limit": chosen.limit, "sets": figures_of, "ratios": numbers}
        chosen.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    failed = any(one.note.startswith("failed") for ran in everything.values() for one in ran.values())
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
