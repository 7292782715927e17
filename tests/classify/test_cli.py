import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from catalog.extras import install_command
from catalog.products import read_products
from catalog.schema import PRESETS
from classify import evaluate, fit
from classify.commands import jobs
from submissions.archive import validate_archive
from submissions.scoreboard import read_scoreboard
from tests.classify.terminal import on_a_terminal

CORE = ("numpy", "pandas", "faiss", "scipy", "sklearn", "pyarrow", "pydantic", "rapidfuzz", "jinja2", "openai")
SETTINGS = {**os.environ, "OMP_NUM_THREADS": "1"}


def process(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command as a process of its own."""
    command = [sys.executable, "-m", "classify.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=SETTINGS)


def test_the_whole_job_as_a_person_does_it(shop, tmp_path) -> None:
    run = tmp_path / "runs" / "first"
    done = process("--strategy", "rag", "--train", shop.train_file, "--test", shop.known, "--run", run)
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("rag, neighbours", "exact", "mean confidence", "item accuracy", f"classify submit {run}"):
        assert word in done.stdout
    submitted = process("submit", run)
    assert (submitted.returncode, submitted.stderr) == (0, "")
    assert f"{run}/first.zip: {len(shop.test)} rows" in submitted.stdout
    assert validate_archive(run / "first.zip", shop.test_file, shop.schema, "first").rows == len(shop.test)
    assert "first.zip" in (tmp_path / "runs" / "scoreboard.csv").read_text()


def test_a_model_from_fit_gives_what_train_gives(command, shop, finished: Path, tmp_path, contents) -> None:
    fitted = command("fit", "--strategy", "rag", "--train", shop.folder, "--out", tmp_path / "model")
    assert (fitted.code, fitted.err) == (0, "")
    assert "label paths; use it with classify --model" in fitted.out
    done = command("--model", tmp_path / "model", "--test", shop.known, "--run", tmp_path / "run")
    assert (done.code, done.err) == (0, "")
    assert contents(tmp_path / "run") == contents(finished)
    again = command("--model", tmp_path / "model", "--test", shop.known, "--run", tmp_path / "run")
    assert again.code == 0
    assert again.out == done.out


def test_python_and_the_command_agree(command, shop, tmp_path, lines) -> None:
    options = {"top_k": 7, "filter": "retailer", "price_band": 3.0, "policy": "brand-free"}
    flags = ["--top-k", 7, "--filter", "retailer", "--price-band", 3.0, "--policy", "brand-free", "--seed", 5]
    command("--train", shop.train_file, "--test", shop.test_file, "--run", tmp_path / "run", *flags)
    predictions = fit(shop.train_file, seed=5, **options).predict(shop.test_file)
    pd.testing.assert_frame_equal(predictions, pd.DataFrame(lines(tmp_path / "run" / "predictions.jsonl")))


def test_until_then_resume(command, shop, model: Path, finished: Path, tmp_path, contents) -> None:
    run = tmp_path / "run"
    done = command("--model", model, "--test", shop.known, "--run", run, "--until", "requests")
    assert done.code == 0
    assert f"classify resume {run}" in done.out
    assert not (run / "completions.jsonl").exists()
    assert command("resume", run, "--until", "completions").code == 0
    assert not (run / "predictions.jsonl").exists()
    assert command("resume", run, "--engine", "neighbours").code == 0
    assert contents(run) == contents(finished)


def test_limit(command, shop, model: Path, tmp_path, lines) -> None:
    done = command("--model", model, "--test", shop.known, "--run", tmp_path / "run", "--limit", 3)
    assert done.code == 0
    assert [row["indoml_id"] for row in lines(tmp_path / "run" / "predictions.jsonl")] == shop.test.ids[:3]


def test_a_run_has_a_name_when_none_is_given(command, shop, model: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("--model", model, "--test", shop.test_file).code == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("rag-2")
    assert jobs._new_folder(run.name) == Path("runs") / f"{run.name}-2"  # another one within the same second


def test_evaluate_json(command, shop, finished: Path, lines) -> None:
    done = command("evaluate", finished, shop.known, "--train", shop.train_file, "--json")
    assert (done.code, done.err) == (0, "")
    assert done.out.count("\n") == 1
    values = json.loads(done.out)
    wanted = {"item_accuracy", "accuracy", "macro_f1", "hierarchical_f1", "valid", "ece", "rows"}
    assert wanted <= values.keys()
    assert (values["rows"], values["valid"]) == (len(shop.test), 1.0)
    truth = pd.DataFrame(lines(shop.known.with_name("test.labels")))
    predictions = pd.DataFrame(lines(finished / "predictions.jsonl"))
    frames = evaluate(predictions, truth)
    assert {name: values[name] for name in wanted - {"valid"}} == {name: frames[name] for name in wanted - {"valid"}}


def test_evaluate_takes_every_form_of_the_same_predictions(command, shop, finished: Path, tmp_path) -> None:
    command("submit", finished, "--name", "x", "--board", tmp_path / "board.csv")
    with zipfile.ZipFile(finished / "x.zip") as archive:
        (tmp_path / "x.predict").write_bytes(archive.read("x.predict"))
    (finished / "x.zip").unlink()
    taxonomy = finished / "taxonomy.csv"
    found = [
        json.loads(command("evaluate", form, labels, "--taxonomy", taxonomy, "--json").out)["item_accuracy"]
        for form in (finished, finished / "predictions.jsonl", tmp_path / "x.predict")
        for labels in (shop.known, shop.known.parent, shop.known.with_name("test.labels"))
    ]
    assert len(set(found)) == 1


def test_evaluate_by(command, shop, finished: Path) -> None:
    done = command("evaluate", finished, shop.known, "--by", "retailer", "--json")
    parts = json.loads(done.out)["by"]
    assert sum(part["rows"] for part in parts.values()) == len(shop.test)
    assert parts["(none)"]["rows"] == shop.test.retailers.count("")
    table = command("evaluate", finished, shop.known, "--by", "retailer")
    assert table.code == 0
    assert all(name in table.out for name in [*parts, "item accuracy", "all"])


def test_evaluate_knows_what_is_valid_in_a_run(command, shop, finished: Path) -> None:
    table = command("evaluate", finished, shop.known)
    assert "100.00%" in table.out
    done = command("evaluate", finished, shop.known, "--by", "retailer", "--json")
    assert {part["valid"] for part in json.loads(done.out)["by"].values()} == {1.0}
    alone = command("evaluate", finished / "predictions.jsonl", shop.known, "--json")
    assert json.loads(alone.out)["valid"] is None


def test_evaluate_as_a_table(command, shop, finished: Path) -> None:
    done = command("evaluate", finished, shop.known)
    for word in ("90 rows", "item accuracy", "supergroup", "hierarchical F1", "macro F1", "calibration error"):
        assert word in done.out


@pytest.mark.parametrize("name", ["[/b]", "[red]x[/red]", "a [b", "[/]"])
def test_square_brackets_are_not_markup(command, shop, model: Path, finished: Path, tmp_path, lines, name: str) -> None:
    rows = [{**row, "place": name} for row in lines(finished / "predictions.jsonl")]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = command("evaluate", tmp_path / "p.jsonl", shop.known, "--by", "place")
    assert (done.code, done.err) == (0, "")
    assert name in done.out
    run = tmp_path / name.replace("/", "")
    made = command("--model", model, "--test", shop.known, "--run", run)
    assert made.code == 0
    assert run.name in made.out


def test_submit_and_the_scoreboard(command, refused, shop, model: Path, tmp_path) -> None:
    runs = tmp_path / "runs"
    for name, top_k in (("one", 3), ("two", 5)):
        options = ["--run", runs / name, "--top-k", top_k]
        assert command("--model", model, "--test", shop.test_file, *options).code == 0
    assert command("submit", runs / "one").code == 0
    assert command("submit", runs / "two", "--name", "my.two-2", "--test", shop.test_file).code == 0
    board = ["--board", runs / "scoreboard.csv"]
    assert command("submit", "--score", 0.41, "--of", "one", *board).code == 0
    done = command("submit", "--score", 0.53, "--of", "my.two-2.zip", *board)
    assert done.code == 0
    starred = [line for line in done.out.splitlines() if "*" in line]
    assert len(starred) == 1
    assert "my.two-2.zip" in starred[0]
    rows = read_scoreboard(runs / "scoreboard.csv")
    assert [(row.number, row.score, row.file_name, row.status) for row in rows] == [
        (1, 0.41, "one.zip", "scored"),
        (2, 0.53, "my.two-2.zip", "scored"),
    ]
    assert [row.size_bytes for row in rows] == [
        (runs / "one/one.zip").stat().st_size,
        (runs / "two/my.two-2.zip").stat().st_size,
    ]
    assert command("submit", *board).out.count("zip") == 2  # shows the board alone
    assert "did you mean 'one'" in refused("submit", "--score", 0.2, "--of", "onne", *board)
    assert "go together" in refused("submit", "--score", 0.2)
    assert "not both" in refused("submit", runs / "one", "--score", 0.2, "--of", "one")
    for wrong in ("1.5", "-3", "nan"):
        told = refused("submit", f"--score={wrong}", "--of", "one", *board)
        assert f"--score {wrong}: a score is between 0 and 1" in told
    assert "one.zip: 0.41 is replaced by 0.42" in command("submit", "--score", 0.42, "--of", "one", *board).out


def test_the_same_run_gives_the_same_zip(command, finished: Path, shop, model: Path, tmp_path) -> None:
    command("--model", model, "--test", shop.known, "--run", tmp_path / "a" / "x")
    command("--model", model, "--test", shop.known, "--run", tmp_path / "b" / "x")
    for place in "ab":
        assert command("submit", tmp_path / place / "x").code == 0
    assert (tmp_path / "a/x/x.zip").read_bytes() == (tmp_path / "b/x/x.zip").read_bytes()


def test_submit_refuses_what_does_not_match(command, refused, shop, model: Path, tmp_path, monkeypatch) -> None:
    run = tmp_path / "run"
    command("--model", model, "--test", shop.test_file, "--run", run, "--limit", 5)
    assert "85 ids" in refused("submit", run)
    assert not list(run.glob("*.zip"))
    assert not (tmp_path / "scoreboard.csv").exists()
    command("--model", model, "--test", shop.test_file, "--run", tmp_path / "early", "--until", "requests")
    assert "no predictions yet" in refused("submit", tmp_path / "early")
    assert f"classify resume {tmp_path / 'early'}" in refused("evaluate", tmp_path / "early", shop.known)
    assert "not a run directory" in refused("submit", tmp_path / "none")
    assert "cannot be used" in refused("submit", run, "--name", "a b/c")


def test_sample(command, tmp_path) -> None:
    done = command("sample", "--rows", 50, "--test-rows", 20, "--out", tmp_path / "s")
    assert (done.code, done.err) == (0, "")
    assert "50 labelled products and 20 to predict" in done.out
    assert len(read_products(tmp_path / "s", PRESETS["indoml"], labels=True)) == 50
    run = command("--train", tmp_path / "s", "--test", tmp_path / "s", "--run", tmp_path / "run")
    assert run.code == 0
    real = command(
        "sample", "--rows", 9, "--test-rows", 9, "--out", tmp_path / "t", "--taxonomy", tmp_path / "s/taxonomy.csv"
    )
    assert real.code == 0


def test_other_schemas(command, tmp_path) -> None:
    (tmp_path / "mine.toml").write_text('id = "sku"\ntext = ["title", "colour"]\nlevels = ["kind", "maker"]\n')
    rows = ["sku,title,colour,kind,maker"]
    rows += [f"s{n},{kind} no {n % 3},red,{kind},acme" for n in range(12) for kind in ("lamp",)]
    rows += [f"t{n},{kind} no {n % 3},,{kind},zeta" for n in range(12) for kind in ("chair",)]
    (tmp_path / "train.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "test.csv").write_text("sku,title,colour\nx1,lamp no 9,red\nx2,a chair,\n")
    files = ["--train", tmp_path / "train.csv", "--test", tmp_path / "test.csv", "--schema", tmp_path / "mine.toml"]
    assert command(*files, "--run", tmp_path / "run").code == 0
    found = [json.loads(line) for line in (tmp_path / "run/predictions.jsonl").read_text().splitlines()]
    assert [(row["sku"], row["kind"], row["maker"]) for row in found] == [
        ("x1", "lamp", "acme"),
        ("x2", "chair", "zeta"),
    ]
    assert command("submit", tmp_path / "run").code == 0


def test_tables_of_every_kind(command, shop, finished: Path, tmp_path, contents) -> None:
    levels = list(zip(*shop.train.labels, strict=True))
    train = pd.DataFrame({"indoml_id": shop.train.ids, **shop.train.columns, "retailer": shop.train.retailers})
    train["price"] = shop.train.prices
    for level, cells in zip(shop.schema.levels, levels, strict=True):
        train[level] = list(cells)
    train.to_csv(tmp_path / "train.csv", index=False)
    train.to_csv(tmp_path / "train.csv.gz", index=False)
    train.to_json(tmp_path / "train.jsonl", orient="records", lines=True)
    train.to_parquet(tmp_path / "train.parquet")
    for name in ("train.csv", "train.csv.gz", "train.jsonl", "train.parquet"):
        run = tmp_path / name.replace(".", "-")
        assert command("--train", tmp_path / name, "--test", shop.known, "--run", run).code == 0
        assert contents(run) == contents(finished), name


# Help, versions and wrong use.


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['classify', '--help']\n"
        "from classify.cli import main\n"
        "try: main()\n"
        "except SystemExit as ended: print(ended.code)\n"
        f"print([name for name in {CORE!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-2:] == ["0", "[]"]
    assert "Usage: classify" in done.stdout


@pytest.mark.parametrize("name", ["", "fit", "resume", "evaluate", "submit", "sample"])
def test_help_of_every_command(command, name: str) -> None:
    done = command(*([name] if name else []), "--help")
    assert done.code == 0
    assert "Usage: classify" in done.out


def test_version(command) -> None:
    from importlib.metadata import version

    assert command("--version").out == f"shelfmark {version('shelfmark')}\n"


def test_no_arguments_show_the_first_steps(command, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    done = command()
    assert (done.code, done.err) == (0, "")
    assert "classify sample" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strategy", "rga"], r"--strategy rga: unknown (did you mean 'rag'?)"),
        (["--engine", "neighbors"], "--engine neighbors: unknown (did you mean 'neighbours'?)"),
        (["--encoder", "ngrm"], "--encoder ngrm: unknown (did you mean 'ngram'?)"),
        (["--encoder", "mpnt"], "did you mean 'mpnet'"),
        (["--policy", "brandfree"], "--policy brandfree: unknown (did you mean 'brand-free'?)"),
        (["--filter", "retailr"], "--filter retailr: unknown (did you mean 'retailer'?)"),
        (["--until", "prediction"], "--until prediction: no such stage (did you mean 'predictions'?)"),
        (["--schema", "indoml2"], "did you mean 'indoml'"),
        (["--top-k", "-1"], "--top-k -1"),
        (["--top-k", "1,x"], "--top-k 1,x"),
        (["--candidates-from", "tree,neighbors"], "did you mean 'neighbours'"),
        (["--llm", "x"], "--llm is not an option of neighbours"),
        (["--engine", "server", "--constrain", "choose"], "did you mean 'choice'"),
        (["--preset", "rag-llama"], "did you mean 'rag-llama31'"),
        (["--prompt", "none.jinja"], "none.jinja: cannot be read"),
        (["--top-k", "five"], "--top-k"),
        (["--price-band", "1"], "--price-band 1"),
        (["--price-band", "inf"], "--price-band inf"),
        (["--seed", "-1"], "seed"),
        (["--limit", "0"], "limit"),
        (["--topk", "3"], "--top-k"),
        (["--tset", "x"], "--test"),
    ],
)
def test_wrong_options(refused, shop, tmp_path, arguments: list[str], message: str) -> None:
    files = ["--train", shop.train_file, "--test", shop.test_file, "--run", tmp_path / "runs" / "x"]
    assert message in refused(*files, *arguments)
    assert not (tmp_path / "runs").exists()


def test_wrong_options_of_other_commands(refused, shop, finished: Path, tmp_path) -> None:
    assert "did you mean 'path'" in refused("evaluate", finished, shop.known, "--policy", "pth")
    assert "one of --train and --taxonomy" in refused(
        "evaluate", finished, shop.known, "--train", shop.train_file, "--taxonomy", finished / "taxonomy.csv"
    )
    assert "--by retaler" in refused("evaluate", finished, shop.known, "--by", "retaler")
    assert "'evalute'" in refused("evalute", finished, shop.known)
    assert "TRAIN" in refused("--test", shop.test_file).upper()
    assert "one of" in refused("--test", shop.test_file, "--train", shop.train_file, "--model", tmp_path)
    assert "not a model" in refused("--test", shop.test_file, "--model", tmp_path)
    assert "not a run directory" in refused("resume", tmp_path)
    assert "Missing" in refused("resume")
    assert "Missing option '--out'" in refused("fit", "--train", shop.train_file)


def test_fit_looks_at_its_place_first(refused, shop, tmp_path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert "something else" in refused("fit", "--train", "nothing.csv", "--out", tmp_path)
    assert "something else" in refused("fit", "--train", "nothing.csv", "--out", tmp_path / "thesis.txt")


def test_a_missing_extra_says_how_to_install_it(refused, shop, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    files = ["--train", shop.train_file, "--test", shop.test_file, "--run", tmp_path / "run"]
    assert install_command("embed") in refused(*files, "--encoder", "mpnet")
    assert not (tmp_path / "run").exists()
    assert install_command("embed") in refused(
        "fit", "--train", shop.train_file, "--out", tmp_path / "m", "--encoder", "hybrid:mpnet"
    )
    assert not (tmp_path / "m").exists()


# What goes wrong outside.


def test_windows_is_told_what_to_do(refused, monkeypatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert "on Windows use WSL" in refused("doctor")


@pytest.mark.parametrize("size", [500, 10_000])
def test_a_full_disk_while_fitting(forked, shop, tmp_path, size: int) -> None:
    done = forked("fit", "--train", shop.train_file, "--out", tmp_path / "out" / "m", largest=size)
    assert done.code == 2, done.err
    assert done.err.count("\n") == 1, done.err
    assert done.err.startswith("classify: ")
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("size", "fitted"), [(500, False), (7_000, True), (15_000, False), (40_000, True), (40_000, False)]
)
def test_a_full_disk_while_running(forked, shop, model, finished, tmp_path, contents, size: int, fitted: bool) -> None:
    source = ["--model", model] if fitted else ["--train", shop.train_file]
    arguments = [*source, "--test", shop.known, "--run", tmp_path / "run"]
    done = forked(*arguments, largest=size)
    assert done.code == 2, done.err
    assert done.err.count("\n") == 1, done.err
    assert done.err.startswith("classify: ")
    begun = (tmp_path / "run" / "manifest.json").exists()
    assert (f"carry on with: classify resume {tmp_path / 'run'}" in done.err) == begun
    again = forked("resume", tmp_path / "run") if begun else forked(*arguments)
    assert (again.code, again.err) == (0, "")
    assert contents(tmp_path / "run") == contents(finished)


def test_a_full_disk_while_submitting(forked, finished: Path, tmp_path) -> None:
    done = forked("submit", finished, "--name", "full", "--board", tmp_path / "board.csv", largest=300)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert not list(finished.glob("*.zip"))
    assert not (tmp_path / "board.csv").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_cannot_be_written(shop, finished: Path) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "classify.cli", "evaluate", str(finished), str(shop.known)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "classify: No space left on device\n"


def test_a_reader_that_went_away(shop, finished: Path) -> None:
    command = [sys.executable, "-m", "classify.cli", "evaluate", str(finished), str(shop.known), "--by", "brand"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as done:
        assert done.stdout is not None
        assert done.stderr is not None
        done.stdout.close()
        assert done.stderr.read() == b""
    assert done.returncode > 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(refused, shop, model: Path, tmp_path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    message = refused("--model", model, "--test", shop.test_file, "--run", tmp_path / "closed" / "run")
    assert "Permission denied" in message


def test_a_file_in_the_way(refused, shop, model: Path, tmp_path) -> None:
    (tmp_path / "file").write_text("mine")
    message = refused("--model", model, "--test", shop.test_file, "--run", tmp_path / "file" / "run")
    assert str(tmp_path / "file") in message
    assert (tmp_path / "file").read_text() == "mine"


def test_bars_on_a_terminal_and_none_elsewhere(shop, tmp_path) -> None:
    arguments = ["--train", shop.train_file, "--test", shop.known, "--run"]
    command = [sys.executable, "-m", "classify.cli", *map(str, arguments), str(tmp_path / "shown")]
    code, shown = on_a_terminal(command, {**SETTINGS, "TERM": "xterm"})
    assert code == 0, shown
    text = shown.decode()
    assert all(what in text for what in ("index", "requests", "answer", "snap", "90/90"))
    assert "Traceback" not in text
