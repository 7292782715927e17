import json
from types import SimpleNamespace

import pytest

import finetune.passes
import finetune.profile
from catalog.errors import ShelfmarkError
from finetune.profile import duration, profile_model, summary


def entry(name, device, cpu, gpu, flops=0, annotation=False):
    return SimpleNamespace(
        key=name,
        count=2,
        device_type=SimpleNamespace(name=device),
        self_cpu_time_total=cpu,
        self_device_time_total=gpu,
        flops=flops,
        is_user_annotation=annotation,
    )


AVERAGES = [
    entry("aten::mm", "CPU", 100.0, 3000.0, 2_000_000_000),
    entry("aten::add", "CPU", 900.0, 500.0, 1_000_000_000),
    entry("gemm kernel", "CUDA", 0.0, 3000.0),
    entry("add kernel", "CUDA", 0.0, 500.0),
    entry("a step", "CUDA", 0.0, 3600.0, annotation=True),
]


def test_gpu_time_is_that_of_kernels_and_told_with_their_operators() -> None:
    values, dearest = summary(AVERAGES, cuda=True)
    assert values == {"self_cpu_seconds": 0.001, "self_cuda_seconds": 0.0035, "gflops": 3.0}
    assert [(one["name"], one["self_cuda_seconds"]) for one in dearest] == [("aten::mm", 0.003), ("aten::add", 0.0005)]


def test_without_a_gpu_there_is_no_gpu_time() -> None:
    values, dearest = summary(AVERAGES[:2], cuda=False)
    assert values["self_cuda_seconds"] is None
    assert [one["name"] for one in dearest] == ["aten::add", "aten::mm"]
    assert dearest[0]["self_cuda_seconds"] is None


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "no CUDA here"), (0.0123, "12.30 ms"), (2, "2.00 s"), (61, "1 min 1 s"), (4321.5, "1 h 12 min")],
)
def test_times(seconds, shown: str) -> None:
    assert duration(seconds).replace("\N{NO-BREAK SPACE}", " ") == shown


def test_wrong_models(told, tmp_path) -> None:
    with pytest.raises(ShelfmarkError, match="merged: missing or not whole"):
        profile_model(told)
    with pytest.raises(ShelfmarkError, match="not a model"):
        profile_model(tmp_path / "none")
    about = json.loads((told / "model.json").read_text())
    (told / "model.json").write_text(json.dumps({**about, "strategy": "tree"}))
    with pytest.raises(ShelfmarkError, match="a model of strategy tree; this is for one of strategy lora"):
        profile_model(told)


@pytest.mark.extras
def test_what_a_model_costs(real, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors import safe_open

    monkeypatch.setattr(finetune.passes, "ANSWER_TOKENS", 24)
    report = profile_model(real, rows=12, device="cpu")
    assert report == json.loads((real / "profile.json").read_text())
    assert (report["rows"], report["batches"], report["device"]) == (12, 2, "cpu")
    with safe_open(real / "adapter" / "adapter_model.safetensors", "pt") as adapter:
        trained = sum(adapter.get_tensor(name).numel() for name in adapter.keys())  # noqa: SIM118
    assert report["parameters"]["trained"] == trained
    training, inference = report["training"], report["inference"]
    for values in (training, inference):
        assert values["self_cuda_seconds"] is None
        assert values["self_cpu_seconds"] > 0
        assert values["rows_per_second"] == pytest.approx(12 / values["seconds"])
    config = json.loads((real / "merged" / "config.json").read_text())
    width, layers, inner = config["hidden_size"], config["num_hidden_layers"], config["intermediate_size"]
    products = layers * (4 * width * width + 3 * width * inner) + width * config["vocab_size"]
    # Forward, again for the checkpoints, and back to the inputs: three times two for each weight and token, and for the
    # padding too; less would mean a pass left out, much more one counted twice.
    at_least = 3 * 2 * products * training["tokens"] / 1e9
    assert 0.85 * at_least < training["gflops"] < 1.7 * at_least
    written = inference["prompt_tokens"] + inference["answer_tokens"]
    assert 12 <= inference["answer_tokens"] <= 12 * 24
    assert 0.5 * 2 * products * written / 1e9 < inference["gflops"]
    for name in ("training", "inference"):
        dearest = report["operators"][name]
        assert len(dearest) == 10
        assert dearest == sorted(dearest, key=lambda one: -one["self_cpu_seconds"])
        assert any(one["gflops"] > 0 for one in dearest)
    assert report["notes"] == []


@pytest.mark.extras
def test_without_the_base_and_only_the_first_batches_profiled(real, retell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune.passes, "ANSWER_TOKENS", 4)
    whole = profile_model(real, rows=16, device="cpu")
    monkeypatch.setattr(finetune.profile, "PROFILED_BATCHES", 1)
    retell(real, base="/gone/for good/base")
    report = profile_model(real, rows=16, device="cpu")
    (note,) = report["notes"]
    assert (whole["profiled_rows"], report["profiled_rows"]) == (16, 8)
    assert report["training"]["gflops"] == pytest.approx(whole["training"]["gflops"] / 2, rel=0.2)
    assert report["training"]["gflops_per_row"] == pytest.approx(whole["training"]["gflops_per_row"], rel=0.2)
    assert report["inference"]["answer_tokens"] == whole["inference"]["answer_tokens"]
    assert note.startswith("the base base could not be loaded")
    assert "/gone" not in (real / "profile.json").read_text()


@pytest.mark.extras
def test_wrong_devices_and_damaged_models(real) -> None:
    weights = real / "adapter" / "adapter_model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(b"nothing")
    with pytest.raises(ShelfmarkError, match="adapter: cannot be loaded"):
        profile_model(real, rows=2, device="cpu")
    weights.write_bytes(kept)
    with pytest.raises(ShelfmarkError, match="--device warp: cannot be used"):
        profile_model(real, device="warp")
    (real / "merged" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ShelfmarkError, match="merged: cannot be loaded"):
        profile_model(real, rows=2, device="cpu")
    (real / "validation.jsonl").write_text("")
    with pytest.raises(ShelfmarkError, match=r"validation\.jsonl: no validation rows"):
        profile_model(real, device="cpu")
