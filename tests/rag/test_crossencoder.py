import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from catalog.errors import ShelfmarkError
from catalog.extras import install_command
from rag.crossencoder import Reranker
from rag.retrieve import Neighbours


class CrossEncoder:
    """Finds that two texts are alike as they share letters; counts what it reads."""

    read = 0

    def __init__(self, name: str, model_kwargs: dict[str, object]) -> None:
        assert model_kwargs == {"weights_only": True}  # or a pickle among its files runs what is in it
        if name == "none":
            raise OSError("no such model\nmore")

    def predict(self, pairs, batch_size: int, show_progress_bar: bool):
        CrossEncoder.read += len(pairs)
        return np.array([len(set(one) & set(other)) for one, other in pairs], dtype=np.float32)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", SimpleNamespace(CrossEncoder=CrossEncoder))


def test_the_best_come_first_with_their_own_figures(library) -> None:
    texts = ["xyz", "abcx", "abcd", "ab"]
    index = SimpleNamespace(products=SimpleNamespace(texts=texts))
    near = Neighbours(
        np.array([[0, 1, 2, 3], [3, 0, -1, -1]]),
        np.array([[0.9, 0.8, 0.7, 0.6], [0.5, 0.4, 0, 0]], dtype=np.float32),
        np.array([[0.9, 0.8, 0.7, 0.6], [0.5, 0.4, 0, 0]], dtype=np.float32),
        np.zeros((2, 4), dtype=np.int8),
    )
    best = Reranker("any").best(index, near, ["abcd", "zz"], 3)
    assert best.rows.tolist() == [[2, 1, 3], [0, 3, -1]]
    assert best.similarity[0].tolist() == pytest.approx([0.7, 0.8, 0.6])
    assert best.weight[1].tolist() == pytest.approx([0.4, 0.5, 0])


def test_the_same_pair_is_read_once(library) -> None:
    index = SimpleNamespace(products=SimpleNamespace(texts=["a", "b"]))
    zeros = np.zeros((3, 2), dtype=np.float32)
    near = Neighbours(np.array([[0, 1]] * 3), zeros, zeros, np.zeros((3, 2), dtype=np.int8))
    CrossEncoder.read = 0
    Reranker("any").best(index, near, ["q", "q", "r"], 1)
    assert CrossEncoder.read == 4


def test_a_model_that_is_not_there_is_one_line(library) -> None:
    with pytest.raises(ShelfmarkError, match=r"--rerank none: cannot be loaded \(no such model\)"):
        Reranker("none")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ShelfmarkError, match=re.escape(install_command("embed"))):
        Reranker("any")


@pytest.mark.extras
def test_a_real_cross_encoder(shop, tmp_path) -> None:
    import torch
    from sentence_transformers import CrossEncoder as Real
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    from rag.index import Index
    from rag.ngram import NgramEncoder
    from rag.retrieve import rank, shortlist

    torch.manual_seed(0)
    words = sorted({word for text in shop.train.texts for word in text.split()})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary))
    folder = tmp_path / "cross"
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, num_labels=1
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    BertTokenizerFast(vocab_file=str(tmp_path / "vocab.txt")).save_pretrained(folder)
    index = Index.build(shop.train, shop.schema, NgramEncoder())
    found = shortlist(index, index.encoder.encode(shop.test.texts), shop.test, filter_by="none", enough=5)
    wide = rank(
        index, found, shop.test.prices, k=20, filter_by="none", price_weight=0.1, price_band=None, other_weight=1.0
    )
    best = Reranker(str(folder)).best(index, wide, shop.test.texts, 5)
    real = Real(str(folder))
    for query in range(0, 90, 10):
        rows = [row for row in wide.rows[query].tolist() if row >= 0]
        told = real.predict([(shop.test.texts[query], index.products.texts[row]) for row in rows])
        scores = dict(zip(rows, told.reshape(len(rows), -1)[:, 0].tolist(), strict=True))
        # By score: in other batches rows that score alike may change places.
        found = [scores[row] for row in best.rows[query].tolist()]
        assert found == pytest.approx(sorted(scores.values(), reverse=True)[:5], abs=1e-5)
