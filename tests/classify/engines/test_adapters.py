"""LoRA adapters over the model that they were trained on: the answers are those of the two, merged."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.errors import ShelfmarkError
from classify.engines.adapters import adapter_config, rank
from classify.engines.transformers import TransformersEngine, TransformersOptions
from classify.registry import engine_options


def config(folder: Path, **values) -> str:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(values))
    return str(folder)


def test_what_is_no_adapter_is_one_line(tmp_path: Path):
    with pytest.raises(ShelfmarkError, match="--adapter /no/such: no such folder"):
        adapter_config("/no/such")
    with pytest.raises(ShelfmarkError, match=r"not an adapter.*a whole model goes to --llm"):
        adapter_config(str(tmp_path))
    with pytest.raises(ShelfmarkError, match="not a LoRA adapter"):
        adapter_config(config(tmp_path / "other", peft_type="PREFIX_TUNING"))
    assert rank(adapter_config(config(tmp_path / "mine", peft_type="LORA", r=8, rank_pattern={"q_proj": 24}))) == 24


def test_engines_in_this_process_alone_take_adapters():
    for name in ("vllm", "transformers"):
        assert engine_options(name, {"adapter": "x"}).adapter == "x"
    with pytest.raises(ShelfmarkError, match="--adapter is not an option of server"):
        engine_options("server", {"adapter": "x"})


@pytest.fixture(scope="module")
def adapted(tiny_writer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that makes another model of the tiny writer, in ``adapter``, and that model, in ``merged``."""
    import peft
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("adapted")
    base = transformers.AutoModelForCausalLM.from_pretrained(tiny_writer.folder)
    torch.manual_seed(0)
    lora = peft.LoraConfig(
        r=10, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False
    )
    model = peft.get_peft_model(base, lora)
    model.save_pretrained(folder / "adapter")
    model.merge_and_unload().save_pretrained(folder / "merged")
    transformers.AutoTokenizer.from_pretrained(tiny_writer.folder).save_pretrained(folder / "merged")
    return folder


def write(tiny_writer, llm: Path, **options) -> dict[str, tuple[str, float]]:
    engine = TransformersEngine(TransformersOptions(llm=str(llm), constrain="off", batch_size=20, **options))
    done = {one.id: (one.text, one.logprob) for one in engine.complete(tiny_writer.requests[:20])}
    assert engine.report.get("adapter", "") == options.get("adapter", "")
    assert engine.report["quantization"] == options.get("quantization", "none")
    return done


@pytest.mark.extras
def test_transformers_answers_as_the_merged_model_does(tiny_writer, adapted: Path):
    merged = write(tiny_writer, adapted / "merged")
    mine = write(tiny_writer, tiny_writer.folder, adapter=str(adapted / "adapter"))
    assert mine != write(tiny_writer, tiny_writer.folder)
    assert {name: text for name, (text, _) in mine.items()} == {name: text for name, (text, _) in merged.items()}
    for name, (_, logprob) in mine.items():
        assert logprob == pytest.approx(merged[name][1], abs=0.01)


@pytest.mark.extras
def test_transformers_puts_it_on_four_bits(tiny_writer, adapted: Path):
    plain = write(tiny_writer, tiny_writer.folder, quantization="4bit")
    mine = write(tiny_writer, tiny_writer.folder, quantization="4bit", adapter=str(adapted / "adapter"))
    assert mine != plain != write(tiny_writer, tiny_writer.folder)


@pytest.mark.extras
def test_an_adapter_of_another_model_is_one_line(tiny_writer, adapted: Path, tmp_path: Path):
    import transformers

    small = transformers.LlamaConfig(
        vocab_size=600, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=1
    )
    transformers.LlamaForCausalLM(small).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(tiny_writer.folder).save_pretrained(tmp_path)
    with pytest.raises(ShelfmarkError, match=r"does not fit --llm .*; it was trained on .*writer") as error:
        write(tiny_writer, tmp_path, adapter=str(adapted / "adapter"))
    assert "\n" not in str(error.value)


ASK = """
import json, sys
from classify.engines.vllm import VllmEngine, VllmOptions
from catalog.messages import Request
llm, adapter, requests = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
engine = VllmEngine(VllmOptions(llm=llm, adapter=adapter, dtype="float32", constrain="off"))
print(json.dumps({one.id: [one.text, one.logprob] for one in engine.complete(map(Request.from_dict, requests))}))
print(json.dumps(engine.report))
"""


@pytest.mark.extras
def test_vllm_answers_as_the_merged_model_does(tiny_writer, adapted: Path, vllm_settings):
    # In a process of its own: two vLLM do not fit into one.
    asked = json.dumps([request.to_dict() for request in tiny_writer.requests[:20]])
    command = [sys.executable, "-c", ASK, str(tiny_writer.folder), str(adapted / "adapter"), asked]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert ended.returncode == 0, ended.stderr[-3000:]
    told, report = map(json.loads, ended.stdout.splitlines()[-2:])
    assert report["adapter"] == str(adapted / "adapter")
    merged = write(tiny_writer, adapted / "merged")
    same = [name for name, (text, _) in merged.items() if told[name][0] == text]
    assert len(same) >= 19
    for name in same:
        assert told[name][1] == pytest.approx(merged[name][1], abs=0.05)
