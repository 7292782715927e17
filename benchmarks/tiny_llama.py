"""A real Llama, but tiny, trained from scratch on a CPU: what the engines that hold a model are tested and timed with.

    python benchmarks/tiny_llama.py OUT [STEPS]

writes a checkpoint folder that transformers and vLLM load, trained on the chat requests of sample products.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Messages = list[dict[str, str]]
Pair = tuple[Messages, str]
Watch = Callable[[int, Any, Any], None]

BEGIN, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"
ROLES = ("system", "user", "assistant")
SPECIAL = [PAD, BEGIN, END, *(f"<|{role}|>" for role in ROLES)]
# `generation` marks what a trainer learns from; it writes nothing.
TEMPLATE = (
    BEGIN + "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '" + END + "' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '" + END + "' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
IGNORED = -100


def make_tokenizer(texts: Sequence[str], vocabulary: int, context: int) -> Any:
    """Return a byte-level BPE tokenizer of these texts, with the chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=[f"<|{role}|>" for role in ROLES],
        chat_template=TEMPLATE,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def train(
    pairs: Sequence[Pair],
    out_dir: Path,
    *,
    steps: int = 300,
    batch: int = 8,
    layers: int = 2,
    width: int = 128,
    vocabulary: int = 1024,
    context: int = 2048,
    learning_rate: float = 2e-3,
    threads: int = 2,
    seed: int = 0,
    watch: Watch | None = None,
) -> list[float]:
    """Train a Llama from scratch on the answers, and save it.

    Parameters
    ----------
    pairs : sequence of (messages, answer)
        Chat turns, and what is to be answered; only the answers are learnt.
    out_dir : Path
        The checkpoint folder: configuration, weights (float32), tokenizer and chat template.
    steps, batch : int
        Steps of so many pairs each.
    layers, width : int
        Decoder layers, and the size of their states (64 for each head).
    vocabulary, context : int
        The most tokens of the tokenizer, and of a prompt with its answer.
    learning_rate : float
        AdamW's, at its height: it warms up for a tenth of the steps and falls to a tenth.
    threads : int
        Threads of torch.
    seed : int
        Of the weights and of the order of the pairs.
    watch : callable
        Is given the number of steps done, the model and the tokenizer, after each step.

    Returns
    -------
    list of float
        The loss of each step: nats per token of the answers.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    texts = [turn["content"] for messages, _ in pairs for turn in messages] + [answer for _, answer in pairs]
    tokenizer = make_tokenizer(texts, vocabulary, context)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width * 3,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 64,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    examples = [_encode(tokenizer, messages, answer) for messages, answer in pairs]
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.01)
    shares = [min(1.0, 10 * (step + 1) / steps) * (1 - 0.9 * step / steps) for step in range(steps)]
    order = random.Random(seed)
    queue: list[int] = []
    losses = []
    model.train()
    for share in shares:
        while len(queue) < batch:
            queue += order.sample(range(len(examples)), len(examples))
        chosen, queue = [examples[at] for at in queue[:batch]], queue[batch:]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * share
        loss = model(**_collate(chosen, tokenizer.pad_token_id)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        if watch is not None:
            watch(len(losses), model, tokenizer)
            model.train()
    model.eval()
    model.save_pretrained(out_dir)
    tokenizer.save_pretrained(out_dir)
    torch.set_num_threads(before)
    return losses


def _encode(tokenizer: Any, messages: Messages, answer: str) -> tuple[list[int], list[int]]:
    """Return the tokens of prompt and answer, and what of them is learnt."""
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    rest = [*tokenizer.encode(answer, add_special_tokens=False), tokenizer.eos_token_id]
    return prompt + rest, [IGNORED] * len(prompt) + rest


def _collate(examples: Sequence[tuple[list[int], list[int]]], pad: int) -> dict[str, Any]:
    import torch

    longest = max(len(tokens) for tokens, _ in examples)
    blank = [longest - len(tokens) for tokens, _ in examples]
    return {
        "input_ids": torch.tensor([ids + [pad] * more for (ids, _), more in zip(examples, blank, strict=True)]),
        "labels": torch.tensor([learnt + [IGNORED] * more for (_, learnt), more in zip(examples, blank, strict=True)]),
        "attention_mask": torch.tensor(
            [[1] * len(ids) + [0] * more for (ids, _), more in zip(examples, blank, strict=True)]
        ),
    }


def sample_pairs(rows: int = 2000, labelled: int = 4000) -> list[Pair]:
    """Return chat requests of `rows` sample products, retrieved from `labelled` others, with the right labels."""
    from catalog.sample import sample_products
    from catalog.schema import PRESETS, SEPARATOR
    from classify.model import fit

    (products,) = sample_products(rows + labelled)
    test = products.take(range(labelled, rows + labelled))
    requests = fit(products.take(range(labelled)), schema=PRESETS["indoml"]).strategy.requests(test)
    labels = [SEPARATOR.join(path) for path in test.require_labels()]
    return [(request.messages, label) for request, label in zip(requests, labels, strict=True)]


if __name__ == "__main__":
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 1500
    losses = train(sample_pairs(), Path(sys.argv[1]), steps=steps, layers=4, width=256)
    print(f"loss {losses[0]:.3f} -> {sum(losses[-20:]) / 20:.3f} nats per token of the answers")
