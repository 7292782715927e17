"""Mistakes are told in one line, before hours are lost."""

import json
import shutil
from pathlib import Path

import pytest

from classify.model import work_folder
from finetune.job import COMPLETE

pytestmark = pytest.mark.extras


@pytest.fixture
def fit(refused, shelves, tmp_path):
    """Give `classify fit` options that it must refuse; nothing is left where the model would be."""

    def give(*options: object) -> str:
        out = tmp_path / "model"
        arguments = ("fit", "--strategy", "lora", "--recipe", shelves.recipe, "--train", shelves.folder, "--out", out)
        line = refused(*arguments, *options)
        assert not out.exists()
        return line

    return give


def test_no_gpu(fit) -> None:
    assert "--backend unsloth: it needs a GPU, and there is none here; take --backend trl" in fit(
        "--backend", "unsloth"
    )


def test_an_absent_base(fit) -> None:
    assert "--base no/such-model: cannot be loaded" in fit("--base", "no/such-model")


def test_a_base_without_a_chat_template(fit, shelves, tmp_path) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(shelves.base, plain)
    (plain / "chat_template.jinja").unlink()
    line = fit("--base", plain)
    assert f"--base {plain}: its chat template cannot be used" in line
    assert "-Instruct" in line


def test_a_base_whose_template_hides_the_answer(fit, shelves, tmp_path) -> None:
    odd = tmp_path / "odd"
    shutil.copytree(shelves.base, odd)
    (odd / "chat_template.jinja").write_text("{{ messages | length }}{% if add_generation_prompt %}go{% endif %}")
    assert "the answer alone cannot be learned" in fit("--base", odd)


def test_rows_longer_than_the_limit(fit) -> None:
    line = fit("--max-seq-length", 50)
    assert "--max-seq-length 50: " in line
    assert " of 1440 examples are longer, the longest has " in line


def test_a_checkpoint_from_another_recipe(fit, tmp_path) -> None:
    fit("--max-seq-length", 50)
    place = work_folder(tmp_path / "model") / "checkpoints" / "checkpoint-30"
    place.mkdir(parents=True)
    (place / COMPLETE).write_text(json.dumps({"seconds": 1.0}))
    assert "an unfinished fine-tune by another recipe (max_seq_length was 50, now 512)" in fit()


def test_too_little_memory(fit, shelves, tmp_path) -> None:
    huge = tmp_path / "huge"
    shutil.copytree(shelves.base, huge)
    config = json.loads((huge / "config.json").read_text())
    (huge / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 10_000_000}))
    line = fit("--base", huge)
    assert "GB of memory are needed" in line
    assert "GB free; take a smaller --base" in line


def test_a_base_without_the_recipe_s_layers(fit, shelves, tmp_path) -> None:
    recipe = tmp_path / "fused.toml"
    recipe.write_text(shelves.recipe.read_text() + 'projections = ["q_proj", "qkv_proj"]\n')
    assert "it has no layers called qkv_proj; name its layers" in fit("--recipe", recipe)


def test_a_template_that_thinks_first(fit, shelves, tmp_path) -> None:
    thinks = tmp_path / "thinks"
    shutil.copytree(shelves.base, thinks)
    file = thinks / "chat_template.jinja"
    file.write_text(file.read_text().replace("{{ message['content']", "{{ '<think>' + message['content']"))
    assert "the answer alone cannot be learned" in fit("--base", thinks)


def test_no_such_accelerate_configuration(fit) -> None:
    assert "--accelerate-config none.yaml: no such file" in fit("--accelerate-config", "none.yaml")


def test_a_tracker_that_is_not_installed(fit) -> None:
    assert "pip install wandb" in fit("--report-to", "wandb")


def test_a_full_disk_while_saving(tuned: Path, shelves, classify, tmp_path: Path) -> None:
    """A limit on the size of a file ends the write as a full disk does."""
    pytest.importorskip("resource")
    import resource
    import subprocess
    import sys

    out = tmp_path / "model"
    command = ["fit", "--strategy", "lora", "--recipe", shelves.recipe, "--train", shelves.folder, "--out", out]
    command += ["--epochs", 0.2, "--evaluate-every", 10]
    arguments = [sys.executable, "-m", "classify.cli", *map(str, command)]
    # Room for the rows, not for a checkpoint.
    small = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000)),
    )
    assert small.returncode == 2, small.stderr
    assert "Traceback" not in small.stderr
    assert "classify: " in small.stderr
    assert not out.exists()
