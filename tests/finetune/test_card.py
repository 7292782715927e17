import json
import re
import sys
from types import SimpleNamespace

import pytest

from catalog.errors import ShelfmarkError
from finetune.card import Licence, card, licence_of, without_paths, write_card

BASE = "unsloth/llama-3-8b-Instruct-bnb-4bit"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is installed, no test asks the hub."""

    class Api:
        def model_info(self, name, timeout):
            raise OSError("no network")

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(HfApi=Api, __spec__=object()))


def answering(monkeypatch: pytest.MonkeyPatch, **said) -> None:
    class Api:
        def model_info(self, name, timeout):
            assert name == BASE
            return SimpleNamespace(card_data=said)

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(HfApi=Api, __spec__=object()))


def test_what_a_card_tells(told) -> None:
    text = write_card(told).read_text()
    for part in (
        f'base_model: "{BASE}"',
        "license: unknown\n",
        "| licence of the base | unknown: see the base's page |",
        "| item accuracy on 40 held-out rows | 0.8300 |",
        "| learned from | 6,000 rows, 321 label paths |",
        "at most 6,000 rows, stratified on the label path |",
        "| what the model is shown | description, retailer, price |",
        "own.toml, trained with trl on cpu: 200 steps",
        "| learning rate | 0.0002 |",
        "| train seed | 3407 |",
        "| load in 4bit | yes |",
        "| merged against adapters, in float32 | 199 of 200 answers are the same, 200 label paths |",
        "classify --strategy lora --model MODEL --test",
        "torch 2.13.0, trl 1.16.0",
    ):
        assert part in text, part
    assert "\n\n\n" not in text


def test_neither_paths_nor_rows(told, retell) -> None:
    retell(
        told, base="/home/somebody/secret place/base", notes=["read /home/somebody/secret place/base, C:\\secret\\x"]
    )
    text = card(told)
    assert "secret" not in text
    assert "somebody" not in text
    assert "nobody may see" not in text
    assert str(told.parent) not in text
    assert "base_model" not in text
    assert "| base | base |" in text
    assert "- read base, x" in text


def test_what_is_shown_and_of_what(told) -> None:
    about = json.loads((told / "model.json").read_text())
    about["options"] |= {"clean_text": True, "ignore_price": True, "whole_set": True, "grouped": True, "recipe": ""}
    (told / "model.json").write_text(json.dumps(about))
    text = card(told)
    assert "| description, retailer; numbers and words of one letter left out of the texts |" in text
    assert "| sample | every row; near-duplicates of a retailer left out first |" in text
    assert """product = '{"description": "semi skim mlk", "retailer": "a shop"}'""" in text


def test_without_validation_or_merge_check(told, retell) -> None:
    retell(told, best=None, merge=None, lengths=None, validation_rows=0)
    text = card(told)
    assert "| not measured |" in text
    assert "| merged against adapters | not compared |" in text
    assert "metrics:" not in text


def test_a_damaged_model_is_no_traceback(told) -> None:
    (told / "training.json").write_text("{}")
    with pytest.raises(ShelfmarkError, match="damaged"):
        card(told)
    (told / "training.json").unlink()
    with pytest.raises(ShelfmarkError, match="no such file"):
        card(told)


def test_the_licence_of_a_folder(tmp_path) -> None:
    assert licence_of(str(tmp_path)) == Licence()
    (tmp_path / "config.json").write_text('{"license": "mit"}')
    assert licence_of(str(tmp_path)) == Licence("mit")
    (tmp_path / "README.md").write_text("---\nlicense: 'apache-2.0'\n---\nlicense: mit\n")
    assert licence_of(str(tmp_path)) == Licence("apache-2.0")
    (tmp_path / "README.md").write_text("no metadata\nlicense: gpl\n")
    assert licence_of(str(tmp_path)) == Licence("mit")
    other = Licence("other", "llama3", "https://x.y/z")
    (tmp_path / "README.md").write_text("---\nlicense: other\nlicense_name: llama3\nlicense_link: https://x.y/z\n---\n")
    assert licence_of(str(tmp_path)) == other
    assert str(other) == "other (llama3), https://x.y/z"
    assert licence_of(str(tmp_path / "gone")) == Licence()


def test_the_licence_on_the_hub(told, monkeypatch: pytest.MonkeyPatch) -> None:
    assert licence_of(BASE) == Licence()
    answering(monkeypatch, license="llama3")
    assert 'license: "llama3"\n' in card(told)
    answering(monkeypatch, license=["mit", "gpl"])
    assert licence_of(BASE) == Licence()


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("read /home/a/b/c.json twice", "read c.json twice"),
        ("in ~/models/base, then", "in base, then"),
        ("C:\\Users\\me\\base.", "base."),
        ("half (1/2) of https://huggingface.co/a/b and a/b", "half (1/2) of https://huggingface.co/a/b and a/b"),
    ],
)
def test_paths(text: str, left: str) -> None:
    assert without_paths(text) == left


@pytest.mark.extras
def test_the_hub_s_own_reader_takes_the_metadata(told, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, license="other", license_name='a "name": #1', license_link="https://x.y/z")
    text = card(told, "somebody/shelf")
    monkeypatch.undo()
    from huggingface_hub import ModelCard

    data = ModelCard(text).data
    assert (data.license, data.license_name, data.base_model) == ("other", 'a "name": #1', BASE)
    assert (data.library_name, data.pipeline_tag, data.metrics) == ("transformers", "text-generation", ["accuracy"])
    assert "lora" in data.tags


@pytest.mark.extras
def test_the_card_s_code_runs(real, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    code = re.findall(r"```python\n(.*?)```", card(real), re.DOTALL)[0]
    assert "MODEL/merged" in code
    exec(code.replace("MODEL/merged", str(real / "merged")), {})
    assert capsys.readouterr().out.startswith("{")
