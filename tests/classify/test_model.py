import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from catalog.errors import ShelfmarkError
from catalog.products import Products
from classify import Model, evaluate, fit, load
from classify.model import describe
from classify.run import Run


def frame(products: Products, *, labels: bool = False) -> pd.DataFrame:
    columns: dict = {"indoml_id": products.ids, **products.columns, "retailer": products.retailers}
    columns["price"] = products.prices
    if labels:
        levels = ("supergroup", "group", "module", "brand")
        columns.update(zip(levels, map(list, zip(*products.labels, strict=True)), strict=True))
    return pd.DataFrame(columns)


def test_four_lines(shop) -> None:
    train, test, labels = frame(shop.train, labels=True), frame(shop.test), frame(shop.test, labels=True)

    model = fit(train, strategy="rag")
    predictions = model.predict(test)
    scores = evaluate(predictions, labels)

    assert isinstance(model, Model)
    columns = ["indoml_id", "supergroup", "group", "module", "brand", "confidence", "status"]
    assert list(predictions.columns) == columns
    assert predictions["indoml_id"].tolist() == shop.test.ids
    assert predictions["confidence"].between(0, 1).all()
    assert set(predictions["status"]) <= {"exact", "repaired", "fallback", "abstained", "failed"}
    assert {"item_accuracy", "accuracy", "macro_f1", "hierarchical_f1", "valid", "ece", "rows"} <= scores.keys()
    assert scores["rows"] == len(shop.test)
    assert scores["item_accuracy"] > 0.05
    assert json.loads(json.dumps(scores)) == scores


def test_frames_files_and_the_command_agree(shop, model: Path, finished: Path, lines) -> None:
    written = pd.DataFrame(lines(finished / "predictions.jsonl"))
    loaded = load(model)
    for products in (frame(shop.test), shop.test_file, str(shop.known), shop.known.parent, shop.test):
        pd.testing.assert_frame_equal(loaded.predict(products), written)
    fitted = fit(frame(shop.train, labels=True)).predict(frame(shop.test))
    pd.testing.assert_frame_equal(fitted, written)


def test_a_frame_without_ids_gets_row_numbers(shop, model: Path) -> None:
    found = load(model).predict(frame(shop.test).drop(columns="indoml_id"))
    assert found["indoml_id"].tolist() == list(range(len(shop.test)))


def test_a_frame_s_index_does_not_matter(shop, model: Path) -> None:
    table = frame(shop.test)
    shuffled = table.set_index(pd.Index(range(len(table), 0, -1)))
    pd.testing.assert_frame_equal(load(model).predict(shuffled), load(model).predict(table))


