"""The API of a provider (OpenAI's, or one that speaks its language): calls, and what its errors mean.

All calls go through the ``openai`` client. Its own retries are off: a call that makes something must not be made twice
by anybody but the one who can find out whether the first one went through.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, TypeVar

from catalog.errors import ShelfmarkError
from classify.engines import retry
from classify.engines.connection import HOPELESS, LONGEST_REASON, check_url

if TYPE_CHECKING:
    import openai

T = TypeVar("T")
_ODD_ANSWERS = (ValueError, TypeError, AttributeError, LookupError, RecursionError)

DEFAULT_URL = "https://api.openai.com/v1"
TRIES = 8
"""How often a call is made that fails in a way that may pass: over two minutes or so."""


class OutageError(ShelfmarkError):
    """The provider cannot be reached, or fails, for longer than is waited. What was asked may have been done.

    Attributes
    ----------
    status : int
        Of HTTP; 0 where there was no answer, 429 where it was not done.
    code : str
        The provider's name for the trouble, where it has one.
    retry_after : float or None
        Seconds that it asks to wait.
    """

    status = 0
    code = ""
    retry_after: float | None = None


class RefusedError(ShelfmarkError):
    """The provider says no to this one call.

    Attributes
    ----------
    status : int
        Of HTTP: 404 where it does not know the object, 400 where it does not like the request.
    code, reason : str
        What it says, without the key.
    """

    def __init__(self, where: str, status: int, code: str, reason: str) -> None:
        super().__init__(f"{where}: HTTP {status}; the provider says: {reason or code or 'nothing'}")
        self.status, self.code, self.reason = status, code, reason


def provider_url(given: str = "") -> str:
    """Return the address of the API: the one given, what ``OPENAI_BASE_URL`` says, or OpenAI's own.

    Raises
    ------
    ShelfmarkError
        When it is none.
    """
    return check_url(given or os.environ.get("OPENAI_BASE_URL", "").strip() or DEFAULT_URL)


def provider_key() -> str:
    """Return the key.

    Raises
    ------
    ShelfmarkError
        When there is none.
    """
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key:
        raise ShelfmarkError("OPENAI_API_KEY is not set: put the provider's key there (export OPENAI_API_KEY=...)")
    if not (key.isascii() and key.isprintable()):
        raise ShelfmarkError("OPENAI_API_KEY: holds signs that no key has; copy it again")
    return key


class Provider:
    """Makes calls.

    Parameters
    ----------
    base_url : str
        Of the API, up to ``/v1``; empty for `provider_url`.
    timeout : float
        Seconds that a call may take to begin to answer.

    Attributes
    ----------
    api : openai.OpenAI
        The client, for `once` and `again`.
    """

    sleep = staticmethod(time.sleep)

    def __init__(self, base_url: str = "", timeout: float = 120.0) -> None:
        import openai

        self.url = provider_url(base_url)
        self._key = provider_key()
        # Nothing goes anywhere else than to this address, whatever it answers, and nothing that it sets comes back.
        none = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        http = openai.DefaultHttpxClient(timeout=timeout, follow_redirects=False, cookies=none)
        self.api = openai.OpenAI(api_key=self._key, base_url=self.url, max_retries=0, timeout=timeout, http_client=http)

    def again(self, call: Callable[[openai.OpenAI], T]) -> T:
        """Make a call that may be made twice; trouble that may pass is waited for.

        Raises
        ------
        RefusedError
            When the provider says no to it.
        ShelfmarkError
            When it would say no to any call: a wrong key, no money.
        OutageError
            When the trouble lasts.
        """
        for tries in range(TRIES):
            try:
                return self.once(call)
            except OutageError as error:
                if tries + 1 == TRIES:
                    raise
                self.sleep(retry.wait(tries, error.retry_after))
        raise AssertionError

    def once(self, call: Callable[[openai.OpenAI], T]) -> T:
        """Make a call once. After an `OutageError` it may have been done, or not.

        Raises
        ------
        RefusedError, ShelfmarkError, OutageError
            As `again`.
        """
        import httpx2
        import openai

        try:
            answer = call(self.api)
        except openai.APIStatusError as error:
            raise self._meaning(error) from None
        # No connection, a timeout, a file that ends too soon, an answer that is none; of one that is not as it should
        # be the client checks nothing, and stumbles anywhere.
        except (openai.APIError, httpx2.HTTPError, *_ODD_ANSWERS) as error:
            raise OutageError(
                f"{self.url}: {self.scrub(str(error))} ({type(error).__name__}); check the network and "
                "OPENAI_BASE_URL; nothing is lost: give the same command again"
            ) from None
        if isinstance(answer, str):  # a page for people, which the client passes on as it is
            raise OutageError(f"{self.url}: no API answers there; check OPENAI_BASE_URL, which mostly ends in /v1")
        return answer

    def scrub(self, text: str) -> str:
        """Return the text on one line, without the key and half signs, which nothing can write, and not too long."""
        text = " ".join(text.replace(self._key, "***").encode("utf-8", "replace").decode().split())
        return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}..."

    def masked(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the same bytes, in other blocks, with ``***`` for the key wherever it stands."""
        key, rest = self._key.encode(), b""
        for block in blocks:
            *before, rest = (rest + block).split(key)
            sure = max(len(rest) - len(key) + 1, 0)  # the key may begin after it, and end in the next block
            yield b"***".join([*before, rest[:sure]])
            rest = rest[sure:]
        yield rest

    def _meaning(self, error: openai.APIStatusError) -> ShelfmarkError:
        """Return what an HTTP error means for whoever called."""
        status, code = error.status_code, str(error.code or "")
        body = error.body if isinstance(error.body, dict) else {}
        reason = self.scrub(str(body.get("message") or error.message))
        if status == 401:
            # What it says echoes a part of the key.
            return ShelfmarkError(f"{self.url}: HTTP 401: the key in OPENAI_API_KEY is not known there; check it")
        if code in HOPELESS or status == 402:
            return ShelfmarkError(
                f"{self.url}: no money is left, the provider says: {reason}; add credit, then give the same command "
                "again: what is paid for is kept"
            )
        if 300 <= status < 400:
            return ShelfmarkError(
                f"{self.url}: HTTP {status}: it sends to another address, where neither the key nor the data are sent; "
                "check OPENAI_BASE_URL"
            )
        if status == 403:
            return ShelfmarkError(f"{self.url}: HTTP 403: this key may not do that; the provider says: {reason}")
        if retry.again(status):
            outage = OutageError(
                f"{self.url}: HTTP {status}: {reason}; nothing is lost: give the same command again later"
            )
            outage.status, outage.code = status, code
            outage.retry_after = retry.retry_after(error.response.headers.get("retry-after"))
            return outage
        return RefusedError(self.url, status, code, reason)
