"""What ``classify context`` does: which searches are wanted, what they may cost, and how they went."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from catalog.context import MOST_QUERY
from catalog.errors import ShelfmarkError
from catalog.schema import load_schema
from classify.console import is_quiet
from classify.names import SEARCHES
from classify.progress import bar, silent
from classify.registry import find
from classify.search.base import SearchOptions, SearchProvider, check_key
from classify.search.books import Books, Spent, books_of
from classify.search.queries import Described, Query, distinct, of_files, of_model, of_run
from classify.search.searching import Pace, Searcher, known, mend
from classify.strategies.base import check_options


@dataclass(frozen=True)
class Wanted:
    """What is to be known.

    Attributes
    ----------
    cache : Path
        Where it goes.
    products : sequence of Path
        Files of products.
    schema : str
        Their columns.
    run, below
        A run, and how sure it must be of a product for it to be left out; None for none.
    model, held_out
        A ``rag`` model, and how many of its held-out rows; None for none.
    limit : int or None
        So many searches at most.
    again : bool
        Search again for what failed.
    trust : bool
        Take the model's prompt template and what it names, though neither was given on this machine.
    """

    cache: Path
    products: Sequence[Path]
    schema: str
    run: Path | None = None
    below: float = 0.7
    model: Path | None = None
    held_out: int | None = None
    limit: int | None = None
    again: bool = False
    trust: bool = False


@dataclass(frozen=True)
class _Lookup:
    """All descriptions, and those to search for."""

    all: dict[str, Query]
    cached: dict[str, bool]
    missing: list[Query]

    @property
    def rows(self) -> int:
        return sum(query.rows for query in self.all.values())

    @property
    def here(self) -> int:
        """How many descriptions the cache has."""
        return sum(key in self.cached for key in self.all)


def plan_searches(wanted: Wanted, options: dict[str, Any], cap: float | None) -> str:
    """Return what the searches would take, for people; nothing is asked or written.

    Raises
    ------
    ShelfmarkError
        When a file or an option is wrong, or it could cost more than it may.
    """
    looked = _look_up(wanted)
    spent, provider = Spent.read(books_of(wanted.cache)), _provider(options) if "search" in options else None
    each = _each(provider, options)
    text = (
        f"{looked.rows:,} products, {len(looked.all):,} distinct descriptions, {looked.here:,} of them in "
        f"{wanted.cache}; {len(looked.missing):,} searches"
    )
    costs = [each if provider is None else provider.most(query.text) for query in looked.missing]
    _check_prices(cap, costs, provider)
    dollars = None if None in costs else sum(cost or 0.0 for cost in costs)
    if dollars is None:
        text += "; what they cost is not known: say it with --price-per-1000"
    else:
        text += f", ${dollars:,.4f} at most where each is answered the first time"
    if spent.tries:
        text += f"; ${spent.total(each):,.4f} at most spent before{spent.besides(each)}"
    if cap is not None and dollars is not None and spent.total(each) + dollars > cap + 5e-7:
        raise ShelfmarkError(f"{text}. That is more than --max-cost {cap:g}; take a --limit, or --run RUN --below 0.7")
    return text


def search_all(wanted: Wanted, options: dict[str, Any], cap: float | None, pace: Pace) -> str:
    """Search for what the cache lacks; return how it went, for people.

    Raises
    ------
    ShelfmarkError
        When a file or an option is wrong, it could cost more than it may, or the provider is of no use; what was found
        is kept.
    """
    provider = _provider(options)
    if provider.key_name:
        check_key(provider.key_name)
    wanted.cache.parent.mkdir(parents=True, exist_ok=True)
    each = _each(provider, options)
    with closing(Books(wanted.cache, cap, each)) as books:
        mend(wanted.cache)
        looked = _look_up(wanted)
        costs = [provider.most(query.text) for query in looked.missing]
        _check_prices(cap, costs, provider)
        books.budget.check(sum(cost or 0.0 for cost in costs), f"{len(costs):,} searches")
        before = books.spent.tries

        def told() -> str:
            return f"${books.budget.spent:,.4f}" if None not in costs else ""

        with (silent if is_quiet() else partial(bar, tell=told))("search", len(costs)) as advance:
            searcher = Searcher(provider, wanted.cache, books, pace, advance)
            tally = searcher.search(query.text for query in looked.missing)
        tries = books.spent.tries - before
    cached = known(wanted.cache)
    found = sum(cached.get(key, False) for key in looked.all)
    text = (
        f"{wanted.cache}: {tally.found:,} found, {tally.empty:,} without a result, {tally.failed:,} failed, by "
        f"{tries:,} searches; something is known of {found:,} of {len(looked.all):,} descriptions"
    )
    if books.spent.tries:
        lost = f", ${books.spent.lost:,.4f} of it for searches without an answer" if books.spent.lost else ""
        text += f"; ${books.budget.spent:,.4f} spent on the cache{lost}{books.spent.besides(each)}"
    if tally.failed:
        text += "; --retry-failed searches again for what failed"
    return text


def _each(provider: SearchProvider | None, options: dict[str, Any]) -> float | None:
    """Return what any search may cost, in dollars at most; None where it is not known."""
    if provider is not None:
        return provider.most("x " * (MOST_QUERY // 2))
    fee = options.get("price_per_1000")
    return None if fee is None else fee / 1000


def _check_prices(cap: float | None, costs: Sequence[float | None], provider: SearchProvider | None) -> None:
    """Refuse a bound on what nobody knows the price of."""
    if cap is None or None not in costs:
        return
    tokens = provider is not None and provider.name == "openai"
    what = "its tokens, or of a search" if tokens else "a search"
    raise ShelfmarkError(
        f"--max-cost {cap:g}: the price of {what} is unknown; say with --price-per-1000 what a thousand cost"
        + (", and with --prices FILE what its tokens do" if tokens else "")
    )


def _look_up(wanted: Wanted) -> _Lookup:
    parts: list[Any] = [of_files(wanted.products, load_schema(wanted.schema))]
    if wanted.run is not None:
        parts.append(of_run(wanted.run, wanted.below))
    if wanted.model is not None:
        parts.append(of_model(wanted.model, wanted.held_out, trust=wanted.trust))
    if wanted.cache.suffix != ".jsonl":
        raise ShelfmarkError(f"--out {wanted.cache}: a cache is JSON lines; call it NAME.jsonl")
    described: chain[Described] = chain.from_iterable(parts)
    every = distinct(described)
    cached = known(wanted.cache, again=wanted.again)
    missing = [query for key, query in every.items() if key not in cached]
    return _Lookup(every, cached, missing[: wanted.limit])


def _provider(options: dict[str, Any]) -> SearchProvider:
    """Return who is asked: an address or a file stands for the endpoint that it describes."""
    chosen = check_options(SearchOptions, "context", options)
    described = "://" in chosen.search or chosen.search.endswith(".toml")
    provider: SearchProvider = find("search", SEARCHES, "generic" if described else chosen.search)(chosen)
    return provider
