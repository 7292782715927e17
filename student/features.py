"""Product text as a sparse vector of hashed substrings, made a block at a time with array operations.

Every substring that matters (character n-grams, words, pairs of words, beginnings of the text) is hashed in constant
time from prefix sums of a polynomial hash (Karp and Rabin, 1987), so that no Python loop runs over characters. The
same is done for the text without its vowels, which is how receipts abbreviate ("katoomba" -> "ktmba"). Substrings are
weighted by TF-IDF and land in a fixed number of signed buckets (Weinberger et al., 2009).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

BUCKETS = 1 << 15
IDF_SLOTS = 1 << 20
LONGEST_TEXT = 2000  # characters read of one product; more tell nothing new and would slow the whole block down
BLOCK_ROWS = 4096

STEM = 5  # characters: enough to tell words apart, few enough to forget endings
PAIR_REACH = 9  # words
PAIR_WEIGHT = 2.0

PRICE_WEIGHT = 0.45  # of the exact price, beside text of length 1: a range of products often shares one price
PRICE_BIN_WEIGHT = 0.2
RETAILER_WEIGHT = 0.3

_MULTIPLIER = 0x9E3779B97F4A7C15
_INVERSE = pow(_MULTIPLIER, -1, 1 << 64)
_SPACE, _NEWLINE = 32, 10

Hashes = NDArray[np.uint64]
Rows = NDArray[np.int64]
Matrix = Any  # a scipy.sparse.csr_matrix of float32


def normalise(texts: Sequence[str]) -> list[str]:
    """Lower the case, drop apostrophes and points inside words, and turn other punctuation into single spaces."""
    blob = "\n".join(text[:LONGEST_TEXT].replace("\n", " ") for text in texts).lower()
    blob = re.sub(r"(?<=\w)['’.](?=\w)", "", blob)
    blob = re.sub(r"[^\w\n]+", " ", blob)
    return [line.strip() for line in blob.split("\n")]


def skeletons(lines: Sequence[str]) -> list[str]:
    """Drop the vowels and doubled letters that follow the first letter of a word (of normalised text)."""
    return re.sub(r"(?<=\w)[aeiou]+|(?<=\w)(\w)(?=\1)", "", "\n".join(lines)).split("\n")


def _mix(values: Hashes) -> Hashes:
    """Spread the bits of `values` (the finaliser of MurmurHash3)."""
    values = values ^ (values >> np.uint64(33))
    values *= np.uint64(0xFF51AFD7ED558CCD)
    values ^= values >> np.uint64(33)
    values *= np.uint64(0xC4CEB9FE1A85EC53)
    values ^= values >> np.uint64(33)
    return values


class _Substrings:
    """Hashes of substrings of many lines, each line framed by one space on either side."""

    def __init__(self, lines: Sequence[str]) -> None:
        codes = np.frombuffer("".join(f" {line} \n" for line in lines).encode("utf-32-le", "replace"), dtype=np.uint32)
        size = len(codes)
        newline = codes == _NEWLINE
        powers = np.full(size + 1, _MULTIPLIER, dtype=np.uint64)
        powers[0] = 1
        powers = np.multiply.accumulate(powers)
        self.inverse = np.full(size + 1, _INVERSE, dtype=np.uint64)
        self.inverse[0] = 1
        self.inverse = np.multiply.accumulate(self.inverse)
        self.sums = np.zeros(size + 1, dtype=np.uint64)
        np.cumsum((codes.astype(np.uint64) + np.uint64(1)) * powers[:-1], out=self.sums[1:])
        self.row = np.cumsum(newline) - newline
        self.newline = newline
        self.blank = (codes == _SPACE) | newline
        self.blanks_before = np.concatenate([[0], np.cumsum(self.blank)])
        ends = np.flatnonzero(newline)
        self.starts = np.concatenate([[0], ends[:-1] + 1]) + 1  # after the leading space
        self.lengths = ends - 1 - self.starts
        self.word_starts = np.flatnonzero(self.blank[:-1] & ~self.blank[1:]) + 1
        self.word_ends = np.flatnonzero(~self.blank[:-1] & self.blank[1:]) + 1
        self.word_rows = self.row[self.word_starts]

    def hash(self, start: Rows, end: Rows, kind: int) -> Hashes:
        """Hash the characters from `start` to before `end`; equal substrings of one `kind` get equal hashes."""
        value = (self.sums[end] - self.sums[start]) * self.inverse[start]
        return _mix(value + np.uint64(kind * 0x632BE59BD9B4E019 % (1 << 64)))

    def grams(self, length: int, kind: int) -> tuple[Rows, Hashes]:
        """Character n-grams inside words, with the space before and after the word."""
        start = np.arange(max(len(self.row) - length + 1, 0))
        end = start + length
        whole = (self.blanks_before[end - 1] == self.blanks_before[start + 1]) & ~self.newline[start]
        whole &= ~self.newline[end - 1]
        start, end = start[whole], end[whole]
        return self.row[start], self.hash(start, end, kind)

    def words(self, kind: int) -> tuple[Rows, Hashes]:
        """Words."""
        return self.word_rows, self.hash(self.word_starts, self.word_ends, kind)

    def word_pairs(self, kind: int) -> tuple[Rows, Hashes]:
        """Pairs of word stems up to `PAIR_REACH` words apart, in either order: what one word means beside another."""
        stems = self.hash(self.word_starts, np.minimum(self.word_ends, self.word_starts + STEM), kind)
        rows, hashes = [self.word_rows[:0]], [stems[:0]]
        for apart in range(1, min(PAIR_REACH, len(stems) - 1) + 1):
            both = self.word_rows[:-apart] == self.word_rows[apart:]
            rows.append(self.word_rows[:-apart][both])
            hashes.append(_mix(stems[:-apart][both] + stems[apart:][both]))
        return np.concatenate(rows), np.concatenate(hashes)

    def beginnings(self, longest: int, kind: int) -> tuple[Rows, Hashes]:
        """The first 1 to `longest` characters of each line: brands stand there."""
        rows, hashes = [], []
        for length in range(1, longest + 1):
            row = np.flatnonzero(self.lengths >= length)
            rows.append(row)
            hashes.append(self.hash(self.starts[row], self.starts[row] + length, kind))
        return np.concatenate(rows), np.concatenate(hashes)


def _text_hashes(lines: Sequence[str]) -> tuple[Rows, Hashes, NDArray[np.float32]]:
    """Return the row, the hash and the weight of every substring."""
    plain, bare = _Substrings(lines), _Substrings(skeletons(lines))
    families = [
        (plain.grams(3, 1), 1.0),
        (plain.grams(4, 2), 1.0),
        (plain.words(3), 1.0),
        (plain.word_pairs(4), PAIR_WEIGHT),
        (plain.beginnings(10, 5), 1.0),
        (bare.grams(3, 8), 1.0),
        (bare.words(6), 1.0),
        (bare.beginnings(8, 7), 1.0),
    ]
    weights = [np.full(len(rows), weight, dtype=np.float32) for (rows, _), weight in families]
    rows = np.concatenate([rows for (rows, _), _ in families])
    return rows, np.concatenate([hashes for (_, hashes), _ in families]), np.concatenate(weights)


def _side_hashes(values: NDArray[np.int64], kind: int) -> Hashes:
    return _mix(values.astype(np.uint64) * np.uint64(_MULTIPLIER) + np.uint64(kind))


def cents(prices: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return prices in hundredths, -1 where unknown."""
    known = np.isfinite(prices)
    return np.where(known, np.round(np.where(known, prices, 0).clip(0, 1e8) * 100), -1).astype(np.int64)


