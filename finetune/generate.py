"""Answers of a model in this process, as they are needed while training and when a merge is checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from finetune.examples import Turn


def answers(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[list[Turn]],
    *,
    most_tokens: int,
    batch_size: int,
    together: bool = False,
) -> list[str]:
    """Return the likeliest answer to each prompt, word by word (greedy), in order.

    Parameters
    ----------
    model, tokenizer
        A causal language model of transformers, and its tokenizer with a chat template.
    prompts : sequence of chat turns
        What is asked.
    most_tokens : int
        Tokens of an answer at most.
    batch_size : int
        Prompts answered at once.
    together : bool
        Whether several processes hold parts of the model and go through the same steps (DeepSpeed's third stage).
    """
    import torch
    from transformers import GenerationConfig

    tokens = [tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False) for turns in prompts]
    order = sorted(range(len(tokens)), key=lambda at: -len(tokens[at]))  # prompts of like length share a batch
    ends = _ends(model, tokenizer)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0]
    # What the base's makers recommend (a temperature, penalties) is not what is measured.
    greedy = GenerationConfig(
        max_new_tokens=most_tokens, do_sample=False, use_cache=True, eos_token_id=ends, pad_token_id=pad
    )
    found = [""] * len(tokens)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            width = max(len(tokens[row]) for row in rows)
            ids = torch.tensor([[pad] * (width - len(tokens[row])) + list(tokens[row]) for row in rows])
            mask = torch.tensor([[0] * (width - len(tokens[row])) + [1] * len(tokens[row]) for row in rows])
            written = model.generate(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                generation_config=greedy,
                synced_gpus=together,
            )
            for row, answer in zip(rows, written[:, width:], strict=True):
                found[row] = tokenizer.decode(answer, skip_special_tokens=True).strip()
    model.train(was_training)
    return found


def _ends(model: Any, tokenizer: Any) -> list[int]:
    own = getattr(model.generation_config, "eos_token_id", None)
    own = [own] if isinstance(own, int) else list(own or [])
    return list(dict.fromkeys([*([tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []), *own]))
