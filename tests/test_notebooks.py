"""The notebooks are what their Python files say, install what is pinned, and tell nothing of where they were run."""

import ast
import json
import re

import pytest

pytest.importorskip("jupytext", reason="jupytext is not installed: pip install -e '.[dev]'")

from notebooks.build import HERE, NAMES, source, tags
from notebooks.stand_ins import STANDING_IN

ROOT = HERE.parent
MACHINE = re.compile(r"(?<![\w.])/(?:tmp|home|root|work|usr|opt|private|Users)/|Traceback|[\w-]+@[\w-]+:")


def kept(name: str) -> dict:
    return json.loads((HERE / f"{name}.ipynb").read_text(encoding="utf-8"))


def printed(cell: dict) -> str:
    return json.dumps(cell.get("outputs", []), ensure_ascii=False)


def test_there_is_a_notebook_for_each_file_and_no_other() -> None:
    others = {"build", "install", "stand_ins"}
    assert {file.stem for file in HERE.glob("*.py")} - others == set(NAMES)
    assert {file.stem for file in HERE.glob("*.ipynb")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_what_its_file_says(name: str) -> None:
    made, there = source(name), kept(name)
    cells = [(cell.cell_type, cell.id, cell.source, tags(cell)) for cell in made.cells]
    assert cells == [
        (cell["cell_type"], cell["id"], "".join(cell["source"]), cell["metadata"].get("tags", []))
        for cell in there["cells"]
    ], f"{name}.ipynb is not current: make notebooks"
    assert dict(made.metadata) == there["metadata"]


@pytest.mark.parametrize("name", NAMES)
def test_it_was_run_to_its_end(name: str) -> None:
    code = [cell for cell in kept(name)["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(code, 1):
        if "gpu" in cell["metadata"].get("tags", []):  # a stand-in's answers are not shown
            assert (cell["execution_count"], cell["outputs"]) == (None, [])
        else:
            assert cell["execution_count"] == number
            assert "error" not in {output["output_type"] for output in cell["outputs"]}
            assert cell["outputs"] or "!classify" not in "".join(cell["source"])


@pytest.mark.parametrize("name", NAMES)
def test_it_is_small_and_tells_nothing_of_the_machine(name: str) -> None:
    assert (HERE / f"{name}.ipynb").stat().st_size < 300_000
    for cell in kept(name)["cells"]:
        found = MACHINE.search(printed(cell))
        assert found is None, f"{cell['id']}: {found}"


@pytest.mark.parametrize("name", NAMES)
def test_it_installs_what_is_pinned_from_an_address_that_the_reader_gives(name: str) -> None:
    (install,) = [cell.source for cell in source(name).cells if "install" in tags(cell)]
    first, second, *_ = install.splitlines()
    assert first.partition("#")[0].strip() == 'REPOSITORY = ""'
    files = ast.literal_eval(second.partition("=")[2].strip())
    # tests/test_pins.py holds these to pyproject.toml.
    gpu = ["requirements-gpu.txt"] if any("gpu" in tags(cell) for cell in source(name).cells) else []
    assert files == ["requirements.txt", *gpu]
    assert all((ROOT / file).is_file() for file in files)


def test_no_address_is_invented() -> None:
    for name in NAMES:
        for file in (HERE / f"{name}.py", HERE / "install.py"):
            for address in re.findall(r"https?://[^\s\"')]+", file.read_text(encoding="utf-8")):
                assert address == "https://api.openai.com/v1"


@pytest.mark.parametrize("name", NAMES)
def test_what_stand_ins_take_the_place_of_is_a_parameter(name: str) -> None:
    known = {
        target.id
        for cell in source(name).cells
        if "parameters" in tags(cell)
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert set(STANDING_IN[name]) <= known
