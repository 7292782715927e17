import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import classify.asking
import classify.registry
import classify.run
from catalog.errors import ShelfmarkError
from catalog.messages import STATUSES, Completion
from catalog.product_files import write_products
from catalog.products import read_products
from catalog.taxonomy import Taxonomy
from classify.engines.neighbours import NeighboursEngine
from classify.job import Job
from classify.model import describe
from classify.run import STAGES, Run
from classify.strategies.rag import RagOptions

OPTIONS = RagOptions().model_dump()


@pytest.fixture
def job(shop, model: Path):
    """Make a job on the sample shop; the model is fitted already unless `train` is asked for."""

    def make(**changes) -> Job:
        values = {"strategy": "rag", "engine": "", "schema": shop.schema, "options": OPTIONS, "seed": 0}
        values |= {"test": shop.known, "model": model} | changes
        if "train" in changes:
            values["model"] = None
        return Job(**values)

    return make


def stamps(folder: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file() and file.name != ".lock"}


def test_every_id_once_in_order_with_a_status(finished: Path, shop, lines) -> None:
    rows = lines(finished / "predictions.jsonl")
    assert [row["indoml_id"] for row in rows] == shop.test.ids
    taxonomy = Taxonomy.from_labels(shop.train.labels, shop.schema.levels)
    for row in rows:
        assert list(row) == ["indoml_id", *shop.schema.levels, "confidence", "status"]
        assert row["status"] in STATUSES
        assert 0 <= row["confidence"] <= 1
        assert taxonomy.is_valid(tuple(row[level] for level in shop.schema.levels))


def test_what_a_run_holds(finished: Path, shop, model: Path, lines) -> None:
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest["strategy"] == "rag"
    assert manifest["engine"] == "neighbours"
    assert manifest["seed"] == 0
    assert manifest["rows"] == len(shop.test)
    assert list(manifest["stages"]) == list(STAGES)
    assert list(manifest)[-1] == "finished"
    requests = lines(finished / "requests.jsonl")
    assert list(requests[0]) == ["id", "messages", "candidates", "scores", "max_tokens"]
    assert [line["id"].rpartition("-")[0] for line in requests] == [str(name) for name in shop.test.ids]
    assert [line["id"] for line in lines(finished / "completions.jsonl")] == [line["id"] for line in requests]
    metrics = json.loads((finished / "metrics.json").read_text())
    assert sum(metrics["statuses"].values()) == metrics["rows"] == metrics["evaluation"]["rows"] == len(shop.test)
    assert metrics["evaluation"]["valid"] == 1
    assert not [file for file in finished.rglob("*") if file.suffix in (".tmp", ".partial")]


def test_the_same_job_gives_the_same_bytes(job, finished: Path, tmp_path, contents) -> None:
    Run.start(tmp_path / "again", job()).execute()
    assert contents(tmp_path / "again") == contents(finished)


def test_fitting_in_the_run_gives_the_same_bytes(job, shop, finished: Path, tmp_path, contents) -> None:
    Run.start(tmp_path / "run", job(train=(shop.train_file,))).execute()
    assert contents(tmp_path / "run") == contents(finished)
    assert Run.open(tmp_path / "run").manifest["stages"]["fit"]["rows"] == len(shop.train)


@pytest.mark.parametrize("until", STAGES)
def test_each_stage_can_be_the_last_and_be_carried_on(job, finished: Path, tmp_path, contents, until: str) -> None:
    folder = tmp_path / "run"
    run = Run.start(folder, job())
    run.execute(until)
    assert list(run.manifest["stages"]) == list(STAGES[: STAGES.index(until) + 1])
    assert run.finished == (until == "report")
    Run.open(folder).execute()
    assert contents(folder) == contents(finished)


def test_stage_by_stage(job, finished: Path, tmp_path, contents) -> None:
    for until in STAGES:
        Run.start(tmp_path / "run", job()).execute(until)
    assert contents(tmp_path / "run") == contents(finished)


