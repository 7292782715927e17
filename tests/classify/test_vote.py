"""Ensembles: weighted, valid, and only over runs of the same products."""

import shutil
from pathlib import Path

import pytest

from catalog.errors import ShelfmarkError
from catalog.schema import PRESETS
from catalog.taxonomy import Taxonomy
from classify.lines import read_lines
from classify.report.page import try_report
from classify.run import Run
from classify.vote import vote, vote_into

LEVELS = PRESETS["indoml"].levels
MILK, CREAM = ("food", "dairy", "milk", "acme"), ("food", "dairy", "cream", "acme")
OAT = ("food", "plant", "oat drink", "zest")
ZEST_MILK = ("food", "dairy", "milk", "zest")
TAXONOMY = Taxonomy(LEVELS, {MILK: 3, CREAM: 2, OAT: 1, ZEST_MILK: 1})


def test_the_surer_run_wins_where_two_part():
    assert vote([(MILK, 0.9), (OAT, 0.4)], TAXONOMY, "path")[0] == MILK
    assert vote([(MILK, 0.3), (OAT, 0.8)], TAXONOMY, "path")[0] == OAT


def test_two_doubtful_runs_outvote_a_surer_one():
    path, confidence = vote([(MILK, 0.5), (MILK, 0.4), (OAT, 0.8)], TAXONOMY, "path")
    assert path == MILK
    assert confidence == pytest.approx(0.9 / 3)


def test_levels_that_agree_count_although_the_paths_part():
    # Milk and cream share two levels, against which oat drink stands alone.
    assert vote([(MILK, 0.5), (CREAM, 0.45), (OAT, 0.6)], TAXONOMY, "path")[0] == MILK


def test_the_brand_is_voted_for_apart_where_the_pair_is_valid():
    ballots = [(MILK, 0.6), (OAT, 0.5), (("food", "dairy", "cream", "zest"), 0.5)]
    assert vote(ballots, TAXONOMY, "path")[0] == ZEST_MILK
    without = Taxonomy(LEVELS, {MILK: 3, CREAM: 2, OAT: 1})
    assert vote(ballots[:2], without, "path")[0] in (MILK, OAT)


def test_abstained_levels_still_vote_but_never_win():
    half = ("food", "dairy", "", "")
    assert vote([(half, 0.9), (OAT, 0.2), (MILK, 0.25)], TAXONOMY, "path")[0] == MILK
    path, confidence = vote([(half, 0.9)], TAXONOMY, "path")
    assert path in TAXONOMY
    assert confidence == 0.0


@pytest.fixture(scope="module")
def runs(shop, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    from classify.job import Job
    from classify.strategies.rag import RagOptions

    folder = tmp_path_factory.mktemp("runs")
    made = []
    for top_k in (3, 7):
        options = RagOptions(top_k=top_k).model_dump()
        job = Job("rag", "neighbours", shop.schema, options, 0, shop.known, (shop.train_file,))
        run = Run.start(folder / f"k{top_k}", job)
        run.execute()
        made.append(run.folder)
    return made


def test_a_vote_is_a_run_with_each_row_once_in_order(runs: list[Path], shop, tmp_path: Path):
    run = vote_into(runs, tmp_path / "vote", "path")
    rows = list(read_lines(run.predictions))
    assert [row["indoml_id"] for row in rows] == shop.test.ids
    assert all(tuple(row[level] for level in LEVELS) in run.taxonomy() for row in rows)
    assert run.finished
    again = vote_into(runs, tmp_path / "again", "path")
    assert again.predictions.read_bytes() == run.predictions.read_bytes()


def test_a_vote_of_a_run_with_itself_is_that_run(runs: list[Path], tmp_path: Path):
    run = vote_into([runs[0], runs[0]], tmp_path / "vote", "path")
    voted, own = list(read_lines(run.predictions)), list(read_lines(runs[0] / "predictions.jsonl"))
    assert [[row[level] for level in LEVELS] for row in voted] == [[row[level] for level in LEVELS] for row in own]


def test_what_cannot_vote_is_refused_and_nothing_is_written(runs: list[Path], tmp_path: Path):
    out = tmp_path / "vote"
    with pytest.raises(ShelfmarkError, match="two runs at least"):
        vote_into(runs[:1], out, "path")
    unfinished = tmp_path / "unfinished"
    shutil.copytree(runs[1], unfinished)
    (unfinished / "predictions.jsonl").unlink()
    with pytest.raises(ShelfmarkError, match="no predictions yet"):
        vote_into([runs[0], unfinished], out, "path")
    other = tmp_path / "other"
    shutil.copytree(runs[1], other)
    lines = (other / "predictions.jsonl").read_text().splitlines(keepends=True)
    (other / "predictions.jsonl").write_text("".join([*lines[1:], lines[0]]))
    with pytest.raises(ShelfmarkError, match="not over the same products"):
        vote_into([runs[0], other], out, "path")
    assert not out.exists()
    out.mkdir()
    with pytest.raises(ShelfmarkError, match="exists"):
        vote_into(runs, out, "path")


def test_a_vote_that_was_killed_before_its_page_is_finished_by_resume(
    runs: list[Path], tmp_path: Path, command, monkeypatch: pytest.MonkeyPatch
):
    vote_into(runs, tmp_path / "vote", "brand-free")  # tests have no page made
    before = {file.name: file.read_bytes() for file in (tmp_path / "vote").iterdir() if file.is_file()}
    monkeypatch.setattr("classify.run.try_report", try_report)
    assert command("resume", tmp_path / "vote").code == 0
    assert (tmp_path / "vote" / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert {name: (tmp_path / "vote" / name).read_bytes() for name in before} == before