def test_blocks_do_not_matter(shop, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load(model).predict(shop.test)
    monkeypatch.setattr("classify.model.BLOCK_ROWS", 7)
    pd.testing.assert_frame_equal(load(model).predict(shop.test), whole)


def test_one_row_to_train_on_and_one_to_predict(shop) -> None:
    model = fit(shop.train.take([3]))
    found = model.predict(shop.test.take([7]))
    assert tuple(found.loc[0, ["supergroup", "group", "module", "brand"]]) == shop.train.labels[3]
    assert 0 <= found.loc[0, "confidence"] <= 1


def test_one_class(shop) -> None:
    train = shop.train.take(range(40))
    train.labels = [shop.train.labels[0]] * 40
    found = fit(train, top_k=100).predict(shop.test)
    assert len(found[["supergroup", "group", "module", "brand"]].drop_duplicates()) == 1


@pytest.mark.parametrize("policy", ["path", "brand-free"])
def test_every_prediction_is_valid(shop, policy: str) -> None:
    model = fit(shop.train, policy=policy)
    found = model.predict(shop.test)
    scores = evaluate(found, frame(shop.test, labels=True), taxonomy=model.strategy.taxonomy, policy=policy)
    assert scores["valid"] == 1


def test_a_loaded_model_asks_the_same(shop, model: Path, tmp_path) -> None:
    fitted = fit(shop.train)
    fitted.save(tmp_path / "again")
    one, other = load(tmp_path / "again"), load(model)
    expected = fitted.strategy.requests(shop.test)
    assert one.strategy.requests(shop.test) == expected
    assert other.strategy.requests(shop.test) == expected


def test_the_same_data_give_the_same_files(shop, model: Path, tmp_path) -> None:
    fit(shop.train).save(tmp_path / "again")
    names = sorted(file.name for file in model.iterdir())
    assert names == sorted(file.name for file in (tmp_path / "again").iterdir())
    for name in names:
        assert (model / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_other_data_give_another_model(shop, model: Path, tmp_path) -> None:
    train = shop.train.take(range(len(shop.train)))
    train.columns["description"][0] += " more"
    fit(train).save(tmp_path / "other")
    assert describe(tmp_path / "other") != describe(model)


def test_options_are_kept_and_may_be_changed(shop, tmp_path) -> None:
    fit(shop.train, top_k=3, policy="brand-free", filter="retailer", seed=7).save(tmp_path / "m")
    loaded = load(tmp_path / "m")
    assert (loaded.seed, loaded.strategy.options.top_k, loaded.strategy.options.policy) == (7, 3, "brand-free")
    other = load(tmp_path / "m", top_k=9)
    assert (other.strategy.options.top_k, other.strategy.vote.options.top_k) == (9, 9)
    assert other.strategy.neighbours(shop.test.take([9])).shape[0] == 9
    same = fit(shop.train, top_k=9, policy="brand-free", filter="retailer", seed=7)
    pd.testing.assert_frame_equal(other.predict(shop.test), same.predict(shop.test))


def test_neighbours_are_shown(shop, model: Path) -> None:
    near = load(model).strategy.neighbours(shop.test.take([8, 9]))
    assert list(near.columns) == ["indoml_id", "neighbour", "text", "label", "similarity", "found"]
    assert near["indoml_id"].tolist() == [shop.test.ids[8]] * 5 + [shop.test.ids[9]] * 5
    assert near["similarity"].between(0, 1.0001).all()


@pytest.mark.parametrize("filter_by", ["retailer", "prefer", "none", "auto"])
def test_filters(shop, filter_by: str) -> None:
    model = fit(shop.train, filter=filter_by)
    near = model.strategy.neighbours(shop.test)
    places = {str(name): retailer for name, retailer in zip(shop.train.ids, shop.train.retailers, strict=True)}
    asked = dict(zip(shop.test.ids, shop.test.retailers, strict=True))
    own = [places[str(row.neighbour)] == asked[row.indoml_id] != "" for row in near.itertuples()]
    assert [how == "retailer" for how in near["found"]] == (own if filter_by == "retailer" else [False] * len(near))
    if filter_by == "retailer":
        counts = pd.Series(shop.train.retailers).value_counts()
        for name, rows in near.assign(own=own).groupby("indoml_id"):
            assert rows["own"].sum() == min(5, counts.get(asked[name], 0) if asked[name] else 0)


FILES = (
    "encoder.json",
    "model.json",
    "ngram.npz",
    "rows.parquet",
    "sparse_data.npy",
    "sparse_indices.npy",
    "sparse_indptr.npy",
    "sparse_shape.npy",
    "vote.json",
)


def test_no_file_is_a_pickle(model: Path) -> None:
    assert tuple(sorted(file.name for file in model.iterdir())) == FILES
    assert not [file for file in model.iterdir() if file.read_bytes()[:1] == b"\x80"]


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "one byte"])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file(model: Path, tmp_path, name: str, damage: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    file = folder / name
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    elif damage == "one byte":
        place = len(content) * 3 // 4
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    else:
        file.write_bytes({"empty": b"", "cut": content[: len(content) // 2]}[damage])
    if (name, damage) == ("model.json", "one byte"):
        return  # any byte of it may be a hash, a name or a seed
    with pytest.raises(ShelfmarkError) as caught:
        load(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["[]", "{}", '{"format": 1}', '{"format": 99}', "null", "3"])
def test_not_a_model(tmp_path, content: str) -> None:
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(ShelfmarkError, match="another version"):
        load(tmp_path)


def test_no_folder(tmp_path) -> None:
    with pytest.raises(ShelfmarkError, match="not a model; make one with classify fit"):
        load(tmp_path / "none")


def test_a_model_replaces_a_model_and_nothing_else(shop, model: Path, tmp_path) -> None:
    loaded = load(model)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for place in (tmp_path / "mine", tmp_path / "mine" / "thesis.txt"):
        with pytest.raises(ShelfmarkError, match="something else"):
            loaded.save(place)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    loaded.save(tmp_path / "empty")
    loaded.save(tmp_path / "empty")
    pd.testing.assert_frame_equal(load(tmp_path / "empty").predict(shop.test), loaded.predict(shop.test))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "mine"]


def test_a_save_that_fails_leaves_the_old_model(model: Path, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(model)
    loaded.save(tmp_path / "m")
    before = {file.name: file.read_bytes() for file in (tmp_path / "m").iterdir()}

    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loaded.strategy, "save", fail)
    with pytest.raises(OSError, match="No space"):
        loaded.save(tmp_path / "m")
    assert {file.name: file.read_bytes() for file in (tmp_path / "m").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"topk": 3}, r"--topk is not an option of rag \(did you mean '--top-k'\?\)"),
        ({"top_k": -1}, "--top-k -1: "),
        ({"top_k": "many"}, "--top-k many: "),
        ({"filter": "retailr"}, r"--filter retailr: unknown \(did you mean 'retailer'\?\)"),
        ({"policy": "paths"}, r"--policy paths: unknown \(did you mean 'path'\?\); there are: path, brand-free"),
        ({"price_band": 0.5}, "--price-band 0.5: "),
        ({"price_band": float("inf")}, "--price-band inf: "),
        ({"price_band": float("nan")}, "--price-band nan: "),
        ({"encoder": "ngrm"}, "did you mean 'ngram'"),
        ({"strategy": "rga"}, r"--strategy rga: unknown \(did you mean 'rag'\?\)"),
        ({"schema": "indml"}, "did you mean 'indoml'"),
        ({"seed": -1}, "--seed -1"),
    ],
)
def test_wrong_options(shop, options: dict, message: str) -> None:
    with pytest.raises(ShelfmarkError, match=message):
        fit(shop.train, **options)


