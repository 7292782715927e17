"""The README's first commands, word for word, on files of the names that they give."""

import re
import shlex
import shutil
from pathlib import Path

from catalog.product_files import write_products

README = Path(__file__).parents[2] / "README.md"


def commands(heading: str) -> list[list[str]]:
    """Return the `classify` commands in the blocks below a heading, without the comments behind them."""
    section = README.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    text = "\n".join(line[4:] for line in section.splitlines() if line.startswith("    ")).replace("\\\n", " ")
    lines = [shlex.split(line, comments=True) for line in re.findall(r"^classify .*$", text, re.MULTILINE)]
    return [line[1:] for line in lines]


def test_your_own_data(shop, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in shop.folder.glob("t*.*"):
        shutil.copy(file, tmp_path)
    write_products(tmp_path, "dev", [shop.test], shop.schema)
    given = commands("Your own data")
    assert ["submit", "runs/first"] in given
    for line in given:
        small = [{"561838": "300", "184664": "30"}.get(word, word) for word in line]
        if "--taxonomy" in small:
            shutil.copy(tmp_path / "runs" / "first" / "taxonomy.csv", tmp_path)
        done = command(*small)
        assert done.code == 0, (line, done.err)
    assert (tmp_path / "runs" / "first" / "first.zip").is_file()
    assert "0.4823" in (tmp_path / "runs" / "scoreboard.csv").read_text()
