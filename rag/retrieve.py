"""Neighbours: the most similar labelled products, filtered by retailer and weighed by price."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from catalog.products import Products
from rag.encoders import Vectors
from rag.index import Index, log_prices
from rag.postings import largest

Filter = Literal["retailer", "prefer", "none"]

SHORTLIST = 200  # the most similar, among which price and retailer choose
UNKNOWN_GAP = 0.5  # log price ratio assumed where a price is missing: neither like nor unlike
SCORES = 2**22  # similarities in memory at once, of each thread
THREADS = 8  # at most: each takes some 100 MB

# How a neighbour was found, from the narrowest search to the widest.
FOUND = ("retailer and price", "retailer", "price", "any")


@dataclass
class Shortlist:
    """Candidates of each query with their exact similarity.

    Attributes
    ----------
    rows : ndarray of int64, shape (queries, width)
        Index rows, -1 where there are fewer.
    similarity : ndarray of float32, shape (queries, width)
        Cosines; -inf where the row is -1.
    same_retailer : ndarray of bool, shape (queries, width)
        Whether the row is of the query's retailer.
    """

    rows: NDArray[np.int64]
    similarity: NDArray[np.float32]
    same_retailer: NDArray[np.bool_]


@dataclass
class Neighbours:
    """The k nearest products of each query, nearest first.

    Attributes
    ----------
    rows : ndarray of int64, shape (queries, k)
        Index rows, -1 where the index has fewer.
    similarity : ndarray of float32, shape (queries, k)
        Exact cosines, 0 where the row is -1.
    weight : ndarray of float32, shape (queries, k)
        The similarity times ``exp(-price_weight * |log price ratio|)``: what the order goes by; 0 where the row is -1.
    found : ndarray of int8, shape (queries, k)
        How each was found: a position in `FOUND`.
    """

    rows: NDArray[np.int64]
    similarity: NDArray[np.float32]
    weight: NDArray[np.float32]
    found: NDArray[np.int8]


def shortlist(
    index: Index,
    vectors: Vectors,
    products: Products,
    *,
    filter_by: Filter,
    enough: int,
    price_band: float | None = None,
    width: int = SHORTLIST,
) -> Shortlist:
    """Search the index for each product: its retailer's slice first, then the rest where that is asked for.

    Filtering comes before the search: a slice is searched exhaustively, so a filter never hides a match.

    Parameters
    ----------
    index : Index
        What is searched.
    vectors : Vectors
        The encoded products.
    products : Products
        The queries; their retailers choose the slices.
    filter_by : {'retailer', 'prefer', 'none'}
        ``retailer`` searches the slice alone, ``prefer`` the slice and the whole index, ``none`` the whole index.
    enough : int
        A slice with fewer rows is not enough: the search widens to the whole index.
    price_band : float, optional
        Where fewer than `enough` of the most similar are within this factor of the price, search those that are.
    width : int
        Candidates for each query.
    """
    queries = len(products)
    rows = np.full((queries, width), -1, dtype=np.int64)
    similarity = np.full((queries, width), -np.inf, dtype=np.float32)
    groups: dict[tuple[int, int], list[int]] = {}
    everywhere = (0, len(index))
    for query, retailer in enumerate(products.retailers):
        start, end = index.slices.get(retailer, everywhere) if filter_by != "none" else everywhere
        if end - start < (len(index) if filter_by == "prefer" else enough):
            groups.setdefault((start, end), []).append(query)
            start, end = everywhere
        groups.setdefault((start, end), []).append(query)
    # A small slice comes first: what the widened search finds goes behind it.
    ordered = sorted(groups.items(), key=lambda group: group[0][1] - group[0][0])
    share = width // 2 if filter_by == "prefer" else width

    _ = index.vocabulary, index.text_numbers  # made here, not by each thread

    def search(group: tuple[tuple[int, int], list[int]]) -> list[tuple[NDArray[np.intp], NDArray[np.float32]]]:
        (start, end), members = group
        count = share if end - start < len(index) else width
        return _nearest(index, vectors.take(np.array(members, dtype=np.intp)), start, end, count)

    # One thread for each slice: within one, the same sums in the same order on any machine.
    with threadpool_limits(1), ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        for (_, members), searched in zip(ordered, pool.map(search, ordered), strict=True):
            for query, (found, alike) in zip(members, searched, strict=True):
                have = int((rows[query] >= 0).sum())
                if have:
                    fresh = ~np.isin(found, rows[query, :have])
                    found, alike = found[fresh][: width - have], alike[fresh][: width - have]
                rows[query, have : have + len(found)] = found
                similarity[query, have : have + len(found)] = alike
    if price_band is not None:
        for bounds, members in groups.items():
            if filter_by != "prefer" or bounds == everywhere:
                _add_in_band(index, vectors, products.prices, rows, similarity, bounds, members, enough, price_band)
    starts = np.array([index.slices.get(retailer, (-1, -1)) for retailer in products.retailers]).reshape(-1, 2)
    same = (rows >= starts[:, :1]) & (rows < starts[:, 1:]) & (rows >= 0)
    return Shortlist(rows, similarity, same)


def _nearest(
    index: Index, queries: Vectors, start: int, end: int, count: int
) -> list[tuple[NDArray[np.intp], NDArray[np.float32]]]:
    """Return the `count` rows from `start` to `end` that are most similar to each query, and their similarity."""
    here = index.slice(start, end)
    words = None
    if index.vocabulary is not None and queries.sparse is not None:
        words = index.vocabulary.known(queries.sparse)
    size = max(1, SCORES // len(here))
    found = []
    for first in range(0, len(queries), size):
        part = slice(first, first + size)
        found += here.nearest(queries.dense[part], None if words is None else words[part], count)
    return found


def _similarity(index: Index, vectors: Vectors, query: int, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return the similarity of one query to some rows."""
    found = index.vectors.dense[rows] @ vectors.dense[query]
    if index.vectors.sparse is not None and vectors.sparse is not None:
        found = found + (index.vectors.sparse[rows] @ vectors.sparse[[query]].T).toarray()[:, 0]
    return np.asarray(found, dtype=np.float32)


