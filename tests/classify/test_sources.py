import numpy as np
import pytest

import rag.vote
from catalog.errors import ShelfmarkError
from classify import fit, load

TREE = {"candidates_from": "neighbours,tree"}


@pytest.fixture(scope="module")
def both(shop, tmp_path_factory):
    """A model with both sources, saved."""
    folder = tmp_path_factory.mktemp("both") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rag.vote, "HELD_OUT_ROWS", 60)
        fit(shop.train, **TREE).save(folder)
    return folder


def test_candidates_are_the_same_after_loading(both, shop) -> None:
    one, other = (load(both).strategy.requests(shop.test) for _ in range(2))
    assert one == other
    assert load(both).strategy.sources.choice is not None
    assert load(both).strategy.options.policy == "brand-free"


def test_each_source_alone_and_both(both, shop) -> None:
    found = {
        names: load(both, candidates_from=names).strategy.sources.find(shop.test).candidates
        for names in ("neighbours", "tree", "neighbours,tree")
    }
    for row in range(len(shop.test)):
        paths = {names: set(candidates[row][0]) for names, candidates in found.items()}
        assert paths["neighbours,tree"] <= paths["neighbours"] | paths["tree"]
        for candidates in found.values():
            assert len(set(candidates[row][0])) == len(candidates[row][0]) == len(candidates[row][1]) <= 20
            assert all(0 <= score <= 1 for score in candidates[row][1])


def test_a_held_out_row_is_not_told_its_own_label(both, shop) -> None:
    strategy = load(both, policy="brand-free").strategy
    held = strategy.held_out_requests(60)
    assert len(held) == 60
    rows = strategy.sources.held_rows()
    for (request, label), row in zip(held, rows.tolist(), strict=True):
        assert label == strategy.index.labels[row]
        assert request.id.startswith(f"held-{row}-")
    new = np.mean([bool(request.candidates) and request.candidates[0] == label for request, label in held])
    seen = strategy.requests(strategy.index.products.take(rows))
    old = np.mean([request.candidates[0] == label for request, (_, label) in zip(seen, held, strict=True)])
    assert new < old


def test_another_top_k_is_tuned_anew(both, shop) -> None:
    strategy = load(both).strategy
    wide = strategy.with_top_k(9)
    assert wide.vote.options.top_k == 9
    assert wide.sources.tree is strategy.sources.tree
    content = wide.requests(shop.test)[0].messages[1]["content"]
    assert content.count("->") == 9


def test_what_the_fit_fixed(both, model) -> None:
    with pytest.raises(ShelfmarkError, match="--policy path: this model was fitted with brand-free"):
        load(both, policy="path")
    with pytest.raises(ShelfmarkError, match="fitted without tree"):
        load(model, **TREE)
    with pytest.raises(ShelfmarkError, match="fitted without tree"):
        load(model, llm_below=0.5)


def test_only_rows_that_tree_doubts_are_held_out(both) -> None:
    strategy = load(both, llm_below=0.2).strategy
    report = strategy.settled_report()
    assert 0 < report["settled"] < 1
    sure = round(report["settled"] * report["held_out_rows"])
    assert len(strategy.held_out_requests(2500)) == report["held_out_rows"] - sure
    assert all(request.messages for request, _ in strategy.held_out_requests(2500))
    asked = strategy.requests(strategy.index.products.take(range(50)))
    assert any(not request.messages for request in asked)
    assert all(len(request.candidates) == 1 for request in asked if not request.messages)
