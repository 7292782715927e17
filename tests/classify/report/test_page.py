"""The page: what stands on it, for every kind of run, and that nothing of a product's is taken for the page's own."""

import json
import re

import pytest

from catalog.errors import ShelfmarkError
from catalog.schema import PRESETS, Schema
from classify.report.page import try_report, write_comparison, write_report
from classify.run import Run
from pages.template import printable
from tests.classify.report.reading import checked


def test_with_labels(make_run):
    run = make_run(answers=True)
    page = checked(write_report(run))
    titles = ("Accuracy by level", "What a confidence is worth", "The worst confusions", "Telling mistakes", "By price")
    for part in (*titles, "By retailer", "By class frequency", "Hierarchical F1", "Calibration error", "abstained"):
        assert part in page.text
    assert len(page.labels) == 6
    assert all("%" in label for label in page.labels)
    # The product's text is text, to the letter.
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "The model said: <i>" in page.text
    # What made it, and no password of it.
    assert "classify --train 'some where' --base-url http://localhost/v1" in page.text
    assert "password" not in run.page.read_text()
    for part in ("$1.5000", "predictions 1.5 s", "shelfmark 0.1.0", "/somewhere/train", "2026-01-02 03:04:05 UTC"):
        assert part in page.text
    assert run.page.read_bytes() == write_report(Run.open(run.folder)).read_bytes()


def test_headline_figures_are_those_of_the_labels(make_run, row):
    good, bad = ("a", "b", "c", "d"), ("a", "b", "c", "e")
    run = make_run(rows=[row("x", good, good)] * 3 + [row("y", bad, good)])
    page = checked(write_report(run))
    assert "Item accuracy 75.0% all levels right; 95% interval 30.1–95.4%" in page.text
    assert "✗ wrong: e" in page.text


def test_without_labels(make_run):
    run = make_run(labels=False)
    page = checked(write_report(run))
    for part in (
        "No labels are known",
        "Confidence by level",
        "Labels here and in training",
        "Most sure",
        "Least sure",
    ):
        assert part in page.text
    assert "Rows that no neighbour resembles" in page.text
    assert "At least: the sum over the candidates" in page.text
    assert "Telling mistakes" not in page.text
    assert len(page.labels) == 3


def test_labels_may_be_given(make_run, tmp_path):
    run, known = make_run(labels=False), make_run("known")
    labels = known.folder / "inputs" / "test.labels"
    assert "Telling mistakes" in checked(write_report(run, labels, tmp_path / "page.html")).text
    assert not run.page.exists()
    rows = labels.read_text().split("\n")
    (tmp_path / "some.labels").write_text("\n".join(rows[:20]) + "\n")
    with pytest.raises(ShelfmarkError, match=r"some\.labels: no label for the id 120 of .*one; give one for each row"):
        write_report(run, tmp_path / "some.labels")
    (tmp_path / "more.labels").write_text("\n".join([*rows[:-1], rows[0].replace("100", "999")]) + "\n")
    with pytest.raises(ShelfmarkError, match="the id 999 is not in"):
        write_report(run, tmp_path / "more.labels")


def test_a_part_of_the_rows(make_run):
    run = make_run(limit=60)
    (run.folder / "inputs" / "test.features").open("a").write('{"indoml_id": 7, "description": "more"}\n')
    (run.folder / "inputs" / "test.labels").open("a").write(
        '{"indoml_id": 7, "supergroup": "a", "group": "b", "module": "c", "brand": "d"}\n'
    )
    assert "The first 60 rows alone" in checked(write_report(run)).text


@pytest.mark.parametrize("labels", [True, False])
def test_a_strategy_without_requests(make_run, labels: bool):
    tree = {"strategy": "tree", "engine": "", "requests": False, "labels": labels}
    page = checked(write_report(make_run(level_confidence=True, **tree)))
    assert "similar product" not in page.text
    assert "Rows that no neighbour resembles" not in page.text
    assert "At least" not in page.text


def test_the_other_paths_of_a_tree(make_run, row):
    rows = [row("x", ("a", "b", "c", "e"), ("a", "b", "c", "d"))]
    page = checked(write_report(make_run(rows=rows, strategy="tree", engine="", requests=False, top=True)))
    assert "1 other label path for x What else it may be, most probable first" in page.text
    assert "a › b › c › d 4.0%" in page.text


def test_an_ensemble(make_run):
    run = make_run(strategy="vote", engine="", requests=False, labels=False, runs=["runs/a", "runs/b"])
    manifest = json.loads((run.folder / "manifest.json").read_text())
    for name in ("seed", "train", "model", "engine_options", "gpu_price", "max_cost", "started"):
        del manifest[name]
    (run.folder / "manifest.json").write_text(json.dumps(manifest))
    page = checked(write_report(Run.open(run.folder)))
    assert "one confidence for the whole path" in page.text
    assert "runs/b" in page.text