def test_a_finished_run_does_no_work_again(job, finished: Path, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(finished, tmp_path / "run")
    before = stamps(tmp_path / "run")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("work was done")

    for name in ("fitted", "evaluate_files", "AnswerReader"):
        monkeypatch.setattr(classify.run, name, never)
    Run.open(tmp_path / "run").execute()
    Run.start(tmp_path / "run", job()).execute()
    assert stamps(tmp_path / "run") == before


def test_limit(job, shop, finished: Path, tmp_path, lines) -> None:
    run = Run.start(tmp_path / "run", job(limit=7))
    run.execute()
    rows = lines(tmp_path / "run" / "predictions.jsonl")
    assert rows == lines(finished / "predictions.jsonl")[:7]
    assert "evaluation" not in json.loads((tmp_path / "run" / "metrics.json").read_text())
    Run.start(tmp_path / "all", job(limit=10**9)).execute()
    assert lines(tmp_path / "all" / "predictions.jsonl") == lines(finished / "predictions.jsonl")


@pytest.mark.parametrize("block", [1, 7, 45])
def test_blocks_do_not_matter(job, finished, tmp_path, contents, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(classify.run, "BLOCK_ROWS", block)
    Run.start(tmp_path / "run", job()).execute()
    assert contents(tmp_path / "run") == contents(finished)


def test_brand_free(job, shop, tmp_path, lines) -> None:
    Run.start(tmp_path / "run", job(options={**OPTIONS, "policy": "brand-free"})).execute()
    taxonomy = Taxonomy.from_labels(shop.train.labels, shop.schema.levels)
    for row in lines(tmp_path / "run" / "predictions.jsonl"):
        assert taxonomy.is_valid(tuple(row[level] for level in shop.schema.levels), "brand-free")
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["evaluation"]["valid"] == 1


def test_a_run_moves_with_its_requests_alone(shop, finished: Path, tmp_path, contents) -> None:
    """Requests on one machine, the rest on another one: without train, test and model files."""
    (tmp_path / "here").mkdir()
    train = read_products(shop.train_file, shop.schema, labels=True)
    write_products(tmp_path / "here", "train", [train], shop.schema)
    shutil.copytree(shop.known.parent, tmp_path / "here", dirs_exist_ok=True)
    here = tmp_path / "here"
    job = Job("rag", "", shop.schema, OPTIONS, 0, here / "test.features", train=(here / "train.features",))
    Run.start(here / "runs" / "x", job).execute("requests")
    shutil.copytree(here / "runs" / "x", tmp_path / "there" / "y")
    shutil.rmtree(here)
    shutil.rmtree(tmp_path / "there" / "y" / "model")
    Run.open(tmp_path / "there" / "y").execute()
    assert contents(tmp_path / "there" / "y") == contents(finished)


def test_the_inputs_may_move(job, shop, finished: Path, tmp_path) -> None:
    folder = tmp_path / "run"
    Run.start(folder, job()).execute("requests")
    shutil.copytree(shop.known.parent, tmp_path / "moved")
    run = Run.start(folder, job(test=tmp_path / "moved"))
    run.execute()
    assert run.finished


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"seed": 1}, "seed was 0, now 1"),
        ({"limit": 3}, "limit was None, now 3"),
        ({"options": {**OPTIONS, "top_k": 9}}, "top_k was 5, now 9"),
        ({"options": {**OPTIONS, "policy": "brand-free"}}, "policy was path, now brand-free"),
        ({"test": "other"}, "test was [0-9a-f]{64}, now other content"),
        ({"model": "other"}, "model was [0-9a-f]{64}, now other content"),
        ({"train": "train"}, "model was|train was"),
    ],
)
def test_another_job_s_directory(job, shop, finished, tmp_path, changes: dict, what: str) -> None:
    shutil.copytree(finished, tmp_path / "run")
    before = stamps(tmp_path / "run")
    if "test" in changes:
        write_products(tmp_path, "other", [shop.test.take(range(9))], shop.schema)
        changes = {"test": tmp_path / "other.features"}
    elif "model" in changes:
        from classify import fit

        fit(shop.train.take(range(200))).save(tmp_path / "model")
        changes = {"model": tmp_path / "model"}
    elif "train" in changes:
        changes = {"train": (shop.train_file,)}
    with pytest.raises(ShelfmarkError, match=f"belongs to another job \\(({what})"):
        Run.start(tmp_path / "run", job(**changes))
    assert stamps(tmp_path / "run") == before


