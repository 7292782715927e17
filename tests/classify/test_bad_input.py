"""What people do wrong with files: one clear line, exit code 2, nothing half-written."""

import gzip
import json
from pathlib import Path

import pytest

from catalog.schema import PRESETS

LEVELS = PRESETS["indoml"].levels


def feature(name: object, **changes: object) -> dict:
    return {"indoml_id": name, "description": f"milk no {name}", "retailer": "tesco", "price": 1.5, **changes}


def label(name: object, **changes: object) -> dict:
    return {"indoml_id": name, **dict(zip(LEVELS, ("food", "dairy", "milk", "own"), strict=True)), **changes}


def without(row: dict, *columns: str) -> dict:
    return {name: value for name, value in row.items() if name not in columns}


def write(path: Path, rows: list) -> Path:
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path):
    """Write train and test files, right unless changed; return the arguments that name them."""

    def make(**changes: list) -> list:
        rows = {
            "train.features": [feature(name) for name in range(5)],
            "train.labels": [label(name) for name in range(5)],
            "test.features": [feature(name) for name in range(90, 93)],
            **{name.replace("_", "."): value for name, value in changes.items()},
        }
        for name, content in rows.items():
            write(tmp_path / name, content)
        files = ["--train", tmp_path / "train.features", "--test", tmp_path / "test.features"]
        return [*files, "--run", tmp_path / "runs" / "x"]

    return make


def nothing_is_left(folder: Path) -> bool:
    return not (folder / "runs").exists() or not list((folder / "runs").iterdir())


F, L, T = (
    [feature(name) for name in range(5)],
    [label(name) for name in range(5)],
    [feature(name) for name in range(90, 93)],
)


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        # Wrong or missing columns.
        ({"train_features": [without(row, "description") for row in F]}, ["train.features, line 1", "'description'"]),
        ({"train_features": [without(row, "indoml_id") for row in F]}, ["train.features, line 1", "'indoml_id'"]),
        ({"train_features": [without(row, "retailer") for row in F]}, ["train.features", "'retailer'"]),
        ({"test_features": [without(row, "price") for row in T]}, ["test.features", "'price'"]),
        ({"test_features": [{**without(row, "description"), "descripton": "x"} for row in T]}, ["mean 'descripton'"]),
        ({"train_labels": [without(row, "brand") for row in L]}, ["train.labels, line 1", "'brand'"]),
        ({"test_features": [*T[:2], without(T[2], "description")]}, ["test.features, line 3", "'description'"]),
        # Unequal features and labels.
        ({"train_labels": L[:4]}, ["train.labels", "no label for the id 4", "5 products, 4 labels"]),
        ({"train_features": F[:4]}, ["train.labels", "the id 4 is not in train.features", "4 products, 5 labels"]),
        ({"train_labels": [*L[:4], label(77)]}, ["no label for the id 4"]),
        # Duplicate and missing ids.
        ({"train_features": [*F, F[0]]}, ["train.features, line 6", "the id 0 occurs twice", "line 1"]),
        ({"train_labels": [*L, L[2]]}, ["train.labels, line 6", "the id 2 occurs twice"]),
        ({"test_features": [*T, T[0]]}, ["test.features, line 4", "the id 90 occurs twice"]),
        ({"test_features": [T[0], feature(None)]}, ["test.features, line 2", "the id is missing"]),
        ({"test_features": [T[0], feature("")]}, ["test.features, line 2", "the id is missing"]),
        ({"train_features": [*F[:4], feature([4])]}, ["train.features, line 5", "not an id"]),
        ({"test_features": [feature(1), feature("1")]}, ["occurs twice"]),
        # JSON that is none.
        ({"test_features": [T[0], '{"indoml_id": 91, "descr']}, ["test.features, line 2", "not JSON"]),
        ({"test_features": [T[0], "[1, 2]"]}, ["test.features, line 2", "not an object"]),
        ({"train_labels": [*L[:4], "x"]}, ["train.labels, line 5", "not JSON"]),
        # Prices.
        ({"test_features": [feature(90, price="NaN")]}, ["test.features, line 1", "'price'", "not a price"]),
        ({"test_features": ['{"indoml_id": 1, "description": "x", "retailer": "", "price": NaN}']}, ["'price'"]),
        ({"test_features": [feature(90, price=-1)]}, ["test.features, line 1", "negative"]),
        ({"test_features": [feature(90, price="cheap")]}, ["test.features, line 1", "not a number"]),
        ({"train_features": [*F[:4], feature(4, price=-0.01)]}, ["train.features, line 5", "negative"]),
        ({"train_features": [*F[:4], feature(4, price=[1])]}, ["train.features, line 5", "'price'"]),
        # Empty files.
        ({"train_features": []}, ["train.features", "no rows"]),
        ({"train_labels": []}, ["train.labels", "no rows"]),
        ({"test_features": []}, ["test.features", "no rows"]),
        ({"test_features": ["", "   ", ""]}, ["test.features", "no rows"]),
        # Labels.
        ({"train_labels": [*L[:4], label(4, brand="a__b")]}, ["train.labels, line 5", "'brand'", "'__'"]),
        ({"train_labels": [*L[:4], label(4, module="")]}, ["train.labels, line 5", "'module'", "empty"]),
        ({"train_labels": [*L[:4], label(4, module=None)]}, ["train.labels, line 5", "'module'", "empty"]),
        ({"train_labels": [*L[:4], label(4, group=["x"])]}, ["train.labels, line 5", "'group'", "not text"]),
        ({"train_labels": [label(0, module="m_", brand="b"), label(1, module="m", brand="_b"), *L[2:]]}, ["'_'"]),
        # Labels of the test file, which are there to measure with.
        ({"test_labels": [label(90), label(91)]}, ["test.labels", "no label for the id 92"]),
        ({"test_labels": [label(name) for name in range(90, 94)]}, ["test.labels", "the id 93 is not in"]),
        # Half a character.
        (
            {"test_features": ['{"indoml_id": 1, "description": "\\ud83d", "retailer": "", "price": 1}']},
            ["line 1", "half"],
        ),
        ({"train_labels": [*L[:4], label(4, brand="\ud83d")]}, ["train.labels, line 5", "half"]),
    ],
)
def test_one_line_and_nothing_written(refused, data, tmp_path, changes: dict, messages: list[str]) -> None:
    line = refused(*data(**changes))
    for message in messages:
        assert message in line
    assert nothing_is_left(tmp_path)


