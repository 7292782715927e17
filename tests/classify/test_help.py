import inspect
import os
import subprocess
import sys
from typing import Any, Literal, get_args, get_origin

import pytest
import typer
import typer.main

from classify.cli import app
from classify.commands.help import ORDER, sections
from classify.commands.parameters import HEADINGS, PROGRAM
from classify.names import ENGINES, STRATEGIES
from classify.registry import find

PROGRAM_COMMAND: Any = typer.main.get_command(app)
COMMANDS = {"": PROGRAM_COMMAND, **PROGRAM_COMMAND.commands}


def context(name: str) -> typer.Context:
    return typer.Context(COMMANDS[name], info_name=f"classify {name}".strip())


@pytest.mark.parametrize("name", ["", "fit", "resume", "plan"])
def test_long_help_stands_under_headings_in_their_order(command, monkeypatch, name: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = command(*filter(None, [name]), "--help").out
    assert max(map(len, shown.splitlines())) <= 80
    places = [shown.find(f"\n{heading}:\n") for heading in HEADINGS if f"\n{heading}:\n" in shown]
    assert len(places) >= 4
    assert places == sorted(places)


def test_commands_come_first_whole(command) -> None:
    shown = command("--help").out
    assert shown.index("Commands:") < shown.index(HEADINGS[0])
    assert "..." not in shown[shown.index("Commands:") : shown.index(HEADINGS[0])]
    assert set(ORDER) >= PROGRAM_COMMAND.commands.keys(), "name a new command in classify/commands/help.py, ORDER"


def test_short_help_has_one_heading(command) -> None:
    shown = command("submit", "--help").out
    assert "Arguments:" in shown
    assert "Options:" in shown
    assert HEADINGS[0] not in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_more_or_less_and_explains_its_options(name: str) -> None:
    shown = sections(COMMANDS[name], context(name))
    program = {one.name for heading, some in shown if heading == PROGRAM for one in some}
    assert program >= {"verbose", "quiet", "help"}
    assert all(one.help for _, some in shown for one in some), "an option without help"


def asked(line: str) -> dict[str, str]:
    """Return what bash sets to have this line completed."""
    return {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_CLASSIFY_COMPLETE": "complete_bash"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("classify eval", ["evaluate"]),
        ("classify fit --enc", ["--encoder"]),
        ("classify --strategy ", list(STRATEGIES)),
        ("classify --preset rag-l", ["rag-llama31"]),
        ("classify fit --recipe lora-s", ["lora-small"]),
    ],
)
def test_bash_completes_commands_options_and_names(command, monkeypatch, line: str, words: list[str]) -> None:
    for name, value in asked(line).items():
        monkeypatch.setenv(name, value)
    assert command().out.split() == words


def test_bash_completes_runs_and_submissions(command, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "manifest.json").touch()
    (tmp_path / "runs" / "one" / "first-try.zip").touch()
    for line, words in (
        ("classify resume ", ["runs/one", "runs/two"]),
        ("classify report runs/one runs/t", ["runs/two"]),
        ("classify evaluate runs/o", ["runs/one"]),
        ("classify submit --of ", ["first-try"]),
        ("classify resume other/", []),  # files, as the shell finds them
    ):
        for name, value in asked(line).items():
            monkeypatch.setenv(name, value)
        assert command().out.split() == words


def test_completing_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['classify']\n"
        "from classify.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = [name for name in ('numpy', 'pandas', 'faiss', 'torch', 'openai') if name in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    settings = {**os.environ, **asked("classify --engine b")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=settings)
    assert (done.stdout.split(), done.stderr) == (["batch"], "")


