from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from catalog.errors import ShelfmarkError
from rag.encoders import HybridEncoder, Progress, Vectors, load_encoder, make_encoder, save_encoder
from rag.ngram import NgramEncoder
from rag.sentence import SentenceEncoder

TEXTS = ["whole milk 2l", "wholemeal bread", "mlk whl", ""]


class Lengths:
    """Stands in for a sentence encoder: two exact dense columns."""

    name = "lengths"

    def fit(self, texts: Sequence[str]) -> None:
        pass

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        turns = np.array([len(text) / 10 for text in texts])
        if progress is not None:
            progress(len(texts))
        return Vectors(np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32), None)

    def save(self, folder: Path) -> None:
        pass

    def load(self, folder: Path) -> None:
        pass


def test_names() -> None:
    assert isinstance(make_encoder("ngram"), NgramEncoder)
    assert make_encoder("mpnet").name == "sentence-transformers/all-mpnet-base-v2"
    assert make_encoder("minilm").name == "sentence-transformers/all-MiniLM-L6-v2"
    assert make_encoder("someone/model").name == "someone/model"
    assert make_encoder("hybrid:mpnet").name == "hybrid:sentence-transformers/all-mpnet-base-v2"


def test_a_folder_is_a_sentence_encoder(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tuned").mkdir()
    monkeypatch.chdir(tmp_path)
    assert isinstance(make_encoder("tuned"), SentenceEncoder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mpnt", r"--encoder mpnt: unknown \(did you mean 'mpnet'\?\); use ngram, mpnet, minilm"),
        ("nram", "did you mean 'ngram'"),
        ("hybrid:minilmm", "--encoder hybrid:minilmm: unknown .*did you mean"),
        ("zzz", "--encoder zzz: unknown; use ngram"),
        ("", "unknown"),
        ("hybrid:", "unknown"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(ShelfmarkError, match=message):
        make_encoder(name)


def test_a_hybrid_is_the_mean_of_two_cosines() -> None:
    lexical, semantic = NgramEncoder(), Lengths()
    hybrid = HybridEncoder(lexical, semantic)
    hybrid.fit(TEXTS)
    told: list[int] = []
    vectors, words = hybrid.encode(TEXTS, told.append), lexical.encode(TEXTS)
    assert sum(told) == len(TEXTS)
    found = (vectors.sparse @ vectors.sparse.T).toarray() + vectors.dense @ vectors.dense.T
    lengths = semantic.encode(TEXTS).dense
    expected = ((words.sparse @ words.sparse.T).toarray() + lengths @ lengths.T) / 2
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found.diagonal()[:3], 1, atol=1e-5)


def test_save_and_load_by_name(tmp_path) -> None:
    encoder = make_encoder("ngram")
    encoder.fit(TEXTS)
    save_encoder(encoder, tmp_path / "model")
    loaded = load_encoder(tmp_path / "model")
    assert loaded.name == "ngram"
    assert (loaded.encode(TEXTS).sparse != encoder.encode(TEXTS).sparse).nnz == 0


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"name": 3}', '{"name": "ngrm"}', None])
def test_a_damaged_encoder(tmp_path, content: str | None) -> None:
    encoder = make_encoder("ngram")
    encoder.fit(TEXTS)
    save_encoder(encoder, tmp_path)
    file = tmp_path / "encoder.json"
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(ShelfmarkError):
        load_encoder(tmp_path)