def test_a_folder_that_is_no_run(job, tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for place in (tmp_path / "mine", tmp_path / "mine" / "thesis.txt"):
        with pytest.raises(ShelfmarkError, match=r"not a run, and not empty; choose another --run"):
            Run.start(place, job())
        with pytest.raises(ShelfmarkError, match="not a run directory"):
            Run.open(place)
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_somebody_else_s_manifest(job, tmp_path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "my web site"}')
    for start in (lambda: Run.start(tmp_path, job()), lambda: Run.open(tmp_path)):
        with pytest.raises(ShelfmarkError, match="another version"):
            start()
    (tmp_path / "manifest.json").write_text('{"torn')
    with pytest.raises(ShelfmarkError, match="damaged"):
        Run.open(tmp_path)


def test_an_empty_folder_may_become_a_run(job, tmp_path) -> None:
    (tmp_path / "run").mkdir()
    Run.start(tmp_path / "run", job()).execute("requests")
    assert (tmp_path / "run" / "requests.jsonl").is_file()


def test_two_processes_do_not_work_on_one_run(job, tmp_path) -> None:
    run = Run.start(tmp_path / "run", job())
    script = (
        "import fcntl, sys, time\n"
        "with open(sys.argv[1], 'w') as lock:\n"
        "    fcntl.flock(lock, fcntl.LOCK_EX); print('held', flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "run" / ".lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ShelfmarkError, match="another process is working on this run"):
            run.execute()
        with pytest.raises(ShelfmarkError, match="another process is working on this run"):
            Run.start(tmp_path / "run", job(seed=1))
        other.kill()
    run.execute("requests")  # the lock dies with its holder


def test_the_lock_is_free_after_an_error(job, tmp_path) -> None:
    run = Run.start(tmp_path / "run", job())
    with pytest.raises(ShelfmarkError, match=r"--until report_: no such stage \(did you mean 'report'\?\)"):
        run.execute("report_")
    run.execute("requests")
    with open(tmp_path / "run" / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_leftovers_of_a_killed_process_are_cleared(job, finished: Path, tmp_path, contents) -> None:
    folder = tmp_path / "run"
    Run.start(folder, job()).execute("requests")
    (folder / ".manifest.json.123.tmp").write_text("{")
    (folder / ".model.123.tmp").mkdir()
    (folder / ".model.123.tmp" / "half").write_text("half")
    Run.open(folder).execute()
    assert not list(folder.glob(".*.tmp"))
    assert contents(folder) == contents(finished)


@pytest.mark.parametrize("left", [".lock", "inputs", ".manifest.json.77.tmp"])
def test_a_job_killed_before_its_manifest_starts_again(job, finished, tmp_path, contents, left: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    if left == "inputs":
        (folder / left).mkdir()
        (folder / left / ".test.features.copy.77.tmp").write_text("half")
    else:
        (folder / left).write_text("")
    Run.start(folder, job()).execute()
    assert contents(folder) == contents(finished)


def test_another_job_may_follow_one_that_did_nothing(job, tmp_path) -> None:
    Run.start(tmp_path / "run", job())
    run = Run.start(tmp_path / "run", job(seed=1))
    assert run.manifest["seed"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_job_that_cannot_begin_leaves_nothing(shop, tmp_path) -> None:
    write_products(tmp_path, "train", [shop.train], shop.schema)
    (tmp_path / "train.labels").write_text("{}\n")
    job = Job("rag", "", shop.schema, OPTIONS, 0, shop.test_file, train=(tmp_path / "train.features",))
    with pytest.raises(ShelfmarkError, match=r"train\.labels, line 1"):
        Run.start(tmp_path / "runs" / "x", job).execute()
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_resume_that_fails_keeps_the_run(job, model: Path, finished: Path, tmp_path, contents) -> None:
    shutil.copytree(model, tmp_path / "model")
    Run.start(tmp_path / "run", job(model=tmp_path / "model"))
    (tmp_path / "model").rename(tmp_path / "away")
    with pytest.raises(ShelfmarkError, match="not a model"):
        Run.open(tmp_path / "run").execute()
    (tmp_path / "away").rename(tmp_path / "model")
    Run.open(tmp_path / "run").execute()
    assert contents(tmp_path / "run") == contents(finished)


def test_inputs_that_change_before_they_are_read_are_refused(job, shop, tmp_path) -> None:
    from classify import fit

    write_products(tmp_path, "train", [shop.train], shop.schema)
    fit(shop.train).save(tmp_path / "model")
    one = Run.start(tmp_path / "one", job(train=(tmp_path / "train.features",)))
    other = Run.start(tmp_path / "other", job(model=tmp_path / "model"))
    write_products(tmp_path, "train", [shop.train.take(range(100))], shop.schema)
    fit(shop.train.take(range(100))).save(tmp_path / "model")
    for run in (one, other):
        with pytest.raises(ShelfmarkError, match="changed since this run was started"):
            Run.open(run.folder).execute()


def test_wrong_labels_beside_the_test_file_are_found_first(shop, model: Path, tmp_path) -> None:
    write_products(tmp_path, "test", [shop.test], shop.schema)
    rows = (tmp_path / "test.labels").read_text().splitlines(keepends=True)
    (tmp_path / "test.labels").write_text("".join(rows[:-1]))
    job = Job("rag", "", shop.schema, OPTIONS, 0, tmp_path / "test.features", model=model)
    with pytest.raises(ShelfmarkError, match=r"test\.labels: no label for the id"):
        Run.start(tmp_path / "run", job)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["requests.jsonl", "completions.jsonl", "predictions.jsonl", "metrics.json"])
def test_a_deleted_file_is_made_again(finished: Path, tmp_path, contents, name: str) -> None:
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    Run.open(tmp_path / "run").execute()
    assert contents(tmp_path / "run") == contents(finished)
    assert list(Run.open(tmp_path / "run").manifest)[-1] == "finished"


@pytest.mark.parametrize("name", ["requests.jsonl", "completions.jsonl", "predictions.jsonl"])
def test_a_damaged_file_is_one_line(finished: Path, tmp_path, name: str) -> None:
    shutil.copytree(finished, tmp_path / "run")
    stage = STAGES[[f"{stage}.jsonl" for stage in STAGES].index(name) + 1]
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    manifest["stages"] = {
        key: value for key, value in manifest["stages"].items() if key not in STAGES[STAGES.index(stage) :]
    }
    del manifest["finished"]
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    content = (tmp_path / "run" / name).read_bytes()
    (tmp_path / "run" / name).write_bytes(content.replace(b"{", b"\x7b\x7b", 3))
    with pytest.raises(ShelfmarkError, match=f"{name}, line 1: damaged"):
        Run.open(tmp_path / "run").execute()


def test_a_request_file_of_other_products_is_refused(finished: Path, tmp_path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    file = tmp_path / "run" / "requests.jsonl"
    rows = file.read_text().splitlines(keepends=True)
    file.write_text("".join(rows[1:]))
    (tmp_path / "run" / "predictions.jsonl").unlink()
    with pytest.raises(ShelfmarkError, match=r"not the requests of test\.features"):
        Run.open(tmp_path / "run").execute()


FIND = classify.run.find


def use_engine(monkeypatch: pytest.MonkeyPatch, engine: type) -> None:
    def found(kind: str, registry: dict[str, str], name: str) -> object:
        return engine if kind == "engine" else FIND(kind, registry, name)

    monkeypatch.setattr(classify.registry, "find", found)


class Dear(NeighboursEngine):
    """An engine whose every answer costs: it counts, and dies after a while."""

    asked: list[str]
    die_after: int

    def complete(self, requests):
        for answer in super().complete(requests):
            if len(Dear.asked) == Dear.die_after:
                raise KeyboardInterrupt
            Dear.asked.append(answer.id)
            yield answer


def test_no_recorded_answer_is_asked_again(job, tmp_path, lines, monkeypatch: pytest.MonkeyPatch) -> None:
    use_engine(monkeypatch, Dear)
    monkeypatch.setattr(classify.asking, "FLUSH_ROWS", 10)
    Dear.asked, Dear.die_after = [], 25
    run = Run.start(tmp_path / "run", job())
    with pytest.raises(KeyboardInterrupt):
        run.execute()
    recorded = lines(tmp_path / "run" / "completions.jsonl")
    assert len(recorded) >= 20
    Dear.asked, Dear.die_after = [], 10**9
    Run.open(tmp_path / "run").execute()
    assert not {line["id"] for line in recorded} & set(Dear.asked)
    assert len(lines(tmp_path / "run" / "completions.jsonl")) == run.manifest["rows"]


class Shuffled(NeighboursEngine):
    """Answers from the last to the first, and fails on some."""

    deterministic = False

    def complete(self, requests):
        for number, answer in enumerate(reversed(list(super().complete(requests)))):
            yield answer if number % 5 else Completion(answer.id, error="time out")


def test_answers_in_any_order_and_errors(job, shop, tmp_path, lines, monkeypatch: pytest.MonkeyPatch) -> None:
    use_engine(monkeypatch, Shuffled)
    run = Run.start(tmp_path / "run", job())
    run.execute()
    rows = lines(tmp_path / "run" / "predictions.jsonl")
    assert [row["indoml_id"] for row in rows] == shop.test.ids
    assert sum(row["status"] == "failed" for row in rows) == len(rows) / 5
    assert run.manifest["deterministic"] is False


def test_the_engine_may_change_until_it_has_answered(job, tmp_path) -> None:
    Run.start(tmp_path / "run", job()).execute("requests")
    run = Run.open(tmp_path / "run")
    with pytest.raises(ShelfmarkError, match=r"--engine neighbors: unknown \(did you mean 'neighbours'\?\)"):
        run.execute(engine="neighbors")
    run.execute(engine="neighbours")
    run.execute(engine="transformers", until="requests", llm="x")  # what the neighbours say costs nothing
    assert not (tmp_path / "run" / "completions.jsonl").exists()
    run.execute(engine="neighbours")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    manifest["engine"] = "other"
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ShelfmarkError, match="90 answers of the engine other are recorded"):
        run.execute(engine="neighbours")


def test_unknown_names_are_found_before_anything_is_written(job, tmp_path) -> None:
    for changes in ({"engine": "neighbors"}, {"strategy": "rga"}):
        with pytest.raises(ShelfmarkError, match="did you mean"):
            Run.start(tmp_path / "run", job(**changes))
    assert not (tmp_path / "run").exists()


def test_a_gzipped_test_file_is_copied_as_it_is(job, shop, finished, tmp_path, contents) -> None:
    import gzip

    (tmp_path / "in").mkdir()
    for name in ("test.features", "test.labels"):
        content = (shop.known.parent / name).read_bytes()
        (tmp_path / "in" / f"{name}.gz").write_bytes(gzip.compress(content))
    Run.start(tmp_path / "run", job(test=tmp_path / "in")).execute()
    copied = tmp_path / "run" / "inputs" / "test.features.gz"
    assert copied.read_bytes() == (tmp_path / "in" / "test.features.gz").read_bytes()
    assert contents(tmp_path / "run") == contents(finished)


def test_relative_paths(job, shop, model: Path, finished, tmp_path, contents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop.folder)
    run = Run.start(Path(os.path.relpath(tmp_path / "run")), job(test=Path("known"), train=(Path("train.features"),)))
    monkeypatch.chdir(tmp_path)
    Run.open(Path("run")).execute()
    assert run.manifest["train"] == [str(shop.train_file)]
    assert contents(tmp_path / "run") == contents(finished)


def test_describe_gives_the_options_of_a_job(model: Path) -> None:
    assert describe(model)["options"] == OPTIONS
