import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import rag.ngram
from catalog.errors import ShelfmarkError
from rag.encoders import Vectors
from rag.ngram import FEATURES, LONGEST, NgramEncoder

TEXTS = ["bulmers original cider 500ml", "blmrs orig cdr", "stella artois 4 pack", "own brand whole milk 2l", "milk 2l"]


@pytest.fixture(scope="module")
def encoder() -> NgramEncoder:
    encoder = NgramEncoder()
    encoder.fit(TEXTS)
    return encoder


def same(one: sparse.csr_array, other: sparse.csr_array) -> bool:
    return one.shape == other.shape and (one != other).nnz == 0


def cosines(vectors: Vectors, others: Vectors | None = None) -> np.ndarray:
    others = vectors if others is None else others
    return (vectors.sparse @ others.sparse.T).toarray()


def test_similar_texts_are_near_and_others_far(encoder: NgramEncoder) -> None:
    similarity = cosines(encoder.encode(TEXTS))
    assert similarity[0, 1] > similarity[0, 2]
    assert similarity[3, 4] > 0.3 > similarity[3, 2]


def test_the_leading_word_counts_more(encoder: NgramEncoder) -> None:
    query, same_start, same_end = encoder.encode(["stella milk", "stella cider", "cider milk"]).sparse.toarray()
    fields = query.reshape(2, FEATURES)
    assert np.linalg.norm(fields[1]) / np.linalg.norm(fields[0]) == pytest.approx(0.5, abs=1e-3)
    assert (query * same_start).sum() > (query * same_end).sum()


def test_rare_ngrams_weigh_more_than_common_ones(encoder: NgramEncoder) -> None:
    idf = encoder._idf[0]
    assert idf.shape == (FEATURES,)
    assert idf.max() == pytest.approx(1 + np.log(1 + len(TEXTS)))  # one that never occurs
    assert idf.min() < idf.max()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=30), min_size=1, max_size=6))
def test_vectors_have_unit_length_or_are_zero(encoder: NgramEncoder, texts: list[str]) -> None:
    vectors = encoder.encode(texts)
    assert len(vectors) == len(texts)
    assert vectors.dense.shape == (len(texts), 0)
    assert vectors.sparse.dtype == np.float32
    lengths = sparse.linalg.norm(vectors.sparse, axis=1)
    for text, length in zip(texts, lengths, strict=True):
        assert length == pytest.approx(1, abs=1e-5) if text.strip() else length == 0
    assert cosines(vectors).max(initial=0) <= 1 + 1e-5


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text("abc é5%", max_size=12), min_size=1, max_size=5))
def test_a_text_has_the_same_vector_alone_and_among_others(encoder: NgramEncoder, texts: list[str]) -> None:
    together = encoder.encode(texts)
    for row, text in enumerate(texts):
        alone = encoder.encode([text])
        assert same(alone.sparse, together.sparse[[row]])


def test_case_and_what_is_beyond_the_longest_do_not_count(encoder: NgramEncoder) -> None:
    long = "milk " * 1000
    vectors = encoder.encode(["Whole MILK", "whole milk", long, long[:LONGEST]])
    assert cosines(vectors)[[0, 2], [1, 3]] == pytest.approx(1, abs=1e-5)


def test_a_text_that_comes_twice_is_encoded_once_and_counts_twice(encoder: NgramEncoder) -> None:
    told: list[int] = []
    found = encoder.encode(["milk 2l", *TEXTS, "milk 2l"], told.append).sparse
    assert told == [2, 5]
    assert same(found[[1, 2, 3, 4, 5]], encoder.encode(TEXTS).sparse)
    assert same(found[[0]], found[[5]])
    assert same(found[[0]], found[[6]])
    often = NgramEncoder()
    often.fit([*TEXTS, "milk 2l", "milk 2l"])
    assert (often._idf[0] < encoder._idf[0]).any()


def test_blocks_and_progress(encoder: NgramEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = encoder.encode(TEXTS)
    monkeypatch.setattr(rag.ngram, "BLOCK_ROWS", 2)
    told: list[int] = []
    parts = encoder.encode(TEXTS, told.append)
    assert told == [0, 2, 2, 1]
    assert same(parts.sparse, whole.sparse)
    fitted = NgramEncoder()
    fitted.fit(TEXTS)
    assert all((one == other).all() for one, other in zip(fitted._idf, encoder._idf, strict=True))


def test_take_picks_rows_in_order(encoder: NgramEncoder) -> None:
    vectors = encoder.encode(TEXTS)
    picked = vectors.take(np.array([3, 0]))
    assert same(picked.sparse[[0]], vectors.sparse[[3]])
    assert same(picked.sparse[[1]], vectors.sparse[[0]])


def test_save_and_load(encoder: NgramEncoder, tmp_path) -> None:
    encoder.save(tmp_path)
    loaded = NgramEncoder()
    loaded.load(tmp_path)
    one, other = encoder.encode(TEXTS), loaded.encode(TEXTS)
    assert same(one.sparse, other.sparse)


def test_an_encoder_must_be_fitted() -> None:
    with pytest.raises(ShelfmarkError, match="not fitted"):
        NgramEncoder().encode(["milk"])


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "garbled", "other"])
def test_a_damaged_file(encoder: NgramEncoder, tmp_path, damage: str) -> None:
    encoder.save(tmp_path)
    file = tmp_path / "ngram.npz"
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    elif damage == "other":
        np.savez(file, idf=np.zeros((2, 7), dtype=np.float32))
    else:
        middle = len(content) // 2
        garbled = (
            content[:middle] + bytes(255 - byte for byte in content[middle : middle + 50]) + content[middle + 50 :]
        )
        file.write_bytes({"empty": b"", "cut": content[:middle], "garbled": garbled}[damage])
    with pytest.raises(ShelfmarkError, match=r"ngram\.npz.*fit the model again"):
        NgramEncoder().load(tmp_path)


def test_no_pickle_is_read(tmp_path) -> None:
    np.savez(tmp_path / "ngram.npz", idf=np.array([{"a": 1}, {"b": 2}], dtype=object))
    with pytest.raises(ShelfmarkError, match="damaged"):
        NgramEncoder().load(tmp_path)