def test_wrong_options_of_a_model(shop, model: Path) -> None:
    with pytest.raises(ShelfmarkError, match="fitted with ngram"):
        load(model, encoder="mpnet")
    with pytest.raises(ShelfmarkError, match="model of strategy rag"):
        load(model, strategy="tree")
    with pytest.raises(ShelfmarkError, match=r"--engine neighbors: unknown \(did you mean 'neighbours'\?\)"):
        load(model).predict(shop.test, engine="neighbors")


def test_a_train_frame_needs_levels(shop) -> None:
    with pytest.raises(ShelfmarkError, match="no column 'supergroup'"):
        fit(frame(shop.train))


def test_progress_tells_all_rows(shop, model: Path) -> None:
    from contextlib import contextmanager

    told: dict[str, list[int]] = {}

    @contextmanager
    def listen(what: str, total: int):
        told[what] = [total]
        yield told[what].append

    load(model).predict(shop.test, progress=listen)
    fit(shop.train, progress=listen)
    assert {what: (rows[0], sum(rows[1:])) for what, rows in told.items()} == {
        "predict": (len(shop.test), len(shop.test)),
        "index": (len(shop.train), len(shop.train)),
    }


def test_missing_values_in_a_frame(shop, model: Path) -> None:
    table = frame(shop.test).astype({"retailer": object})
    table.loc[0, "retailer"] = None
    table.loc[1, "retailer"] = np.nan
    table.loc[2, "description"] = None
    found = load(model).predict(table)
    assert len(found) == len(table)


def test_a_run_says_what_made_it(finished: Path) -> None:
    manifest = Run.open(finished).manifest
    assert {"command", "python", "platform", "packages", "commit"} <= manifest.keys()
    assert manifest["packages"]["numpy"] == np.__version__
    assert manifest["deterministic"] is True
