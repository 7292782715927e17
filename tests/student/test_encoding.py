import numpy as np
import pytest

import student.encoding
from catalog.errors import ShelfmarkError
from rag.encoders import Vectors
from student.encoding import SENTENCE_WEIGHT, ProductEncoder, fold
from student.features import BUCKETS


class Meaning:
    """Stands in for a sentence encoder: two numbers for a text."""

    def encode(self, texts) -> Vectors:
        return Vectors(np.array([[1.0, 0.0] if "milk" in text else [0.0, 1.0] for text in texts], np.float32), None)


@pytest.fixture
def products(make_products):
    return make_products([("Whole MILK", "x", 2.0, "a__b__c__d"), ("rye bread", "", np.nan, "a__b__c__e")])


def test_products_become_a_block(products) -> None:
    block = ProductEncoder.fit(products).encode(products)
    assert (block.raw, block.lines) == (["Whole MILK", "rye bread"], ["whole milk", "rye bread"])
    assert block.retailers.tolist() == [0, -1]
    assert block.encoded.shape == (2, BUCKETS)
    assert not block.training


def test_meaning_stands_behind_the_buckets(products, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student.encoding, "make_encoder", lambda name: Meaning())
    encoder = ProductEncoder.fit(products, "minilm")
    dense = encoder.encode(products).encoded.toarray()
    assert dense.shape == (2, BUCKETS + 2)
    np.testing.assert_allclose(dense[:, BUCKETS:], [[0, SENTENCE_WEIGHT], [0, SENTENCE_WEIGHT]])
    assert encoder.encode_names(["milk"]).toarray()[0, BUCKETS:].tolist() == [np.float32(SENTENCE_WEIGHT), 0]


def test_folding_adds_buckets_up_and_leaves_meaning_alone(products, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student.encoding, "make_encoder", lambda name: Meaning())
    for name, extra in (("ngram", 0), ("minilm", 2)):
        whole = ProductEncoder.fit(products, name).encode(products).encoded
        folded = fold(whole, 256)
        assert folded.shape == (2, 256 + extra)
        added = whole.toarray()[:, :BUCKETS].reshape(2, BUCKETS // 256, 256).sum(axis=1)
        np.testing.assert_allclose(folded.toarray()[:, :256], added, atol=1e-6)
        np.testing.assert_array_equal(folded.toarray()[:, 256:], whole.toarray()[:, BUCKETS:])


def test_an_unknown_encoder_is_refused(products) -> None:
    with pytest.raises(ShelfmarkError, match="--encoder minlm: unknown"):
        ProductEncoder.fit(products, "minlm")
