"""Makes the notebooks of the Python files beside this one, runs them, and keeps what they print.

    python -m notebooks.build [--out FOLDER] [NAME ...]

Each runs in an empty folder. Where it wants a GPU or a provider, stand-ins take their place: a cell before the first
one tagged `gpu`, or else after the one tagged `parameters`, then names a tiny Llama and the server of the tests
(`notebooks/stand_ins.py`). What cells tagged `gpu` print is not kept, for it is a stand-in's. A cell that fails, or a
command in it, ends it all.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import jupytext
import nbformat

HERE = Path(__file__).parent
NAMES = ("quickstart", "rag_vllm", "lora_unsloth", "openai_batch")
PERCENT = {"extension": ".py", "format_name": "percent", "comment_magics": True}
LANGUAGE = {"name": "python"}
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
PLAIN = """\
def _plain(command, shell=get_ipython()):
    import os
    from subprocess import PIPE, STDOUT, run

    from catalog.extras import source

    plain = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "CLICOLOR_FORCE")}
    done = run(shell.var_expand(command), shell=True, env=plain, stdout=PIPE, stderr=STDOUT, text=True)
    print(done.stdout.replace(f"-e '{source()}[", "'shelfmark["), end="")
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {command}")

get_ipython().system = _plain
"""
"""What `!` does here: it lets no command fail in silence, is no terminal, for which bars are drawn, and tells how to
install extras as where there is no clone."""


def source(name: str) -> Any:
    """Return the notebook that the Python file of this name is, without output."""
    notebook = jupytext.reads((HERE / f"{name}.py").read_text(encoding="utf-8"), PERCENT)
    notebook.metadata = {"kernelspec": KERNEL, "language_info": LANGUAGE}
    if any("gpu" in tags(cell) for cell in notebook.cells):
        notebook.metadata["accelerator"] = "GPU"  # Colab then begins with one
    install = (HERE / "install.py").read_text(encoding="utf-8").strip()
    repository, _, rest = install.partition("\n")
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{name.replace('_', '-')}-{number}"  # not at random: the same file each time
        if "install" in tags(cell):
            cell.source = f"{repository}\n{cell.source}\n{rest}".replace("  # noqa: F821 -- the notebook's", "")
    return notebook


def tags(cell: Any) -> list[str]:
    """Return the tags of a cell."""
    return list(cell.metadata.get("tags", []))


def _first(notebook: Any, tag: str) -> int | None:
    return next((number for number, cell in enumerate(notebook.cells) if tag in tags(cell)), None)


def execute(notebook: Any, parameters: dict[str, Any], environment: dict[str, str]) -> None:
    """Run a notebook in an empty folder, with other parameters, and keep what it prints but for cells tagged `gpu`."""
    from nbclient import NotebookClient

    given = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    # What comes before shows what the reader's own parameters give.
    at = _first(notebook, "gpu") or (_first(notebook, "parameters") or 0) + 1
    first, second = nbformat.v4.new_code_cell(PLAIN), nbformat.v4.new_code_cell(given)
    notebook.cells[at:at] = [second]
    notebook.cells.insert(0, first)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    with tempfile.TemporaryDirectory(prefix="notebook-") as folder:
        client = NotebookClient(notebook, timeout=None, resources={"metadata": {"path": folder}})
        client.execute(env={**os.environ, "PATH": path, **environment})
    notebook.cells = [cell for cell in notebook.cells if cell not in (first, second)]
    notebook.metadata["language_info"] = LANGUAGE  # not which Python it was
    count = 0
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            if "gpu" in tags(cell):
                cell.execution_count, cell.outputs = None, []


def main() -> None:
    """Build the notebooks that are named."""
    from notebooks.stand_ins import stand_ins

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help=f"by default all: {', '.join(NAMES)}")
    parser.add_argument("--out", type=Path, default=HERE, help="where they are written")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.names or NAMES:
        notebook = source(name)
        with stand_ins(name) as (parameters, environment):
            execute(notebook, parameters, environment)
        nbformat.write(notebook, given.out / f"{name}.ipynb")
        print(given.out / f"{name}.ipynb", flush=True)


if __name__ == "__main__":
    main()