@dataclass
class Encoder:
    """Turns products into sparse vectors.

    Attributes
    ----------
    idf : ndarray of float32, shape (IDF_SLOTS,)
        The inverse document frequency of each slot of substrings in the training rows (natural logarithm, smoothed).
    """

    idf: NDArray[np.float32]

    @classmethod
    def fit(cls, texts: Sequence[str]) -> Encoder:
        """Count in how many of `texts` each slot of substrings occurs."""
        found = np.zeros(IDF_SLOTS, dtype=np.int64)
        for start in range(0, len(texts), BLOCK_ROWS):
            rows, hashes, _ = _text_hashes(normalise(texts[start : start + BLOCK_ROWS]))
            slots = (hashes & np.uint64(IDF_SLOTS - 1)).astype(np.int64)
            found += np.bincount(np.unique(rows * IDF_SLOTS + slots) % IDF_SLOTS, minlength=IDF_SLOTS)
        return cls((np.log((1 + len(texts)) / (1 + found)) + 1).astype(np.float32))

    def encode(self, lines: Sequence[str], prices: NDArray[np.float64], retailers: NDArray[np.int64]) -> Matrix:
        """Encode a block of rows.

        Parameters
        ----------
        lines : sequence of str
            Normalised text (`normalise`).
        prices : ndarray of float64, shape (rows,)
            NaN where unknown.
        retailers : ndarray of int64, shape (rows,)
            The retailer's number, -1 where unknown.

        Returns
        -------
        csr_matrix of float32, shape (rows, BUCKETS)
            The text part of a row has length 1 (0 for empty text); the price and the retailer add a little. A bucket
            may occur twice in a row; its values add up.
        """
        count = len(lines)
        rows, hashes, weights = _text_hashes(lines)
        order = np.argsort(rows * IDF_SLOTS + (hashes & np.uint64(IDF_SLOTS - 1)).astype(np.int64))
        rows, hashes, weights = rows[order], hashes[order], weights[order]
        new = np.ones(len(rows), dtype=bool)
        new[1:] = (rows[1:] != rows[:-1]) | (hashes[1:] != hashes[:-1])
        first = np.flatnonzero(new)
        times = np.diff(np.append(first, len(rows)))
        rows, hashes = rows[first], hashes[first]
        weights = weights[first] * (1 + np.log(times)) * self.idf[(hashes & np.uint64(IDF_SLOTS - 1)).astype(np.int64)]
        lengths = np.sqrt(np.bincount(rows, weights * weights, minlength=count))
        weights /= np.maximum(lengths, 1e-9)[rows]

        price = np.flatnonzero(np.isfinite(prices))
        bins = np.log(np.maximum(prices[price], 0.01)) * 4
        shop = np.flatnonzero(retailers >= 0)
        side = [
            (price, _side_hashes(cents(prices[price]), 11), PRICE_WEIGHT),
            (price, _side_hashes(np.floor(bins).astype(np.int64), 12), PRICE_BIN_WEIGHT),
            (price, _side_hashes(np.floor(bins + 0.5).astype(np.int64), 13), PRICE_BIN_WEIGHT),
            (shop, _side_hashes(retailers[shop], 14), RETAILER_WEIGHT),
        ]
        rows = np.concatenate([rows, *(row for row, _, _ in side)])
        hashes = np.concatenate([hashes, *(value for _, value, _ in side)])
        weights = np.concatenate([weights, *(np.full(len(row), weight) for row, _, weight in side)])

        buckets = ((hashes >> np.uint64(32)) & np.uint64(BUCKETS - 1)).astype(np.int32)
        signed = np.where((hashes >> np.uint64(60)) & np.uint64(1), weights, -weights).astype(np.float32)
        order = np.argsort(rows, kind="stable")
        pointers = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))])
        return sp.csr_matrix((signed[order], buckets[order], pointers), shape=(count, BUCKETS))
