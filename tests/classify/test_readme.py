"""The first commands of the README and of some pages, word for word, on files of the names that they give."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from catalog.product_files import write_products

ROOT = Path(__file__).parents[2]
SMALLER = {"561838": "300", "184664": "30", "20000": "300", "2000": "30"}


def commands(text: str) -> list[list[str]]:
    """Return the `classify` commands in the indented blocks of a text, without the comments behind them."""
    code = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    ")).replace("\\\n", " ")
    return [shlex.split(line, comments=True)[1:] for line in re.findall(r"^classify .*$", code, re.MULTILINE)]


def section(page: str, heading: str) -> str:
    text = (ROOT / page).read_text(encoding="utf-8")
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0] if heading else text


@pytest.fixture
def follow(shop, command, tmp_path, monkeypatch):
    """Give the commands one by one in a folder with the files that they name; sizes are made smaller."""
    monkeypatch.chdir(tmp_path)
    for file in shop.folder.glob("t*.*"):
        shutil.copy(file, tmp_path)
    write_products(tmp_path, "dev", [shop.test], shop.schema)

    def run(given: list[list[str]]) -> Path:
        assert given
        for line in given:
            if "--taxonomy" in line:
                shutil.copy(next(tmp_path.glob("*/**/taxonomy.csv")), tmp_path)
            done = command(*[SMALLER.get(word, word) for word in line])
            assert done.code == 0, (line, done.err)
        return tmp_path

    return run


def test_your_own_data(follow):
    given = commands(section("README.md", "Your own data"))
    assert ["submit", "runs/first"] in given
    folder = follow(given)
    assert (folder / "runs" / "first" / "first.zip").is_file()
    assert "0.4823" in (folder / "runs" / "scoreboard.csv").read_text()


@pytest.mark.extras  # for their time alone
@pytest.mark.parametrize(
    ("page", "heading"), [("docs/tree.md", ""), ("docs/choosing.md", ""), ("docs/data.md", "Data to try things with")]
)
def test_pages(follow, page: str, heading: str):
    follow(commands(section(page, heading)))
