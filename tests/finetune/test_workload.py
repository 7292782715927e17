import json

import numpy as np
import pytest

import finetune.workload
from catalog.errors import ShelfmarkError
from catalog.products import join_products
from catalog.schema import PRESETS
from finetune.examples import examples, prompts
from finetune.recipe import Recipe
from finetune.workload import Counter, counter, measure, rows_to_learn
from rag.tokens import estimate_tokens

SCHEMA = PRESETS["indoml"]


def signs(turns) -> int:
    return sum(len(turn["content"]) for turn in turns)


SIGNS = Counter(signs, estimated=False)


def test_rows_are_held_out_before_the_sample(shop) -> None:
    rows, held_out = rows_to_learn(shop.train, Recipe(validation=20), 0)
    assert (len(rows), held_out) == (len(shop.train) - 20, 20)
    assert len(set(rows.tolist())) == len(rows)
    rows, held_out = rows_to_learn(shop.train, Recipe(validation=500), 0)
    assert (len(rows), held_out) == (len(shop.train) - 26, 26)  # a tenth at most
    rows, _ = rows_to_learn(shop.train, Recipe(sample=230), 0)
    assert len(rows) == 230
    assert len(rows_to_learn(shop.train, Recipe(sample=230, whole_set=True), 0)[0]) == len(shop.train) - 26
    with pytest.raises(ShelfmarkError, match="cannot hold a row of each"):
        rows_to_learn(shop.train, Recipe(sample=3), 0)


def test_grouped_rows_are_fewer(shop) -> None:
    twice = join_products([shop.train, shop.train])
    assert len(rows_to_learn(twice, Recipe(grouped=True), 0)[0]) <= len(shop.train)


def test_tokens_are_those_of_the_examples(shop) -> None:
    recipe = Recipe(validation=0, ignore_price=True)
    work = measure(shop.train, shop.test, SCHEMA, recipe, SIGNS)
    counts = [signs([*one.prompt, *one.completion]) for one in examples(shop.train, SCHEMA, recipe.selection)]
    assert work.lengths.counts.tolist() == counts
    assert (work.rows, work.held_out, work.paths) == (len(shop.train), 0, len(set(shop.train.labels)))
    assert (work.longest, work.tokens_a_row) == (max(counts), pytest.approx(np.mean(counts)))
    asked = [signs(turns) for turns in prompts(shop.test, SCHEMA, recipe.selection)]
    assert (work.test_rows, work.prompt_tokens) == (len(shop.test), pytest.approx(np.mean(asked)))
    own = [signs(turns) for turns in prompts(shop.train, SCHEMA, recipe.selection)]
    assert work.answer_tokens == pytest.approx(np.mean(counts) - np.mean(own))
    like_train = measure(shop.train, 1000, SCHEMA, recipe, SIGNS)
    assert (like_train.test_rows, like_train.prompt_tokens) == (1000, pytest.approx(np.mean(own)))
    assert measure(shop.train, None, SCHEMA, recipe, SIGNS).test_rows == 0


def test_of_many_rows_some_are_counted_and_the_longest_are_found(shop, monkeypatch) -> None:
    whole = measure(shop.train, None, SCHEMA, Recipe(), SIGNS)
    monkeypatch.setattr(finetune.workload, "MEASURED", 40)
    monkeypatch.setattr(finetune.workload, "LONGEST", 5)
    some = measure(shop.train, shop.test, SCHEMA, Recipe(), SIGNS)
    assert len(some.lengths.counts) == 40
    assert some.rows == whole.rows
    assert some.tokens_a_row == pytest.approx(whole.tokens_a_row, rel=0.05)
    assert some.longest > 0.97 * whole.longest
    assert some.longest >= some.lengths.counts.max()


def test_an_estimate_is_above_what_a_model_sees(shop) -> None:
    work = measure(shop.train, None, SCHEMA, Recipe(), Counter(estimate_tokens, estimated=True))
    assert work.tokens_a_row == pytest.approx(work.lengths.counts.mean() / 1.75)


def test_too_long_rows_are_refused_as_in_training(shop) -> None:
    work = measure(shop.train, None, SCHEMA, Recipe(max_seq_length=16), SIGNS)
    assert work.too_long == work.rows
    with pytest.raises(ShelfmarkError, match=rf"--max-seq-length 16: {work.rows} of {work.rows} examples are longer"):
        work.check()
    measure(shop.train, None, SCHEMA, Recipe(max_seq_length=1000), SIGNS).check()


def test_which_tokenizer(tmp_path, monkeypatch) -> None:
    assert counter("no/such-base").estimated
    (tmp_path / "config.json").write_text(json.dumps({}))
    assert counter(str(tmp_path)).estimated  # a folder without a tokenizer
    (tmp_path / "tokenizer.json").write_text("{}")
    monkeypatch.setattr(finetune.workload, "find_spec", lambda name: None)
    assert counter(str(tmp_path)).estimated  # nothing here to load it with
    monkeypatch.setattr(finetune.workload, "find_spec", lambda name: object())
    monkeypatch.setattr(finetune.workload, "token_counter", lambda name: {str(tmp_path): signs}[name])
    assert counter(str(tmp_path)) == SIGNS

    def broken(name: str):
        raise ShelfmarkError(f"--tokenizer {name}: cannot be loaded")

    monkeypatch.setattr(finetune.workload, "token_counter", broken)
    with pytest.raises(ShelfmarkError, match=r"--base .*: cannot be loaded"):
        counter(str(tmp_path))