def test_a_line_far_down(refused, data, tmp_path) -> None:
    rows: list = [json.dumps(feature(name)) for name in range(48_210)]
    line = refused(*data(test_features=[*rows, '{"indoml_id": 1, oops}']))
    assert "test.features, line 48211" in line
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize("which", ["train.features", "train.labels", "test.features"])
@pytest.mark.parametrize(
    ("encoding", "message"), [("latin-1", "not UTF-8"), ("utf-16", "UTF-16"), ("cp1252", "not UTF-8")]
)
def test_a_wrong_encoding(refused, data, tmp_path, which: str, encoding: str, message: str) -> None:
    arguments = data()
    file = tmp_path / which
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    column = "brand" if which.endswith("labels") else "description"
    rows[-1][column] = "café"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding=encoding)
    line = refused(*arguments)
    assert message in line
    assert which in line
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "text"])
def test_damaged_gzip(refused, data, tmp_path, damage: str) -> None:
    arguments = data()
    content = gzip.compress((tmp_path / "test.features").read_bytes())
    (tmp_path / "test.features.gz").write_bytes(content[:-9] if damage == "cut" else b"plain text\n")
    line = refused(*[tmp_path / "test.features.gz" if "test.features" in str(one) else one for one in arguments])
    assert "damaged gzip" in line
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PAR1 not parquet at all PAR1", b"a,b\n1,2\n"])
def test_damaged_parquet(refused, data, tmp_path, content: bytes) -> None:
    arguments = data()
    (tmp_path / "test.parquet").write_bytes(content)
    line = refused(*[tmp_path / "test.parquet" if "test.features" in str(one) else one for one in arguments])
    assert "test.parquet" in line
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("indoml_id,description,retailer,price\n1,milk,tesco\n", "line 2: 3 fields where the header has 4"),
        ("indoml_id,description,description,price\n", "two columns are called 'description'"),
        ('indoml_id,description,retailer,price\n1,"milk,tesco,1\n', "not CSV"),
        (
            "indoml_id;description;retailer;price\n1;milk;tesco;1\n",
            "line 1: no column 'indoml_id'; columns here: indoml_id;description;retailer;price; where they have",
        ),
        ("indoml_id,description,retailer,price\n", "no rows"),
        ("", "no rows"),
    ],
)
def test_wrong_csv(refused, data, tmp_path, content: str, message: str) -> None:
    arguments = data()
    (tmp_path / "test.csv").write_text(content)
    line = refused(*[tmp_path / "test.csv" if "test.features" in str(one) else one for one in arguments])
    assert message in line
    assert "test.csv" in line
    assert nothing_is_left(tmp_path)


def test_train_without_labels(refused, data, tmp_path) -> None:
    arguments = data()
    (tmp_path / "train.labels").unlink()
    line = refused(*arguments)
    assert "train.features: no labels beside it; put train.labels into the same folder" in line
    write(tmp_path / "train.jsonl", F)
    assert "no column 'supergroup'" in refused("--train", tmp_path / "train.jsonl", *arguments[2:])
    assert nothing_is_left(tmp_path)


