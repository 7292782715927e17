"""The commands about fine-tuned models, as people give them."""

import json
import sys
from collections.abc import Callable

import pytest

import classify.cli
from catalog.extras import install_command

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["classify", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            classify.cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_mistakes_are_one_line(command: Command, told, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for arguments, message in (
        (("profile", tmp_path), "not a model"),
        (("profile", told), "merged: missing or not whole; fit the model again"),
        (("profile", told, "--rows", 0), "--rows"),
        (("push", tmp_path, "--to", "a/b"), "not a model"),
        (("push", told), "--to"),
    ):
        code, out, err = command(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), (arguments, err)
        assert err.startswith("classify: ")
        assert message in err


def test_a_missing_extra(command: Command, told, monkeypatch: pytest.MonkeyPatch) -> None:
    for part, file in (("merged", "config.json"), ("adapter", "adapter_config.json")):
        (told / part).mkdir()
        (told / part / file).write_text("{}")
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    for arguments in (("profile", told), ("push", told, "--to", "a/b")):
        code, _, err = command(*arguments)
        assert (code, err.count("\n")) == (2, 1)
        assert install_command("lora") in err


@pytest.mark.extras
def test_profile(command: Command, real, monkeypatch: pytest.MonkeyPatch) -> None:
    import finetune.passes
    from finetune.curves import write_report

    monkeypatch.setattr(finetune.passes, "ANSWER_TOKENS", 4)
    assert "GFLOPs" not in write_report(real).read_text()
    # The base was given where the model was made, which is not here.
    assert "--base" in command("profile", real, "--rows", 4, "--device", "cpu")[2]
    code, out, err = command("profile", real, "--rows", 4, "--device", "cpu", "--trust")
    assert code == 0, err
    for part in ("self CPU time", "no CUDA here", "GFLOPs", "rows/s", "aten::mm", "profile.json: all of it"):
        assert part in out
    assert json.loads((real / "profile.json").read_text())["rows"] == 4
    assert "GFLOPs" in (real / "report.html").read_text()
