"""Import every module of the installed wheel, and weigh the install. Run with: make wheel."""

import subprocess
import sys
import tempfile
from pathlib import Path

# matplotlib and what it needs are 75 MiB of it.
MOST_BYTES = 700 * 2**20
IMPORT_ALL = """
import importlib, pkgutil, sys, tomllib
from importlib.metadata import distribution
files = [str(file) for file in distribution("shelfmark").files]
modules = sorted(file[:-3].replace("/", ".").removesuffix(".__init__") for file in files if file.endswith(".py"))
assert len(modules) > 20, modules
for name in modules:
    importlib.import_module(name)
assert "torch" not in sys.modules, "the core must not need torch"
for wanted in ("product.jinja", "page.html.jinja", "report.html.jinja", "sample_taxonomy.toml", "py.typed"):
    assert any(file.endswith(wanted) for file in files), f"{wanted} is not in the wheel"
from postprocess import Snapper, Taxonomy
assert Snapper(Taxonomy(("module",), {("cider",): 1})).snap("Ciders").path == ("cider",)
print(len(modules), "modules imported")
"""


def main() -> None:
    venv = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as elsewhere:
        subprocess.run([venv / "bin/python", "-c", IMPORT_ALL], cwd=elsewhere, check=True)
        subprocess.run([venv / "bin/classify", "--version"], cwd=elsewhere, check=True)
    size = sum(file.stat().st_size for file in venv.rglob("*") if file.is_file() and not file.is_symlink())
    print(f"core install: {size / 2**20:,.0f} MiB")
    if size > MOST_BYTES:
        sys.exit(f"the core install is over {MOST_BYTES / 2**20:,.0f} MiB")


main()
