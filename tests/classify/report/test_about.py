"""What a page says of the run itself."""

from catalog.files import content_hash
from classify.report.about import about


def test_what_a_vote_cost(make_run):
    paid, free = make_run("paid", answers=True), make_run("free")
    inputs = {f"predictions {number}": content_hash(run.predictions) for number, run in enumerate((paid, free), 1)}
    runs = [str(run.folder) for run in (paid, free)]
    vote = make_run("vote", strategy="vote", engine="", requests=False, runs=runs, inputs=inputs)
    assert ("cost of the runs voted over", "$1.5000") in about(vote)["Time and money"]
    (paid.folder / "manifest.json").unlink()
    assert not [line for line in about(vote)["Time and money"] if "cost" in line[0] or "money" in line[0]]
    assert ("money", "none: nobody was paid for answers") in about(free)["Time and money"]