def test_files_that_are_not_there(refused, data, tmp_path) -> None:
    arguments = data()
    assert "no such file" in refused("--train", tmp_path / "trian.features", *arguments[2:])
    (tmp_path / "empty").mkdir()
    assert "a folder without train.features" in refused("--train", tmp_path / "empty", *arguments[2:])
    test = ["--test", tmp_path / "empty", *arguments[4:]]
    assert "a folder without test.features" in refused(*arguments[:2], *test)
    assert "cannot tell its kind" in refused("--train", write(tmp_path / "train.doc", F), *arguments[2:])
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize("name", ["fit", "evaluate", "submit"])
def test_other_commands_write_nothing_either(refused, data, finished: Path, tmp_path, name: str) -> None:
    data(train_labels=L[:4])
    if name == "fit":
        refused("fit", "--train", tmp_path / "train.features", "--out", tmp_path / "out" / "model")
        assert not (tmp_path / "out").exists()
    elif name == "evaluate":
        assert "no prediction for the id 0" in refused("evaluate", finished, tmp_path / "train.labels")
        assert "no such file" in refused("evaluate", tmp_path / "p.jsonl", tmp_path / "train.labels")
        assert "no such file" in refused("evaluate", finished, tmp_path / "x.labels")
    else:
        line = refused("submit", finished, "--test", tmp_path / "test.features", "--board", tmp_path / "board.csv")
        assert "not in" in line
        assert not list(finished.glob("*.zip"))
        assert not (tmp_path / "board.csv").exists()


def test_a_mended_file_is_taken_by_the_same_command(command, refused, data, tmp_path) -> None:
    refused(*data(train_labels=L[:4]))
    assert command(*data()).code == 0


def test_values_that_must_simply_work(command, data, tmp_path, lines) -> None:
    values = [
        "quo\"te's",
        "line\nbreak",
        "tab\t",
        "a/b|c & d, e; f",
        "ünïcödé 牛奶 🥛",
        "\r",
        " edges ",
        "\u2028",
        "nan",
        "0",
    ]
    values += ["_one_", "{{ x }}", "null", "-", "%s", "[/red]", "\x00", "NA"]
    features = [feature(name, description=f"{value} x{name}", retailer=value) for name, value in enumerate(values)]
    labels = [label(name, group=value, brand=value) for name, value in enumerate(values)]
    test = [{**row, "indoml_id": f"id {value}"} for row, value in zip(features, values, strict=True)]
    truth = [{**row, "indoml_id": f"id {value}"} for row, value in zip(labels, values, strict=True)]
    arguments = data(train_features=features, train_labels=labels, test_features=test, test_labels=truth)
    done = command(*arguments, "--top-k", 1)
    assert (done.code, done.err) == (0, "")
    rows = lines(tmp_path / "runs/x/predictions.jsonl")
    assert [row["indoml_id"] for row in rows] == [row["indoml_id"] for row in test]
    assert [row["brand"] for row in rows] == values
    assert {row["status"] for row in rows} == {"exact"}
    scores = command("evaluate", tmp_path / "runs/x", tmp_path / "test.labels", "--train", tmp_path, "--json")
    assert json.loads(scores.out)["item_accuracy"] == json.loads(scores.out)["valid"] == 1
    assert command("evaluate", tmp_path / "runs/x", tmp_path / "test.labels", "--by", "group").code == 0
    assert command("submit", tmp_path / "runs/x").code == 0


def test_missing_prices_retailers_and_texts_simply_work(command, data, tmp_path, lines) -> None:
    changes = [{"price": None}, {"retailer": ""}, {"retailer": None}, {"description": ""}, {"description": None}]
    changes += [
        {"description": "  "},
        {"price": 0},
        {"price": "2.50"},
        {"price": ""},
        {"retailer": 7},
        {"description": 5},
    ]
    features = [feature(name, **change) for name, change in enumerate(changes)]
    labels = [label(name) for name in range(len(changes))]
    done = command(*data(train_features=features, train_labels=labels, test_features=features))
    assert (done.code, done.err) == (0, "")
    assert len(lines(tmp_path / "runs/x/predictions.jsonl")) == len(changes)


def test_no_retailers_and_no_prices_at_all(command, data, tmp_path, lines) -> None:
    features = [feature(name, retailer="", price=None) for name in range(5)]
    assert command(*data(train_features=features, test_features=features)).code == 0
    assert len(lines(tmp_path / "runs/x/predictions.jsonl")) == 5


@pytest.mark.parametrize("text", ["milk " * 20_000, "x" * 100_000, "\U0001f95b" * 5_000, "a\n" * 9_000])
def test_a_runaway_description(command, data, tmp_path, lines, text: str) -> None:
    assert command(*data(test_features=[feature(1, description=text)])).code == 0
    assert len(lines(tmp_path / "runs/x/predictions.jsonl")) == 1


def test_ids_of_every_kind(command, data, tmp_path, lines) -> None:
    names = [0, -5, 10**15, "a-b-c", "007", "x y", "é", 3.0, "-"]
    assert command(*data(test_features=[feature(name) for name in names])).code == 0
    found = [row["indoml_id"] for row in lines(tmp_path / "runs/x/predictions.jsonl")]
    assert found == [0, -5, 10**15, "a-b-c", "007", "x y", "é", 3, "-"]
    assert command("submit", tmp_path / "runs/x").code == 0
