"""Folders from somebody else in which names stand for something outside."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.errors import ShelfmarkError
from classify import load
from classify.engines.ledger import Ledger
from classify.lines import GrowingLines
from classify.run import Run
from finetune.job import locked
from tests.finetune.conftest import write_model

PRECIOUS = "precious, without an end of line"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that is no part of what was received; nothing in it may change."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_text(PRECIOUS)
    return folder


def symbolic(place: Path, outside: Path) -> None:
    place.symlink_to(outside / "file")


def hard(place: Path, outside: Path) -> None:
    place.hardlink_to(outside / "file")


def dangling(place: Path, outside: Path) -> None:
    place.symlink_to(outside / "made")


def folder(place: Path, outside: Path) -> None:
    place.symlink_to(outside, target_is_directory=True)


def pipe(place: Path, outside: Path) -> None:
    del outside
    os.mkfifo(place)


KINDS = (symbolic, hard, dangling, folder, pipe)
PLACES = (
    ".lock",
    "asked.jsonl",
    "completions.jsonl",
    "predictions.jsonl.partial",
    "requests.jsonl.partial",
    "lost.jsonl",
    "batches/ledger.jsonl",
    "batches/.first-0001.tmp",
    "model.training/.begun",
    "model.training/record.jsonl",
    "inputs/context/deep",
    "report.html",
    ".manifest.json.0123456789ab.tmp",
)


def untouched(outside: Path) -> bool:
    return [file.name for file in outside.iterdir()] == ["file"] and (outside / "file").read_text() == PRECIOUS


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A run of which the last stages are to be done again."""
    made = Path(shutil.copytree(finished, tmp_path / "run"))
    for name in ("completions.jsonl", "predictions.jsonl", "metrics.json"):
        (made / name).unlink()
    (made / ".lock").unlink(missing_ok=True)
    return made


@pytest.mark.parametrize(
    ("make", "name"),
    [*((symbolic, name) for name in PLACES), *((make, "asked.jsonl") for make in KINDS if make is not symbolic)],
)
def test_a_run_with_a_link_in_it_is_not_opened(
    run: Path, outside: Path, refused, make: Callable[[Path, Path], None], name: str
) -> None:
    (run / name).unlink(missing_ok=True)
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    make(run / name, outside)
    message = refused("resume", run)
    assert str(run / name) in message
    assert "files of its own" in message
    assert untouched(outside)


@pytest.mark.parametrize("name", ["inputs", "batches", "model"])
def test_a_run_with_a_folder_elsewhere_is_not_opened(run: Path, outside: Path, refused, name: str) -> None:
    if (run / name).exists():
        shutil.rmtree(run / name)
    folder(run / name, outside)
    for arguments in (("resume", run), ("report", run), ("batches", run), ("export", run, "--format", "openai-batch")):
        assert str(run / name) in refused(*arguments)
    assert untouched(outside)