def test_a_script_for_the_shell_can_be_had(command, monkeypatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    # Made anew: the variable is read when the parser is made.
    monkeypatch.setattr(typer.main, "get_command", inspect.unwrap(typer.main.get_command))
    shown = command("--show-completion", "bash").out
    assert "_CLASSIFY_COMPLETE=complete_bash" in shown


def names(command_name: str, option: str) -> set[str]:
    (parameter,) = [one for one in COMMANDS[command_name].params if one.name == option]
    return {item.value for item in parameter.shell_complete(context(command_name), "")}


@pytest.mark.parametrize(("kind", "registry"), [("strategy", STRATEGIES), ("engine", ENGINES)])
def test_all_names_that_are_valid_are_completed(kind: str, registry: dict[str, str]) -> None:
    assert names("", kind) == set(registry)
    for owner in registry:
        for option, field in find(kind, registry, owner).options_class.model_fields.items():
            if get_origin(field.annotation) is Literal and any(one.name == option for one in PROGRAM_COMMAND.params):
                assert names("", option) >= set(get_args(field.annotation)), f"{owner}: --{option}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stratgy", "rag"], "--stratgy: no such option of classify (did you mean '--strategy'?)"),
        (["fit", "--ecoder", "x"], "--ecoder: no such option of classify fit (did you mean '--encoder'?)"),
        (["fit", "--engine", "vllm"], "it is one of classify itself, classify resume"),
        (["submit", "--zzz"], "--zzz: no such option of classify submit; see classify submit --help"),
        (["resume", "--stratgy", "x"], "no such option of classify resume; see classify resume --help"),
        (["resume", "--run", "runs/a"], "--run: classify resume takes it without the name: classify resume RUN"),
        (["submit", "a", "b"], "extra argument(s) (b); classify submit takes RUN; see classify submit --help"),
        (["doctor", "b"], "(b); classify doctor takes options alone"),
        (["--seed", "5", "doctor"], "--seed before the command doctor"),
        (["evalute"], "Did you mean 'evaluate'?"),
    ],
)
def test_what_is_misspelled(refused, arguments: list[str], message: str) -> None:
    assert message in refused(*arguments)


def test_what_is_not_there(refused, shop, finished, tmp_path) -> None:
    (tmp_path / "runs" / "first").mkdir(parents=True)
    assert f"did you mean '{tmp_path / 'runs' / 'first'}'" in refused("resume", tmp_path / "runs" / "frist")
    assert f"did you mean '{shop.train_file}'" in refused(
        "--train", shop.folder / "trian.features", "--test", shop.test_file, "--run", tmp_path / "run"
    )
    misspelt = shop.folder.with_name(shop.folder.name[:-1]) / "train.features"
    assert f"did you mean '{shop.train_file}'" in refused("--train", misspelt, "--test", shop.test_file)
    assert "--embed mpnt: unknown (did you mean 'mpnet'?)" in refused(
        "snap", finished, "--train", shop.train_file, "--embed", "mpnt", "--out", tmp_path / "x.jsonl"
    )
    (tmp_path / "mine.toml").write_text('id = "sku"\ntext = ["title"]\nlevel = ["kind"]\n')
    assert "unknown key 'level' (did you mean 'levels'?)" in refused(
        "--train", shop.train_file, "--test", shop.test_file, "--schema", tmp_path / "mine.toml"
    )


@pytest.mark.parametrize("column", ["indoml_id", "description", "supergroup", "brand"])
def test_a_column_that_is_misspelled(refused, tmp_path, column: str) -> None:
    header = "indoml_id,description,retailer,price,supergroup,group,module,brand"
    (tmp_path / "train.csv").write_text(f"{header.replace(column, column[:-1])}\n1,soap,a shop,1.5,a,b,c,d\n")
    told = refused("fit", "--train", tmp_path / "train.csv", "--out", tmp_path / "model")
    assert f"'{column}' (did you mean '{column[:-1]}'?)" in told
    assert not (tmp_path / "model").exists()


# What to do next.


def test_first_steps_begin_with_made_up_data(command, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = command().out
    assert "classify sample --rows" in shown
    assert "classify doctor" in shown


def test_first_steps_go_on_with_what_is_there(command, shop, model, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(shop.folder)
    shown = command().out
    assert "--train train.features" in shown
    assert "classify sample" not in shown
    monkeypatch.chdir(tmp_path)
    command("--model", model, "--test", shop.test_file, "--run", "runs/one", "--until", "requests")
    (tmp_path / "runs" / "other").mkdir()
    (tmp_path / "runs" / "other" / "manifest.json").write_text("[]")
    assert "classify resume runs/one" in command().out
    assert "  classify resume runs/one --engine ENGINE --llm NAME\n  classify resume runs/one\n" in command().out
    command("resume", "runs/one")
    assert "  classify submit runs/one\n" in command().out
    command("submit", "runs/one")
    assert "classify submit runs/one" not in command().out
    assert "classify submit --score SCORE --of one\n" in command().out
    command("submit", "--score", 0.5, "--of", "one")
    assert "scored 0.5:\n\n  classify report runs/one\n" in command().out


@pytest.mark.parametrize(
    ("there", "proposed"),
    [
        (("train.features", "train.labels"), "--train train.features --test TEST "),
        (("test.features",), "--train TRAIN --test test.features "),
        (("train.features",), "train.labels is to be put beside it"),
    ],
)
def test_first_steps_use_what_part_of_the_data_there_is(command, tmp_path, monkeypatch, there, proposed) -> None:
    monkeypatch.chdir(tmp_path)
    for name in there:
        (tmp_path / name).touch()
    assert proposed in command().out