@pytest.mark.parametrize(
    "schema", [PRESETS["esci"], PRESETS["relevance"], Schema("own", "sku", ("a", "b"), ("only <level>",))]
)
@pytest.mark.parametrize("labels", [True, False])
def test_other_schemas(make_run, schema: Schema, labels: bool, row):
    rows = [
        row(f"text {at}", (f"v{at % 3}",) * len(schema.levels), (f"v{at % 2}",) * len(schema.levels)) for at in range(9)
    ]
    page = checked(write_report(make_run(rows=rows, schema=schema, labels=labels)))
    assert "By retailer" not in page.text
    assert "By price" not in page.text


def test_one_row_and_nothing_wrong(make_run, row):
    path = ("a", "b", "c", "d")
    page = checked(write_report(make_run(rows=[row("x", path, path)])))
    assert "There are none: every answered row is right." in page.text


def test_nothing_is_answered(make_run, row):
    page = checked(write_report(make_run(rows=[row("x", ("", "", "", ""), ("a", "b", "c", "d"), 0.1, "abstained")])))
    assert "What a confidence is worth" not in page.text


def test_the_size_is_bounded(make_run, shelf_rows):
    sizes = []
    for count in (400, 4000):
        sizes.append(write_report(make_run(f"of {count}", shelf_rows(count), labels=count > 400)).stat().st_size)
        sizes.append(write_report(make_run(f"with {count}", shelf_rows(count))).stat().st_size)
    assert max(sizes) < 600_000


def test_an_unfinished_run(make_run):
    run = make_run()
    del run.manifest["finished"]
    with pytest.raises(ShelfmarkError, match=r"one: not finished; classify resume .*one$"):
        write_report(run)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "predictions.jsonl",
            lambda text: text.replace('"brand"', '"brandy"', 1),
            r"predictions\.jsonl, line 1: damaged",
        ),
        ("predictions.jsonl", lambda text: text.replace("exact", "exakt", 1), r"predictions\.jsonl, line \d+: damaged"),
        ("predictions.jsonl", lambda text: text.partition("\n")[2], "not the rows of test.features"),
        ("predictions.jsonl", lambda text: text[1:], r"predictions\.jsonl, line 1: damaged"),
        ("requests.jsonl", lambda text: text.partition("\n")[2], r"requests\.jsonl: damaged"),
        ("requests.jsonl", lambda text: text.replace("candidates", "candidate"), r"requests\.jsonl: damaged"),
        ("taxonomy.csv", lambda text: text.replace("brand", "brandy", 1), r"taxonomy\.csv"),
    ],
)
@pytest.mark.parametrize("labels", [True, False])
def test_a_damaged_file_is_one_line(make_run, name: str, change, message: str, labels: bool):
    run = make_run(labels=labels)
    file = run.folder / name
    file.write_text(change(file.read_text()))
    with pytest.raises(ShelfmarkError, match=message):
        write_report(run)
    assert not run.page.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("predictions.jsonl", "it is gone; classify resume .*one$"),
        ("taxonomy.csv", r"it is gone; delete predictions\.jsonl, then: classify resume .*one$"),
        ("inputs/test.features", r"it is gone; copy test\.features of the test file there, then: classify resume"),
    ],
)
def test_a_file_that_is_gone_is_one_line(make_run, name: str, message: str):
    run, other = make_run(), make_run("other")
    (run.folder / name).unlink()
    for write in (lambda: write_report(run), lambda: write_comparison([other, run])):
        with pytest.raises(ShelfmarkError, match=f"{name}: {message}"):
            write()
    del other.manifest["packages"]
    with pytest.raises(ShelfmarkError, match=r"manifest\.json: damaged, it has no 'packages'"):
        write_report(other)


def test_control_characters(make_run, row):
    bad = "nul \0 bell \a escape \x1b[31m half \ud800"
    paths = ("a", "b", bad.replace("\ud800", ""), "d"), ("a", "b", "c", "d")
    page = write_report(make_run(rows=[row(bad.replace("\ud800", ""), *paths)] * 3)).read_text()
    assert not re.search("[\x00-\x08\x0b-\x1f]", page)
    assert "bell \N{REPLACEMENT CHARACTER} escape" in page
    assert "\ud800" not in printable(bad)


def test_a_run_outlives_its_page(make_run, capsys, monkeypatch):
    run = make_run()
    (run.folder / "requests.jsonl").write_text("")
    try_report(run)
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setattr("classify.report.page.write_report", lambda run: 1 / 0)
    try_report(run)
    err = capsys.readouterr().err
    assert "report.html was not written (division by zero); classify report" in err


def test_rows_left_open_count_neither_as_wrong_paths_nor_for_confidence(make_run, row):
    good, none = ("a", "b", "c", "d"), ("", "", "", "")
    page = checked(write_report(make_run(rows=[row("x", good, good, 0.8), row("y", none, good, 0.1, "abstained")])))
    assert "Valid paths" not in page.text
    assert "Mean confidence 80.0% of the answered rows" in page.text
    assert "95% 50.0% 80.0%" in page.text  # half of all rows can be had at that accuracy