def test_a_run_may_itself_be_reached_through_a_link(run: Path, command, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(run, target_is_directory=True)
    assert command("resume", tmp_path / "link").code == 0
    assert (run / "predictions.jsonl").is_file()


def test_a_run_is_not_begun_over_a_link(shop, outside: Path, refused, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    folder(tmp_path / "new" / "inputs", outside)
    asked = ("--strategy", "tree", "--train", shop.train_file, "--test", shop.test_file)
    message = refused(*asked, "--run", tmp_path / "new")
    assert "a symbolic link" in message
    assert untouched(outside)


@pytest.mark.parametrize("make", KINDS)
def test_lines_and_locks_follow_no_link(outside: Path, make: Callable[[Path, Path], None], tmp_path: Path) -> None:
    """Even where one is made after the folder was looked at."""
    make(tmp_path / "lines.jsonl", outside)
    with pytest.raises((ShelfmarkError, IsADirectoryError)), GrowingLines(tmp_path / "lines.jsonl", keep=0) as lines:
        lines.append([1])
    make(tmp_path / ".lock", outside)
    with pytest.raises((ShelfmarkError, IsADirectoryError)), Run(tmp_path, {}).locked():
        pass
    assert untouched(outside)


@pytest.mark.parametrize("make", KINDS)
def test_a_fit_goes_on_in_no_folder_with_a_link(
    outside: Path, make: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    training = tmp_path / "model.training"
    (training / "checkpoints").mkdir(parents=True)
    make(training / "checkpoints" / "checkpoint-1", outside)
    with pytest.raises(ShelfmarkError, match="files of its own"), locked(training):
        pass
    assert untouched(outside)


@pytest.mark.parametrize("name", ["../outside.features", "/etc/passwd", "inputs/../../x", "..", "", 3, None, ["a"]])
def test_what_a_run_reads_is_inside_of_it(run: Path, refused, name: object) -> None:
    file = run / "manifest.json"
    about = json.loads(file.read_text())
    told = "not in the folder" if isinstance(name, str) else "damaged"
    file.write_text(json.dumps({**about, "test": name}))
    assert told in refused("resume", run)
    file.write_text(json.dumps({**about, "context": {"file": name, "products": 1}}))
    (run / "requests.jsonl").unlink(missing_ok=True)
    assert told in refused("resume", run)


@pytest.mark.parametrize("name", ["vote.json", "more"])
def test_a_model_is_not_read_through_a_link_that_leads_out(model: Path, outside: Path, tmp_path: Path, name) -> None:
    copied = Path(shutil.copytree(model, tmp_path / "copied"))
    (copied / name).unlink(missing_ok=True)
    symbolic(copied / name, outside)
    with pytest.raises(ShelfmarkError, match="leads out"):
        load(copied)


def test_a_model_may_have_a_link_to_its_own(model: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(model, tmp_path / "copied"))
    (copied / "vote.json").rename(copied / "kept.json")
    (copied / "vote.json").symlink_to("kept.json")
    assert load(copied).strategy.name == "rag"


def test_a_model_with_a_pipe_in_it_is_not_read(model: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(model, tmp_path / "copied"))
    os.mkfifo(copied / "more")
    with pytest.raises(ShelfmarkError, match="a pipe"):
        load(copied)


@pytest.mark.parametrize("arguments", [("profile",), ("push", "--to", "name")])
def test_a_fine_tuned_model_is_neither_pushed_nor_loaded_with_what_is_outside(
    outside: Path, refused, tmp_path: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_this_user")
    received = tmp_path / "received"
    write_model(received, str(outside), [])
    (received / "merged").mkdir()
    assert "--base" in refused(arguments[0], received, *arguments[1:])
    symbolic(received / "merged" / "config.json", outside)
    assert "leads out" in refused(arguments[0], received, *arguments[1:])


def test_a_batch_is_no_path(tmp_path: Path) -> None:
    with Ledger.writing(tmp_path / "batches") as books:
        load_ = {"rows": 1}
        books.write("chunk", number=1, digest="", load=load_, options="", rows=1, size=1, again=False)
        books.write("created", number=1, batch="x/../../../outside")
        for kind in ("output", "errors"):
            assert books.output(books.chunks[1], "x/../../../outside", kind).parent == tmp_path / "batches"


def test_an_ensemble_of_itself_costs_what_nobody_knows(finished: Path, tmp_path: Path) -> None:
    from catalog.files import content_hash
    from classify.report.about import about

    run = Path(shutil.copytree(finished, tmp_path / "run"))
    manifest = json.loads((run / "manifest.json").read_text())
    digest = content_hash(run / "predictions.jsonl")
    (run / "manifest.json").write_text(
        json.dumps({**manifest, "runs": [str(run)], "inputs": {"predictions 1": digest}})
    )
    assert "cost of the runs voted over" not in dict(about(Run.open(run))["Time and money"])
