"""Files that this package wrote and reads again: with the right hashes, and damaged, edited or another's."""

import io
import json
import os
import random
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import classify.cli
import classify.run
import classify.vote
from catalog.errors import ShelfmarkError
from catalog.files import content_hash, read_json
from catalog.schema import Schema
from classify import fit, load
from classify.engines.adapters import adapter_config
from classify.engines.ledger import Ledger
from classify.finetuning import train_apart
from classify.job import Job
from classify.lines import read_lines
from classify.model import describe
from classify.progress import silent
from classify.provider.record import Record
from classify.provider.stored import read_tuning
from classify.recorded_answers import RecordedAnswers
from classify.recorded_lines import Lost
from classify.run import Run
from classify.search.books import Spent
from finetune.card import card
from finetune.curves import write_report as write_training
from finetune.hub import push
from finetune.job import read_validation
from rag.stored_index import read_rows
from student.storage import read_folder
from tests.classify.conftest import tune_quickly
from tests.finetune import conftest as tuned

Change = Callable[[Path], None]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    tune_quickly(monkeypatch)
    for module in (classify.run, classify.vote):
        monkeypatch.setattr(module, "try_report", lambda run: None)


@pytest.fixture(scope="module")
def fitted(shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with an index, a vote and a tree."""
    folder = tmp_path_factory.mktemp("fitted") / "model"
    with pytest.MonkeyPatch.context() as patch:
        tune_quickly(patch)
        fit(shop.train.take(range(120)), candidates_from="neighbours,tree").save(folder)
    return folder


@pytest.fixture
def model(fitted: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(fitted, tmp_path / "model"))


@pytest.fixture(scope="module")
def finished(shop, fitted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "first"
    with pytest.MonkeyPatch.context() as patch:
        tune_quickly(patch)
        patch.setattr(classify.run, "try_report", lambda run: None)
        options = describe(fitted)["options"]
        Run.start(folder, Job("rag", "", shop.schema, options, 0, shop.known, model=fitted, limit=30)).execute()
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run ``classify`` with arguments that it must refuse: exit code 2 and one line, which is returned."""

    def call(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["classify", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            classify.cli.main()
        told = capsys.readouterr().err
        assert ended.value.code == 2, told
        assert told.startswith("classify: ")
        assert told.count("\n") == 1, told
        return told

    return call


def rehash(model: Path) -> None:
    """Make the hashes right again: whoever gives a model away can."""
    for about in (model / "tree" / "tree.json", model / "model.json"):
        facts = json.loads(about.read_text())
        for name in facts["files"]:
            file = about.parent / (f"{name}.npy" if about.name == "tree.json" else name)
            if file.is_file():
                facts["files"][name] = content_hash(file)
        about.write_text(json.dumps(facts))


def rewrite(file: Path, change: Callable[[Any], Any]) -> None:
    np.save(file, change(np.load(file)), allow_pickle=True)


def edit(file: Path, *keys: Any, value: Any) -> None:
    """Set a value deep in a JSON file; ``...`` takes it out."""
    whole = json.loads(file.read_text())
    at = whole
    for key in keys[:-1]:
        at = at[key]
    if value is ...:
        del at[keys[-1]]
    else:
        at[keys[-1]] = value
    file.write_text(json.dumps(whole))


def put(array: Any, place: int, value: float) -> Any:
    changed = array.copy()
    changed.reshape(-1)[place] = value
    return changed


ARRAYS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "an n-gram beyond the last": ("sparse_indices.npy", lambda a: put(a, 3, 2**30)),
    "a negative n-gram": ("sparse_indices.npy", lambda a: put(a, 3, -7)),
    "ends that fall": ("sparse_indptr.npy", lambda a: put(a, 5, a[-1] - 1)),
    "ends beyond the numbers": ("sparse_indptr.npy", lambda a: put(a, -1, 2**30)),
    "fewer rows": ("sparse_indptr.npy", lambda a: a[:-2]),
    "another type": ("sparse_data.npy", lambda a: a.astype(np.float64)),
    "a number that is none": ("sparse_data.npy", lambda a: put(a, 0, np.nan)),
    "fewer numbers": ("sparse_data.npy", lambda a: a[:-1]),
    "no columns": ("sparse_shape.npy", lambda a: put(a, 0, 0)),
    "columns for terabytes": ("sparse_shape.npy", lambda a: put(a, 0, 2**50)),
    "dense vectors that are not there": ("sparse_shape.npy", lambda a: put(a, 1, 2**40)),
    "weights of other classes": ("tree/weights.npy", lambda a: a[:, :-1]),
    "buckets of no power of two": ("tree/weights.npy", lambda a: a[:-1]),
    "weights that are infinite": ("tree/weights.npy", lambda a: put(a, 0, np.inf)),
    "weights by columns": ("tree/weights.npy", np.asfortranarray),
    "objects": ("tree/weights.npy", lambda a: np.array([{}], dtype=object)),
    "a pair that no class has": ("tree/evidence_pairs_keys.npy", lambda a: put(a, -1, 2**60)),
    "pairs out of order": ("tree/evidence_pairs_keys.npy", lambda a: a[::-1]),
    "no pairs": ("tree/evidence_pairs_keys.npy", lambda a: a[:0]),
    "a count that is negative": ("tree/evidence_total_upper.npy", lambda a: put(a, 0, -1)),
    "sums of other classes": ("tree/evidence_sums_last.npy", lambda a: a[1:]),
    "sketches of another width": ("tree/evidence_middle_pair.npy", lambda a: a[:, 1:]),
    "prices that do not spread": ("tree/evidence_price_scale.npy", lambda a: put(a, 1, 0)),
    "a deviation of nothing": ("tree/scale_deviation.npy", lambda a: put(a, 0, 0)),
    "a network of other layers": ("tree/network_0_2.npy", lambda a: a.T),
    "a network that overflows": ("tree/network_0_4.npy", lambda a: put(a, 0, 3e38)),
    "slots of another version": ("tree/idf.npy", lambda a: a[: len(a) // 2]),
}


@pytest.mark.parametrize("what", ARRAYS)
def test_an_array_of_another_model_is_one_line_and_computes_nothing(model: Path, what: str) -> None:
    name, change = ARRAYS[what]
    rewrite(model / name, change)
    rehash(model)
    with pytest.raises(ShelfmarkError, match=r"damaged.*fit the model again") as caught:
        load(model)
    assert "\n" not in str(caught.value)
    if what != "dense vectors that are not there":
        assert name.rpartition("_")[0].rpartition("/")[2] in str(caught.value)


@pytest.mark.parametrize("name", ["sparse_data.npy", "tree/idf.npy"])
def test_a_small_file_that_says_it_is_huge_is_neither_mapped_nor_read(model: Path, name: str) -> None:
    array = np.load(model / name)
    header = io.BytesIO()
    about = {"descr": array.dtype.str, "fortran_order": False, "shape": (10**13,)}
    np.lib.format.write_array_header_1_0(header, about)
    (model / name).write_bytes(header.getvalue() + array.tobytes())
    rehash(model)
    with pytest.raises(ShelfmarkError, match="damaged"):
        load(model)


def test_an_archive_unpacks_no_more_than_was_written(model: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2, 2**20)})
    with zipfile.ZipFile(model / "ngram.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("idf.npy", header.getvalue() + bytes(2**25))
    rehash(model)
    with pytest.raises(ShelfmarkError, match=r"ngram\.npz: damaged"):
        load(model)


FACTS: dict[str, tuple[Any, ...]] = {
    "a level less": ("tree/tree.json", "levels", 0, ...),
    "a path too short": ("tree/tree.json", "uppers", 0, ["a"]),
    "a brand twice": ("tree/tree.json", "lasts", ["a", "a"]),
    "a brand that is a number": ("tree/tree.json", "lasts", 0, 7),
    "no networks": ("tree/tree.json", "networks", []),
    "a network of 2 arrays": ("tree/tree.json", "networks", 0, 2),
    "a file elsewhere": ("tree/tree.json", "files", {"../../etc/passwd": "0"}),
    "knots that fall": ("tree/tree.json", "calibrations", "path", "others", "scores", [2.0, 1.0]),
    "no calibration": ("tree/tree.json", "calibrations", "path", ...),
    "coefficients of another model": ("vote.json", "coefficients", [1.0]),
    "text for a number": ("vote.json", "sharpness", "4.0"),
    "a power that leaves nothing": ("vote.json", "sharpness", 1e6),
    "no options": ("vote.json", "options", None),
    "no held-out rows": ("sources.json", "held_out", []),
    "a row without paths": ("sources.json", "held_out", 0, [[], []]),
    "one coefficient": ("sources.json", "choice", "coefficients", [1.0]),
    "a list of names": ("encoder.json", "name", ["ngram"]),
    "a seed that is text": ("model.json", "seed", "0"),
    "options that are a list": ("model.json", "options", []),
    "an option of another type": ("model.json", "options", "candidates_from", 5),
    "no schema": ("model.json", "schema", None),
}


@pytest.mark.parametrize("what", FACTS)
def test_facts_of_another_model_are_one_line(model: Path, what: str) -> None:
    name, *keys, value = FACTS[what]
    edit(model / name, *keys, value=value)
    rehash(model)
    with pytest.raises(ShelfmarkError) as caught:
        load(model)
    assert "\n" not in str(caught.value)


def test_rows_that_are_not_those_of_the_vectors(model: Path) -> None:
    import pyarrow.parquet as pq

    file = model / "rows.parquet"
    table = pq.read_table(file)
    for other in (table.slice(1), table.drop_columns(["price"]), table.take(list(reversed(range(len(table)))))):
        pq.write_table(other, file)
        rehash(model)
        with pytest.raises(ShelfmarkError, match=r"rows\.parquet: damaged"):
            load(model)


@pytest.mark.parametrize(("packing", "why"), [("zstd", "compressed as ZSTD"), ("snappy", "a text of 262,144 chara")])
@pytest.mark.parametrize("name", ["id", "retailer", "text.description", "level.group"])
def test_rows_that_share_one_huge_text_are_not_unpacked(model: Path, name: str, packing: str, why: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = model / "rows.parquet"
    table = pq.read_table(file)
    assert name in table.column_names, table.column_names
    huge = pa.array(["x" * (1 << 18)] * len(table))
    coded = pa.types.is_dictionary(table.schema.field(name).type)
    table = table.set_column(table.column_names.index(name), name, huge.dictionary_encode() if coded else huge)
    pq.write_table(table, file, compression=packing)
    rehash(model)
    with pytest.raises(ShelfmarkError, match=rf"rows\.parquet: damaged \({why}.*fit the model again"):
        load(model)


def test_rows_that_share_a_text_share_it_in_memory(model: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = model / "rows.parquet"
    table = pq.read_table(file)
    name = next(column for column in table.column_names if column.startswith("text."))
    same = pa.array(["x" * 100_000] * len(table))
    pq.write_table(table.set_column(table.column_names.index(name), name, same), file)
    about = json.loads((model / "model.json").read_text())
    rows = read_rows(model, Schema.from_dict(about["schema"]), len(table))
    assert len({id(text) for text in rows.columns[name.removeprefix("text.")]}) == 1


def test_json_of_no_size_of_ours_is_not_read(run: Path, model: Path, refused) -> None:
    os.truncate(run / "manifest.json", 3 << 30)
    assert "manifest.json: damaged (more than 64 MiB)" in refused("report", run)
    os.truncate(model / "tree" / "tree.json", 3 << 30)
    with pytest.raises(ShelfmarkError, match=r"tree\.json: damaged \(more than 256 MiB\)"):
        read_folder(model / "tree")
    with pytest.raises(ShelfmarkError, match=r"damaged \(more than 0 MiB\)"):
        read_json(model / "model.json", 10)


def test_a_line_as_long_as_the_disk_is_not_read(run: Path, tmp_path: Path, refused) -> None:
    os.truncate(run / "predictions.jsonl", 3 << 30)
    assert "damaged (longer than 16 MiB)" in refused("vote", run, run, "--out", tmp_path / "vote")
    (tmp_path / "record.jsonl").touch()
    os.truncate(tmp_path / "record.jsonl", 1 << 30)
    with pytest.raises(ShelfmarkError, match=r"record\.jsonl, line 1: damaged \(longer than 16 MiB\)"):
        Record(tmp_path)


MANIFEST: dict[str, tuple[Any, ...]] = {
    "stages that are a list": ("stages", []),
    "a stage without seconds": ("stages", "requests", {"rows": 3}),
    "seconds that are text": ("stages", "report", "seconds", "3"),
    "rows that are text": ("rows", "30"),
    "no rows": ("rows", 0),
    "a limit below one": ("limit", 0),
    "options that are null": ("options", None),
    "a policy of another kind": ("options", "policy", 7),
    "an engine that is a list": ("engine", []),
    "inputs that are numbers": ("inputs", "test", 3),
    "asking that is null": ("asking", None),
    "a cost that is text": ("asking", "cost", "3 dollars"),
    "no strategy": ("strategy", ...),
    "no test": ("test", ...),
    "a schema that is text": ("schema", "indoml"),
    "a seed of a fraction": ("seed", 0.5),
    "packages that are a list": ("packages", []),
}


@pytest.mark.parametrize("what", MANIFEST)
def test_a_manifest_of_other_types_is_one_line_whatever_reads_it(run: Path, refused, tmp_path, what: str) -> None:
    *keys, value = MANIFEST[what]
    edit(run / "manifest.json", *keys, value=value)
    before = {file: file.read_bytes() for file in run.iterdir() if file.is_file()}
    snap = ["snap", run, "--taxonomy", run / "taxonomy.csv", "--out", tmp_path / "s.jsonl"]
    for words in (["report", run], ["resume", run], snap):
        assert "manifest.json: damaged" in refused(*words)
    assert {file: file.read_bytes() for file in before} == before


ODD = [None, True, -1, 2**70, 1e300, "x", [], ["a"], {}, {"a": 1}]


def mutated(draw: random.Random, value: Any) -> Any:
    """Set one value of a JSON object, at any depth, to another kind of value, or take it out."""
    at = value
    while True:
        key = draw.choice(list(at)) if isinstance(at, dict) else draw.randrange(len(at))
        if not isinstance(at[key], dict | list) or not at[key] or draw.random() < 0.3:
            break
        at = at[key]
    if draw.random() < 0.25:
        del at[key]
    else:
        at[key] = draw.choice(ODD)
    return value


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_run_is_one_line_or_works(run: Path, tmp_path, monkeypatch, capsys, seed: int) -> None:
    draw = random.Random(seed)
    for name in ("requests.jsonl", "completions.jsonl", "predictions.jsonl", "metrics.json", "manifest.json"):
        whole = (run / name).read_bytes()
        if name.endswith(".jsonl"):
            lines = whole.split(b"\n")[:-1]
            at = draw.randrange(len(lines))
            torn = [lines[at][: len(lines[at]) // 2], bytes(40) + lines[at], b"\xff" + lines[at], b"[]", b"7", b""]
            new = json.dumps(mutated(draw, json.loads(lines[at]))).encode()
            lines[at] = draw.choice([*torn, new, new, new])
            (run / name).write_bytes(b"".join(line + b"\n" for line in lines))
        else:
            (run / name).write_text(json.dumps(mutated(draw, json.loads(whole))))
        words = [["report", run], ["resume", run], ["ask", run, "--rows", 3, "--out", tmp_path / f"{name}.csv"]]
        for argv in (draw.choice(words), ["snap", run, "--taxonomy", run / "taxonomy.csv", "--out", tmp_path / name]):
            monkeypatch.setattr(sys, "argv", ["classify", *map(str, argv)])
            with pytest.raises(SystemExit) as ended:
                classify.cli.main()
            told = capsys.readouterr().err
            assert ended.value.code in (0, None) or (ended.value.code == 2 and told.count("\n") == 1), told
        (run / name).write_bytes(whole)


BAD_LINES = [b"[]", b"3", b"null", b"{}", b'{"id": 3}', b"\0\0\0", b"\xff", b"{", b'{"id": "a", "id": "b"}']


@pytest.mark.parametrize("line", BAD_LINES)
def test_answers_that_were_paid_are_named_and_left_as_they_are(tmp_path, line: bytes) -> None:
    file = tmp_path / "completions.jsonl"
    content = b'{"id": "a", "text": ""}\n' + line + b'\n{"id": "b", "text": ""}\n'
    file.write_bytes(content)
    with pytest.raises(ShelfmarkError, match=r"completions\.jsonl, line 2: damaged .*delete the line"):
        RecordedAnswers(file)
    assert file.read_bytes() == content


@pytest.mark.parametrize("line", [*BAD_LINES, b'{"id": "a", "dollars": -1}', b'{"id": "a", "dollars": "1"}'])
def test_what_was_lost_is_never_less_than_it_says(tmp_path, line: bytes) -> None:
    (tmp_path / "lost.jsonl").write_bytes(line + b"\n")
    with pytest.raises(ShelfmarkError, match=r"lost\.jsonl, line 1: damaged .*put it back"):
        list(read_lines(tmp_path / "lost.jsonl", Lost))


CHUNK = (
    b'{"event": "chunk", "number": 1, "digest": "d", "options": "o", "rows": 1, "size": 1, "again": false, "load": '
    b'{"rows": 1, "read": 1, "most_read": 1, "written": 1, "most_written": 1}}\n'
)


@pytest.mark.parametrize(
    "line",
    [
        *BAD_LINES,
        b'{"event": "created", "number": 2, "batch": "b"}',
        b'{"event": "created", "number": 1}',
        b'{"event": "ended", "number": 1, "batch": "b", "status": "x", "turned_away": 0, "usage": null}',
        b'{"event": "read", "number": 1, "counts": {"read": "9"}}',
        b'{"event": "chunk", "number": 2}',
        b'{"event": ["chunk"]}',
        b'{"event": "sent", "number": 1}',
    ],
)
def test_the_books_of_batches(tmp_path, line: bytes) -> None:
    file = tmp_path / "ledger.jsonl"
    file.write_bytes(CHUNK + line + b"\n")
    with pytest.raises(ShelfmarkError, match=r"ledger\.jsonl, line 2: damaged.*put it back from a copy"):
        Ledger(tmp_path)
    assert file.read_bytes() == CHUNK + line + b"\n"


@pytest.mark.parametrize("line", [*BAD_LINES, b'{"did": "made", "what": "job"}', b'{"did": "begun", "id": "x"}'])
def test_the_record_of_a_fine_tune(tmp_path, line: bytes) -> None:
    (tmp_path / "record.jsonl").write_bytes(line + b"\n")
    with pytest.raises(ShelfmarkError, match=r"record\.jsonl, line 1: damaged .*the provider's own list has the job"):
        Record(tmp_path)


@pytest.mark.parametrize("line", [*BAD_LINES, b'{"try": 1, "query": "q"}', b'{"try": 1, "dollars": -3, "outcome": ""}'])
def test_the_books_of_searches(tmp_path, line: bytes) -> None:
    (tmp_path / "c.books.jsonl").write_bytes(line + b"\n")
    with pytest.raises(ShelfmarkError, match=r"c\.books\.jsonl, line 1: damaged .*delete the line"):
        Spent.read(tmp_path / "c.books.jsonl")


def test_a_vote_over_runs_of_other_lengths(run: Path, finished: Path, refused, tmp_path) -> None:
    lines = (run / "predictions.jsonl").read_bytes().split(b"\n")
    (run / "predictions.jsonl").write_bytes(b"\n".join(lines[3:]))
    assert "not over the same products" in refused("vote", run, finished, "--out", tmp_path / "vote")
    (run / "predictions.jsonl").write_bytes(b"\n".join([*lines[:-4], b""]))
    assert "fewer predictions than the others" in refused("vote", run, finished, "--out", tmp_path / "vote")
    assert not (tmp_path / "vote").exists()


def test_a_training_process_unpickles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that somebody else left would run what it says."""
    told = tmp_path / "told"
    (tmp_path / "sitecustomize.py").write_text(
        f"import os\nopen({str(told)!r}, 'w').write(os.environ.get('TORCH_FORCE_WEIGHTS_ONLY_LOAD', ''))\nos._exit(0)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    train_apart(tmp_path, accelerate_config="", progress=silent)
    assert told.read_text() == "1"


def test_an_adapter_of_pickles_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 8}')
    (tmp_path / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(ShelfmarkError, match=r"no adapter_model\.safetensors"):
        adapter_config(str(tmp_path))


@pytest.mark.parametrize(
    "change", [{"model": None}, {"model": ""}, {"most_answer_tokens": "9"}, {"cost": []}, {"cost": {"actual": "free"}}]
)
def test_what_is_known_of_a_providers_model(tmp_path: Path, change: dict[str, Any]) -> None:
    about = {"job": "j", "model": "m", "most_answer_tokens": 9, "cost": {"at_most": 1.5, "actual": None}}
    file = tmp_path / "tuning.json"
    file.write_text(json.dumps(about))
    assert read_tuning(file) == about
    file.write_text(json.dumps({**about, **change}))
    with pytest.raises(ShelfmarkError, match=r"tuning\.json: damaged"):
        read_tuning(file)


@pytest.mark.parametrize(
    "line", [*BAD_LINES, b'{"prompt": "x", "label": ["a"]}', b'{"prompt": [{"role": 1}], "label": []}']
)
def test_the_held_out_rows_of_a_fine_tune(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "validation.jsonl").write_bytes(line + b"\n")
    with pytest.raises(ShelfmarkError, match=r"validation\.jsonl, line 1: damaged"):
        read_validation(tmp_path / "validation.jsonl")


@pytest.mark.parametrize("report", [{"x": 1}, {"ece_before": "text", "ece_after": 0.1}, {"ece_before": 0.1}, [], None])
def test_a_tree_s_report_is_checked_before_a_run_writes_it_down(shop, tmp_path, refused, report) -> None:
    fit(shop.train, strategy="tree").save(tmp_path / "model")
    file = tmp_path / "model" / "tree" / "tree.json"
    facts = json.loads(file.read_text())
    file.write_text(json.dumps({**facts, "report": dict.fromkeys(facts["report"], report)}))
    told = refused("--model", tmp_path / "model", "--test", shop.test_file, "--run", tmp_path / "run")
    assert "tree.json: damaged (report" in told


TUNED = {"job": "j", "model": "m", "most_answer_tokens": 5}
TUNINGS = [
    *([], 5, "x", {}, {**TUNED, "label_paths": None}, {**TUNED, "rows": "3"}, {**TUNED, "tokens": {"by": "x"}}),
    *({**TUNED, "curve": 5}, {**TUNED, "curve": [{"step": "1"}]}, {**TUNED, "trained_tokens": "9"}),
    *({**TUNED, "base": 5}, {**TUNED, "cost": {"expected": "1"}}, {**TUNED, "job": None}),
]


@pytest.mark.parametrize("about", TUNINGS, ids=json.dumps)
def test_a_received_tuning_is_neither_shown_nor_trusted(shop, tmp_path: Path, refused, about: Any) -> None:
    out = tmp_path / "received"
    out.mkdir()
    (out / "tuning.json").write_text(json.dumps(about))
    assert "tuning.json: damaged" in refused("tuning", out)
    (out / "model.json").write_text("{}")
    fit_again = ("fit", "--strategy", "openai", "--train", shop.train_file, "--out", out)
    assert "tuning.json: damaged" in refused(*fit_again)
    assert sorted(file.name for file in out.iterdir()) == ["model.json", "tuning.json"]


@pytest.mark.parametrize(
    "more",
    [
        *({}, {"rows": 3}, {"validation_rows": 3}, {"tokens": None}, {"cost": {}}, {"cost": {"expected": 1.5}}),
        *({"curve": None}, {"curve": [{"train_loss": 1.5}]}, {"curve": [{"step": 1}]}),
    ],
    ids=json.dumps,
)
def test_a_tuning_of_an_older_version_is_shown(tmp_path: Path, monkeypatch, capsys, more: dict[str, Any]) -> None:
    (tmp_path / "tuning.json").write_text(json.dumps({**TUNED, **more}))
    monkeypatch.setattr(sys, "argv", ["classify", "tuning", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        classify.cli.main()
    assert ended.value.code in (0, None)
    assert "model" in capsys.readouterr().out


@pytest.mark.parametrize("begun", [{"wanted": {}, "about": {}}, {"wanted": {"url": "x"}, "about": {"rows": "3"}}])
def test_a_received_record_of_a_fine_tune(tmp_path: Path, refused, begun: dict[str, Any]) -> None:
    lines = [{"did": "begun", "id": "x", **begun}, {"did": "made", "what": "job", "id": "ftjob-1"}]
    (tmp_path / "record.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "damaged" in refused("tuning", tmp_path)


TRAINED: dict[str, tuple[Any, ...]] = {
    "notes that are a number": ("training.json", "notes", 5),
    "a note that is a number": ("training.json", "notes", 0, 5),
    "no rows": ("training.json", "rows", ...),
    "seconds that are text": ("training.json", "seconds", "3"),
    "a score that is text": ("training.json", "best", "item_accuracy", "1"),
    "versions that are a list": ("training.json", "versions", []),
    "lengths without a mean": ("training.json", "lengths", "mean", ...),
    "a bin of two": ("training.json", "lengths", "histogram", 0, [1, 2]),
    "a step without a number": ("training.json", "history", 0, "step", ...),
    "a loss that is text": ("training.json", "history", 0, "loss", "x"),
    "a merge that is text": ("training.json", "merge", "x"),
    "a base that is a list": ("training.json", "base", []),
    "no schema": ("model.json", "schema", ...),
    "a schema that is a number": ("model.json", "schema", 5),
    "a schema of nothing": ("model.json", "schema", {}),
    "options that are a list": ("model.json", "options", []),
    "batches of text": ("model.json", "options", "batch_size", "x"),
}


@pytest.mark.extras
@pytest.mark.parametrize("what", TRAINED)
def test_a_damaged_fine_tune_makes_nothing_on_the_hub(tmp_path: Path, monkeypatch, what: str) -> None:
    import huggingface_hub

    made: list[str] = []
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", lambda self, name, **_: made.append(name))
    monkeypatch.setenv("HF_TOKEN", "hf_of_this_user")
    folder = tuned.write_model(tmp_path / "model", "no such base", [tuned.ROW])
    for part, config in (("merged", "config.json"), ("adapter", "adapter_config.json")):
        (folder / part).mkdir()
        (folder / part / config).write_text("{}")
    name, *keys, value = TRAINED[what]
    edit(folder / name, *keys, value=value)
    for use in (card, write_training, lambda place: push(place, "somebody/shelf")):
        with pytest.raises(ShelfmarkError) as caught:
            use(folder)
        assert "\n" not in str(caught.value)
    assert not made


def test_a_fine_tune_without_held_out_rows_has_a_card(tmp_path: Path) -> None:
    folder = tuned.write_model(tmp_path / "model", "no such base", [])
    edit(folder / "training.json", "best", "item_accuracy", value=None)
    edit(folder / "training.json", "history", value=[{"step": 10, "loss": 1.5}])
    assert "| not measured |" in card(folder)
    assert "no checkpoint was scored" in write_training(folder).read_text()