def _add_in_band(
    index: Index,
    vectors: Vectors,
    prices: NDArray[np.float64],
    rows: NDArray[np.int64],
    similarity: NDArray[np.float32],
    bounds: tuple[int, int],
    queries: list[int],
    enough: int,
    price_band: float,
) -> None:
    """Give those queries that found fewer than `enough` in their price band the most similar that are in it."""
    here = index.log_prices[slice(*bounds)]
    for query, price in zip(queries, log_prices(prices[queries]), strict=True):
        inside = bounds[0] + np.flatnonzero(~_out_of_band(np.abs(here - price), price_band))
        known = np.isin(rows[query], inside)
        missing = np.setdiff1d(inside, rows[query])
        if known.sum() < enough and len(missing):
            count = min(len(missing), len(known) - int(known.sum()))
            alike = _similarity(index, vectors, query, missing)
            best = largest(alike[None], count)[0]
            found = [rows[query, known], missing[best], rows[query, ~known]]
            told = [similarity[query, known], alike[best], similarity[query, ~known]]
            rows[query] = np.concatenate(found)[: len(known)]
            similarity[query] = np.concatenate(told)[: len(known)]


def _out_of_band(gap: NDArray[np.float64], price_band: float) -> NDArray[np.bool_]:
    """Tell which log price ratios are beyond the band; a missing price (NaN) is not."""
    return np.asarray(gap > np.log(price_band) + 1e-9)


def rank(
    index: Index,
    found: Shortlist,
    prices: NDArray[np.float64],
    *,
    k: int,
    filter_by: Filter,
    price_weight: float,
    price_band: float | None = None,
    other_weight: float = 1.0,
) -> Neighbours:
    """Choose the k nearest of a shortlist, by similarity and price.

    Parameters
    ----------
    index : Index
        Where the shortlist comes from.
    found : Shortlist
        Candidates with similarities.
    prices : ndarray of float64, shape (queries,)
        The queries' prices; NaN where they are missing.
    k : int
        Neighbours for each query.
    filter_by : {'retailer', 'prefer', 'none'}
        With ``retailer``, products of other retailers come only after all of the query's own.
    price_weight : float
        How much a difference in price counts: a weight of 0.2 takes 13% off a product of twice the price.
    price_band : float, optional
        A hard filter: only prices within this factor (2 means half to twice), others only where too few are left.
        A missing price is in the band.
    other_weight : float
        With ``prefer``, what the similarity of another retailer's product is multiplied by, at most 1.
    """
    if found.rows.shape[1] < k:
        missing = k - found.rows.shape[1]
        found = Shortlist(
            np.pad(found.rows, ((0, 0), (0, missing)), constant_values=-1),
            np.pad(found.similarity, ((0, 0), (0, missing)), constant_values=-np.inf),
            np.pad(found.same_retailer, ((0, 0), (0, missing))),
        )
    gap = np.abs(index.log_prices[np.maximum(found.rows, 0)] - log_prices(prices)[:, None])
    out_of_band = np.zeros(gap.shape, dtype=np.bool_) if price_band is None else _out_of_band(gap, price_band)
    gap = np.where(np.isfinite(gap), gap, UNKNOWN_GAP)
    absent = found.rows < 0
    similarity = np.where(absent, np.float32(0), np.maximum(found.similarity, 0))
    weight = (similarity * np.exp(-price_weight * gap)).astype(np.float32)
    if filter_by == "prefer":
        weight = np.where(found.same_retailer, weight, weight * np.float32(other_weight))
    own = found.same_retailer if filter_by == "retailer" else np.zeros_like(absent)
    # Stages of widening: own retailer and price band, own retailer, price band, anything; padding last.
    stage = np.where(absent, 4, 2 * ~own + out_of_band)
    order = np.lexsort((found.rows, -weight, stage))[:, :k]
    kind = np.where(own, 0, 2) + (out_of_band | (price_band is None))
    return Neighbours(
        rows=np.take_along_axis(found.rows, order, axis=1),
        similarity=np.take_along_axis(similarity, order, axis=1),
        weight=np.take_along_axis(weight, order, axis=1),
        found=np.take_along_axis(kind, order, axis=1).astype(np.int8),
    )
