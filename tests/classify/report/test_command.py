"""classify report, as it is typed; and the page that a run writes at its end."""

import shutil
from pathlib import Path

import pytest

import classify.run
from catalog.errors import ShelfmarkError
from classify.console import show
from classify.report.page import try_report, write_report
from classify.run import Run
from classify.tables import run_table


def test_one_run(command, make_run):
    run = make_run()
    done = command("report", run.folder)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{run.page}: ")
    assert run.page.is_file()


def test_two_runs(command, make_run, tmp_path):
    one, two = make_run("one"), make_run("two")
    assert command("report", one.folder, two.folder).out.startswith(f"{tmp_path / 'runs' / 'comparison.html'}: ")
    done = command("report", one.folder, two.folder, "--out", tmp_path / "page.html")
    assert done.code == 0
    assert (tmp_path / "page.html").is_file()


def test_refused(refused, make_run, tmp_path):
    run = make_run()
    assert "not a run directory" in refused("report", tmp_path)
    assert "name it with .html" in refused("report", run.folder, "--out", run.predictions)
    assert "no such file" in refused("report", run.folder, "--labels", tmp_path / "none.labels")
    assert "named twice" in refused("report", run.folder, run.folder)
    assert "of another test file" in refused("report", run.folder, make_run("other", run_rows(run)).folder)
    manifest = run.folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"finished"', '"started again"'))
    assert f"not finished; classify resume {run.folder}" in refused("report", run.folder)
    assert not run.page.exists()


def run_rows(run: Run) -> list:
    """Return other rows than the run's."""
    from types import SimpleNamespace

    path = ("a", "b", "c", "d")
    return [SimpleNamespace(text="x", predicted=path, truth=path, confidence=0.5, status="exact")]


@pytest.fixture
def drawing(monkeypatch) -> None:
    monkeypatch.setattr(classify.run, "try_report", try_report)


def test_a_run_ends_with_its_page(finished: Path, tmp_path, drawing, contents):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / "report.html").unlink(missing_ok=True)
    before = contents(folder)
    Run.open(folder).execute()
    first = (folder / "report.html").read_text()
    assert "similar product" in first
    assert contents(folder) == before
    # What is asked anew makes another page; what is there is left as it is.
    (folder / "report.html").write_text("mine")
    Run.open(folder).execute()
    assert (folder / "report.html").read_text() == "mine"
    (folder / "predictions.jsonl").unlink()
    Run.open(folder).execute()
    assert (folder / "report.html").read_text() != "mine"


def test_the_closing_table_names_it(make_run, capsys):
    run = make_run()
    (run.folder / "metrics.json").write_text('{"rows": 60, "statuses": {"exact": 60}, "mean_confidence": 0.5}')
    show(run_table(run))
    assert "report.html" not in capsys.readouterr().out
    run.page.write_text("")
    show(run_table(run))
    assert "report.html" in capsys.readouterr().out


def test_what_is_gone_is_made_again_as_told(finished: Path, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / "taxonomy.csv").unlink()
    with pytest.raises(ShelfmarkError, match=r"taxonomy\.csv: it is gone; delete requests\.jsonl, then: classify"):
        write_report(Run.open(folder))
    (folder / "requests.jsonl").unlink()
    Run.open(folder).execute()
    assert write_report(Run.open(folder)).is_file()
