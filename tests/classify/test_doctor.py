import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.extras import CORE, Part, extras
from catalog.machine import Gpu
from classify import doctor
from classify.engines.transformers import TransformersEngine
from classify.names import ENGINES, STRATEGIES

ROOT = Path(__file__).parents[2]
SECRET = "sk-a-secret-that-nobody-may-see"
# Variables that are no keys: where caches are, and what libraries and our own processes are told.
NO_KEYS = {"SHELFMARK_CACHE", "XDG_CACHE_HOME", "XDG_STATE_HOME", "RANK", "PARENT"}


def test_it_shows_the_machine_and_no_key(command, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for arguments in (["doctor"], ["doctor", "--json"]):
        done = command(*arguments)
        assert (done.code, done.err) == (0, "")
        assert SECRET not in done.out
    found = json.loads(done.out)
    assert found["keys"]["OPENAI_API_KEY"] is True
    assert found["keys"]["HF_TOKEN"] is False
    assert found["cores"] > 0
    assert 0 < found["memory"]["available"] <= found["memory"]["total"]
    assert found["extras"]["core"]["numpy"]
    ready = {way["name"] for way in found["ways"] if way["ready"]}
    assert {"tree", "rag, without an LLM", "rag, engine batch", "openai, fit and answers"} <= ready


def test_it_is_quick_because_it_imports_none_of_it(command) -> None:
    code = (
        "import sys; sys.argv = ['classify', 'doctor']\n"
        "from classify.cli import main\n"
        "try: main()\n"
        "except SystemExit as ended: print(ended.code)\n"
        "print([name for name in ('numpy', 'pandas', 'faiss', 'torch', 'openai') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["0", "[]"]


def verdicts(found: dict[str, list[Part]], gpu: bool = False, **keys: bool) -> dict[str, doctor.Verdict]:
    known = {**dict.fromkeys(doctor.KEYS, False), **keys}
    return {way.name: doctor.judge(way, found, known, gpu=gpu) for way in doctor.WAYS}


def everything(version: str) -> dict[str, list[Part]]:
    return {extra: [Part(part.name, part.wanted, version) for part in parts] for extra, parts in extras().items()}


def test_what_is_missing_and_how_to_get_it(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "version", lambda name: "")
    monkeypatch.setattr(doctor, "source", lambda: None)
    found = {**everything(""), CORE: []}
    told = verdicts(found)
    assert told["tree"].ready
    assert not told["lora, fit"].ready
    assert "package torch" in told["lora, fit"].missing
    assert told["lora, fit"].enable[0].endswith("[lora]'")
    assert told["push to the hub"].enable[-1] == "export HF_TOKEN=..."
    assert told["rag, engine transformers"].missing == ["package torch", "package transformers"]
    assert told["openai, fit and answers"].missing == ["OPENAI_API_KEY"]
    assert verdicts(found, OPENAI_API_KEY=True)["openai, fit and answers"].ready


def test_all_is_ready_where_all_is_there(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "version", lambda name: "9999")
    told = verdicts(everything("9999"), gpu=True, OPENAI_API_KEY=True, HF_TOKEN=True)
    assert [way.name for way in told.values() if not way.ready] == []
    assert verdicts(everything("9999"))["lora, fit by unsloth"].missing == ["a GPU"]


def test_on_a_gpu_the_pinned_stack_is_named(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "source", lambda: ROOT)
    told = verdicts({**everything(""), CORE: []}, gpu=True)
    assert told["rag, engine vllm"].enable == [f"pip install -r {ROOT / doctor.GPU_FILE}"]
    assert told["sentence encoders, re-rankers"].enable[0].endswith("[embed]'")


def test_what_is_of_no_use_without_a_gpu_is_installed_as_pinned_too(command, monkeypatch) -> None:
    monkeypatch.setattr(doctor, "source", lambda: ROOT)
    monkeypatch.setattr(doctor, "extras", lambda: {**everything(""), CORE: []})
    monkeypatch.setattr(doctor, "gpus", list)
    told = {way.name: way for way in doctor.examine({}).ways}
    for name in ("rag, engine vllm", "lora, answers by vllm", "lora, fit by unsloth"):
        assert told[name].enable[0] == f"pip install -r {ROOT / doctor.GPU_FILE}"
    assert told["lora, fit"].enable[0].endswith("[lora]'")
    assert "a GPU, or vLLM's build" in " ".join(command("doctor").out.split())


def test_what_is_core_does_not_count_as_part_of_an_extra(monkeypatch) -> None:
    lines = ["numpy>=2", "numpy>=2; extra == 'lora'", "torch>=2; extra == 'lora'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: lines)
    assert [part.name for part in extras()["lora"]] == ["torch"]


def test_gpus_are_shown(command, monkeypatch) -> None:
    monkeypatch.setattr(doctor, "gpus", lambda: [Gpu("NVIDIA [L4]", 24 * 2**30, "550.54")])
    assert "NVIDIA [L4], 24.0 GiB, driver 550.54" in command("doctor").out


def test_where_the_core_is_incomplete_nothing_runs_and_the_exit_code_tells(command, monkeypatch) -> None:
    monkeypatch.setattr(doctor, "extras", lambda: {CORE: [Part("faiss-cpu", ">=1.9", "")]})
    done = command("doctor", "--json")
    assert (done.code, done.err) == (1, "")
    assert "package faiss-cpu" in json.loads(done.out)["ways"][0]["missing"]


def test_it_knows_every_strategy_every_engine_and_what_they_need() -> None:
    names = " ".join(way.name for way in doctor.WAYS)
    assert all(re.search(rf"\b{name}\b", names) for name in [*STRATEGIES, *ENGINES] if name != "neighbours")
    needs = {
        name: getattr(importlib.import_module(place.split(":")[0]), place.split(":")[1]).needs
        for name, place in ENGINES.items()
    }
    told = {way.name.removeprefix("rag, engine "): way for way in doctor.WAYS if "engine" in way.name}
    assert {name: way.extra or None for name, way in told.items()} == {
        name: need and need[1] for name, need in needs.items() if name != "neighbours"
    }
    assert TransformersEngine.needs[0] in doctor.TRANSFORMERS


@pytest.mark.parametrize("folder", ["catalog", "rag", "finetune", "classify"])
def test_it_knows_every_variable_that_is_read(folder: str) -> None:
    read = set()
    for file in (ROOT / folder).rglob("*.py"):
        for name in re.findall(r"os\.environ(?:\.get\(|\[)([\w\"]+)", file.read_text(encoding="utf-8")):
            read.add(name.strip('"') if name.startswith('"') else name)
    read = {name for name in read if not name.islower()}  # a parameter: whoever gives it names the variable
    read = {"HF_TOKEN" if name == "TOKEN" else name for name in read}  # the constant of finetune/hub.py
    read -= {"name", "key_name"}  # variables that the user names
    assert read <= doctor.KEYS.keys() | NO_KEYS
