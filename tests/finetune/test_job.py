import json
from pathlib import Path

import pytest

from catalog.errors import ShelfmarkError
from finetune.examples import Example
from finetune.job import COMPLETE, TrainingJob, begin, last_checkpoint, locked
from finetune.recipe import Recipe

RECIPE = Recipe(base="tiny", epochs=1)


def example(text: str) -> Example:
    return Example([{"role": "user", "content": text}], [{"role": "assistant", "content": text.upper()}])


LEARNED = [example("a"), example("b")]
HELD_OUT = [(example("c"), ("food", "dairy"))]


def checkpoint(folder: Path, step: int, whole: bool = True) -> Path:
    place = folder / "checkpoints" / f"checkpoint-{step}"
    place.mkdir(parents=True)
    if whole:
        (place / COMPLETE).write_text('{"seconds": 1.0}')
    return place


def test_what_is_written_is_read(tmp_path) -> None:
    job = begin(tmp_path / "job", RECIPE, "trl", LEARNED, HELD_OUT, report_to="wandb")
    assert TrainingJob.open(tmp_path / "job") == job
    assert job.examples() == LEARNED
    assert job.validation() == [(HELD_OUT[0][0].prompt, ("food", "dairy"))]
    assert (job.recipe, job.backend, job.report_to, job.done) == (RECIPE, "trl", "wandb", False)


def test_the_newest_whole_checkpoint_counts_and_torn_ones_go(tmp_path) -> None:
    assert last_checkpoint(tmp_path / "checkpoints") is None
    checkpoint(tmp_path, 90)
    newest, torn = checkpoint(tmp_path, 200), checkpoint(tmp_path, 1000, whole=False)
    assert last_checkpoint(tmp_path / "checkpoints") == newest  # by number: as text, 90 is the greatest
    assert not torn.exists()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"recipe": RECIPE.model_copy(update={"rank": 8})}, r"another recipe \(rank was 16, now 8\)"),
        ({"recipe": RECIPE.model_copy(update={"validation": 5})}, r"another recipe \(validation was 500, now 5\)"),
        ({"backend": "unsloth"}, r"another recipe \(backend was trl, now unsloth\)"),
        ({"learned": LEARNED[::-1]}, "by other rows"),
        ({"held_out": []}, "by other rows"),
    ],
)
def test_a_checkpoint_of_another_fine_tune_is_not_gone_on_from(tmp_path, change, what) -> None:
    same = {"recipe": RECIPE, "backend": "trl", "learned": LEARNED, "held_out": HELD_OUT}
    begin(tmp_path, *same.values())
    checkpoint(tmp_path, 10)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    with pytest.raises(ShelfmarkError, match=what):
        begin(tmp_path, *{**same, **change}.values())
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()} == before


def test_smaller_batches_make_the_same_steps(tmp_path) -> None:
    begin(tmp_path, RECIPE, "trl", LEARNED, HELD_OUT)
    checkpoint(tmp_path, 10)
    halved = {"batch_size": RECIPE.batch_size // 2, "gradient_accumulation": RECIPE.gradient_accumulation * 2}
    assert begin(tmp_path, RECIPE.model_copy(update=halved), "trl", LEARNED, HELD_OUT).recipe.batch_size == 8
    with pytest.raises(ShelfmarkError, match=r"a step was of 64 rows, now 32\)"):
        begin(tmp_path, RECIPE.model_copy(update={"batch_size": 8}), "trl", LEARNED, HELD_OUT)


def test_one_process_at_a_time(tmp_path) -> None:
    with (
        locked(tmp_path / "job"),
        pytest.raises(ShelfmarkError, match="another process is working on this fine-tune"),
        locked(tmp_path / "job"),
    ):
        pass
    with locked(tmp_path / "job"):
        pass


def test_another_name_or_tracker_is_the_same_fine_tune(tmp_path) -> None:
    begin(tmp_path, RECIPE, "trl", LEARNED, HELD_OUT)
    checkpoint(tmp_path, 10)
    begin(tmp_path, RECIPE.model_copy(update={"about": "mine"}), "trl", LEARNED, HELD_OUT, report_to="tensorboard")
    assert json.loads((tmp_path / "job.json").read_text())["report_to"] == "tensorboard"


def test_before_the_first_checkpoint_nothing_is_lost_by_beginning_again(tmp_path) -> None:
    begin(tmp_path, RECIPE, "trl", LEARNED, HELD_OUT)
    checkpoint(tmp_path, 10, whole=False)
    job = begin(tmp_path, RECIPE.model_copy(update={"base": "other"}), "trl", LEARNED[:1], HELD_OUT)
    assert job.examples() == LEARNED[:1]
    assert TrainingJob.open(tmp_path).recipe.base == "other"
