"""A folder imports folders of lower floors and itself: down only, never sideways."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = {
    "catalog": 1,
    "measure": 1,
    "pages": 1,
    "rag": 2,
    "student": 3,
    "postprocess": 3,
    "finetune": 3,
    "submissions": 3,
    "classify": 4,
}
FOLDERS = [name for name in FLOORS if (ROOT / name).is_dir()]
# Heavy libraries, most of them extras: imported inside the function that needs them.
EXTRAS = {"torch", "transformers", "sentence_transformers", "trl", "peft", "datasets", "unsloth", "vllm", "ray"}
EXTRAS |= {"huggingface_hub", "matplotlib", "tiktoken"}


def imports(file: Path) -> set[tuple[str, bool]]:
    """Return the first names of all modules that a file imports, and whether it does so at its top."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    top = {node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {(alias.name.split(".")[0], node in top) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            found.add(((node.module or "").split(".")[0], node in top))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and ":" in node.value:
            module = node.value.partition(":")[0]  # a registry's "module:Class"
            if module.replace(".", "").isidentifier() and module.split(".")[0] in FLOORS:
                found.add((module.split(".")[0], False))
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_go_down_only(folder: str) -> None:
    allowed = {name for name, floor in FLOORS.items() if floor < FLOORS[folder]} | {folder}
    for file in sorted((ROOT / folder).rglob("*.py")):
        for name, _ in imports(file):
            assert name not in FLOORS or name in allowed, f"{file.relative_to(ROOT)} imports {name}"
            assert name != "tests", f"{file.relative_to(ROOT)} imports tests"


@pytest.mark.parametrize("folder", FOLDERS)
def test_extras_are_imported_where_they_are_used(folder: str) -> None:
    for file in sorted((ROOT / folder).rglob("*.py")):
        heavy = {name for name, at_top in imports(file) if at_top} & EXTRAS
        assert not heavy, f"{file.relative_to(ROOT)} imports {heavy} at its top"


def test_every_folder_is_on_a_floor() -> None:
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages <= FLOORS.keys()
