"""A small model whose unconstrained answers the snapping benchmark repairs: it spells labels two letters at a time.

It is trained from scratch on the training rows of one data set. The words of the description, each a mean of hashed
letter n-grams, are what a GRU decoder attends to (Bahdanau, Cho and Bengio, 'Neural machine translation by jointly
learning to align and translate', 2015) while it writes the joined label in pieces of up to two letters. So it makes the
mistakes that generating models make: values that do not exist, levels that do not belong together, labels that do not
end. Needs torch; a few minutes a set on one processor core.

    python benchmarks/snap_model.py $SHELFMARK_DATA/coles coles.jsonl
"""

from __future__ import annotations

import json
import re
import sys
import time
import zlib
from pathlib import Path

import torch
from torch import Tensor, nn

from catalog.files import atomic_write
from catalog.products import Products, read_products
from catalog.schema import PRESETS, SEPARATOR

SCHEMA = PRESETS["indoml"]
PAD, START, END = 0, 1, 2
WORDS, BUCKETS, LONGEST = 8, 30_000, 64
EPOCHS, BATCH, WIDTH, SEED = 8, 64, 160, 7
PIECE = re.compile(rf"{SEPARATOR}|.{{1,2}}?(?={SEPARATOR}|$)|..", re.DOTALL)


def hashed(text: str) -> list[list[int]]:
    """Return the buckets of the letter n-grams of each word, and of the word itself."""
    words = []
    for word in (text.lower().split() or [""])[:WORDS]:
        padded = f"<{word}>"
        grams = {padded[at : at + size] for size in (1, 2, 3, 4) for at in range(len(padded) - size + 1)} | {padded}
        words.append([zlib.crc32(gram.encode()) % BUCKETS for gram in sorted(grams)])
    return words


def padded(rows: list[list[int]]) -> Tensor:
    width = max(len(row) for row in rows)
    return torch.tensor([row + [PAD] * (width - len(row)) for row in rows])


class Speller(nn.Module):
    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.grams = nn.EmbeddingBag(BUCKETS, WIDTH, mode="mean")
        self.order = nn.Embedding(WORDS, WIDTH)
        self.mix = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Dropout(0.2), nn.Linear(WIDTH, WIDTH))
        self.embed = nn.Embedding(pieces, 96, padding_idx=PAD)
        self.decoder = nn.GRU(96, WIDTH, batch_first=True)
        self.query = nn.Linear(WIDTH, WIDTH, bias=False)
        self.out = nn.Sequential(nn.Dropout(0.2), nn.Linear(2 * WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, pieces))

    def encode(self, sources: list[list[list[int]]]) -> tuple[Tensor, Tensor, Tensor]:
        blank = torch.tensor([[at >= len(words) for at in range(WORDS)] for words in sources])
        bags = [bag for words in sources for bag in words]
        starts = torch.tensor([0, *(len(bag) for bag in bags[:-1])]).cumsum(0)
        vectors = self.grams(torch.tensor([number for bag in bags for number in bag]), starts)
        states = torch.zeros(len(sources), WORDS, WIDTH)
        states[~blank] = vectors
        states = states + self.mix(states + self.order.weight)
        states = states * ~blank.unsqueeze(-1)
        return states, blank, torch.tanh(states.sum(1)).unsqueeze(0)

    def decode(self, target: Tensor, states: Tensor, blank: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        output, hidden = self.decoder(self.embed(target), hidden)
        weights = self.query(output) @ states.transpose(1, 2) / WIDTH**0.5
        weights = weights.masked_fill(blank.unsqueeze(1), -1e9).softmax(-1)
        return self.out(torch.cat([output, weights @ states], dim=-1)), hidden


def train(products: Products) -> tuple[Speller, list[str]]:
    """Return the trained model and its pieces."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    spelt = [PIECE.findall(SEPARATOR.join(path)) for path in products.require_labels()]
    pieces = ["", "", "", *sorted({piece for row in spelt for piece in row})]
    ids = {piece: number for number, piece in enumerate(pieces) if piece}
    targets = [[START, *(ids[piece] for piece in row[:LONGEST]), END] for row in spelt]
    sources = [hashed(text) for text in products.texts]
    model = Speller(len(pieces))
    batches = [list(range(at, min(at + BATCH, len(sources)))) for at in range(0, len(sources), BATCH)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    steps = EPOCHS * len(batches)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps + 1, pct_start=0.1)
    for epoch in range(EPOCHS):
        model.train()
        began, total = time.perf_counter(), 0.0
        order = torch.randperm(len(sources)).tolist()
        for places in batches:
            batch = [order[place] for place in places]
            target = padded([targets[row] for row in batch])
            scores, _ = model.decode(target[:, :-1], *model.encode([sources[row] for row in batch]))
            loss = nn.functional.cross_entropy(scores.flatten(0, 1), target[:, 1:].flatten(), ignore_index=PAD)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / len(batches):.3f}, {time.perf_counter() - began:.0f} s", flush=True)
    return model, pieces


@torch.no_grad()
def answer(model: Speller, pieces: list[str], products: Products) -> list[str]:
    """Answer greedily, a piece at a time, with nothing that keeps the answer valid."""
    model.eval()
    answers = []
    for at in range(0, len(products), 256):
        texts = products.texts[at : at + 256]
        states, blank, hidden = model.encode([hashed(text) for text in texts])
        token = torch.full((len(texts), 1), START)
        written = []
        for _ in range(LONGEST):
            scores, hidden = model.decode(token, states, blank, hidden)
            token = scores[:, -1:].argmax(-1)
            written.append(token)
        for row in torch.cat(written, dim=1).tolist():
            kept = row[: row.index(END)] if END in row else row
            answers.append("".join(pieces[number] for number in kept))
    return answers


def write_answers(folder: Path, out: Path) -> None:
    """Train on a folder's training rows and write the answers for its development rows."""
    products = read_products(folder / "dev.features", SCHEMA, labels=True)
    model, pieces = train(read_products(folder, SCHEMA, labels=True))
    answers = answer(model, pieces, products)
    right = sum(text == SEPARATOR.join(path) for text, path in zip(answers, products.require_labels(), strict=True))
    print(f"{folder.name}: {right / len(answers):.4f} right as they are")
    with atomic_write(out) as stream:
        for name, text in zip(products.ids, answers, strict=True):
            stream.write(json.dumps({SCHEMA.id: name, "answer": text}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write_answers(Path(sys.argv[1]), Path(sys.argv[2]))
