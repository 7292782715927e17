"""One server over HTTP: its answers, and what its errors mean for whoever asks."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, urlsplit
from urllib.request import getproxies, proxy_bypass

from catalog.errors import ShelfmarkError
from classify.engines import retry
from classify.engines.beside import decode_first
from classify.engines.chat import problem

if TYPE_CHECKING:
    import aiohttp

CONNECT_SECONDS = 10.0
KEPT_SECONDS = 4.0  # vLLM closes an idle connection after five: one that is about to be closed is not used again
OPENAI_KEY = "OPENAI_API_KEY"
BEARER: Mapping[str, str] = MappingProxyType({"Authorization": "Bearer {key}"})
LONGEST_REASON = 300  # characters of what a server says of an error
NO_CONNECTION = "no connection"
TOO_LONG = "too long"
UNPAID = (NO_CONNECTION, "HTTP 429")  # kinds of trouble in which nothing was done; after others an answer may be billed

HOPELESS = ("insufficient_quota", "billing_hard_limit_reached")  # HTTP 429, "later", though later is no better


class ForbiddenError(ShelfmarkError):
    """HTTP 403: the key may not ask this, or a gateway does not let this one request through."""


class TroubleError(Exception):
    """Something that may pass: its kind, what is known of it, and the seconds that the server asks to wait."""

    def __init__(self, kind: str, reason: str = "", retry_after: float | None = None) -> None:
        super().__init__(f"{kind}: {reason}" if reason else kind)
        self.kind, self.retry_after = kind, retry_after


def check_url(url: str) -> str:
    """Return the address of a server.

    Raises
    ------
    ShelfmarkError
        When it is none, or holds a password or a query: it is written into the run's manifest.
    """
    if "@" in url:
        raise ShelfmarkError("--base-url: it holds a user or a password; leave them out and set OPENAI_API_KEY")
    if "?" in url:
        raise ShelfmarkError("--base-url: it holds a query (?); leave it out, and set OPENAI_API_KEY for a key")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ShelfmarkError(f"--base-url {url}: no address like http://localhost:8000/v1")
    return url.rstrip("/")


class Connection:
    """Sends requests to a server; connections are kept and used again.

    Parameters
    ----------
    base_url : str
        Where the server is, up to ``/v1``.
    timeout : float
        Seconds that one request may take.
    key_name : str
        The environment variable that holds the key; empty where none is needed.
    headers : mapping of str to str
        By name, sent where there is a key or the value needs none; ``{key}`` stands for it.
    longest : int or None
        Bytes of an answer at most: a longer one is trouble (`TOO_LONG`), and not read to its end. None for no bound.
    address : str
        What the user has said the address with, for messages.

    Attributes
    ----------
    answered : bool
        Whether anything ever came from there.
    key : str
        The key; empty where there is none.
    """

    def __init__(
        self,
        base_url: str,
        timeout: float,
        *,
        key_name: str = OPENAI_KEY,
        headers: Mapping[str, str] = BEARER,
        longest: int | None = None,
        address: str = "--base-url",
    ) -> None:
        self.url, self.timeout, self.answered = base_url.rstrip("/"), timeout, False
        self.key = os.environ.get(key_name, "").strip() if key_name else ""
        self._key_name, self._headers, self._longest, self._address = key_name, headers, longest, address
        parts = urlsplit(self.url)
        self._proxy = _proxy(parts.scheme, parts.hostname or "")
        self._session: aiohttp.ClientSession
        self._turn: asyncio.Lock

    async def open(self) -> None:
        """Make ready to send; nothing is sent yet."""
        import aiohttp

        self._turn = asyncio.Lock()
        headers = {"Content-Type": "application/json"}
        for name, value in self._headers.items():
            if self.key or "{key}" not in value:
                headers[name] = value.replace("{key}", self.key)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_SECONDS),
            timeout=aiohttp.ClientTimeout(total=self.timeout, sock_connect=CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
        )
        # Of itself aiohttp sends a GET once more where a connection breaks: it may be billed twice, and nobody knows.
        # There is no public way to turn that off.
        self._session._retry_connection = False

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def send(self, method: str, path: str, value: Any = None) -> tuple[int, Any]:
        """Return the status and the body, read as JSON, of an answer that asking again would not change.

        Raises
        ------
        TroubleError
            When it may.
        ForbiddenError
            When this request would get no other, and perhaps none would.
        ShelfmarkError
            When no request would get another: a wrong key, a wrong address.
        """
        status, retry_after, content = await self._exchange(method, path, value)
        # To read an answer takes longer than to send a request. Where many answers come at once, one is read in each
        # turn of the loop, and what its place is given to goes out before the next is read.
        async with self._turn:
            await asyncio.sleep(0)
        try:
            answer = decode_first(content)
        except ValueError:
            if 200 <= status < 300:
                raise TroubleError("no JSON", f"an answer of {len(content)} bytes") from None
            answer = content.decode(errors="replace")
        code, reason = problem(answer)
        where = f"{self.url}{path.partition('?')[0]}"  # what follows may hold anything
        if status in (401, 402, 403) or (status == 429 and code in HOPELESS):
            key = f"the key in {self._key_name}" if self.key else f"{self._key_name or 'the key'}, which is not set"
            kind = ForbiddenError if status == 403 else ShelfmarkError
            raise kind(self.scrub(f"{where}: HTTP {status}; check {key}; the server says: {reason}"))
        if status in (405, 501) or 300 <= status < 400:
            fault = f"HTTP {status}, so this API is not there; check {self._address}"
            raise ShelfmarkError(self.scrub(f"{where}: {fault}"))
        if retry.again(status):
            raise TroubleError(f"HTTP {status}", self.scrub(reason), retry.retry_after(retry_after))
        return status, answer

    async def models(self) -> list[str]:
        """Return the names of the models that the server lists; none where it does not tell."""
        status, answer = await self.send("GET", "/models")
        try:
            return [str(model["id"]) for model in answer["data"]] if status == 200 else []
        except (LookupError, TypeError):
            return []

    def scrub(self, text: str) -> str:
        """Return the text on one line, without the key, and not too long."""
        text = " ".join(self.hide(text).split())
        return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}..."

    def hide(self, text: str) -> str:
        """Return the text without the key, as it is or as it stands in an address."""
        for form in {self.key, quote(self.key), quote(self.key, safe=""), quote_plus(self.key)} if self.key else ():
            text = text.replace(form, "***")
        return text

    async def _exchange(self, method: str, path: str, value: Any) -> tuple[int, str | None, bytes]:
        """Return the status, ``Retry-After`` and the body as it came."""
        import aiohttp

        data = None if value is None else json.dumps(value).encode()
        try:
            async with self._session.request(
                method, self.url + path, data=data, proxy=self._proxy, allow_redirects=False
            ) as response:
                self.answered = True
                asked = response.headers.get("Retry-After")
                if self._longest is None:
                    return response.status, asked, await response.read()
                content = bytearray()
                async for part in response.content.iter_any():
                    content += part
                    if len(content) > self._longest:
                        raise TroubleError(TOO_LONG, f"an answer of more than {self._longest:,} bytes")
                return response.status, asked, bytes(content)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise TroubleError(NO_CONNECTION, self.scrub(_why(error))) from None
        except TimeoutError:
            raise TroubleError("timeout", f"no answer within {self.timeout:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise TroubleError("connection lost", self.scrub(str(error) or type(error).__name__)) from None


def _why(error: Exception) -> str:
    """Return why there is no connection in the system's words; aiohttp's are about its own settings."""
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientSSLError):
        number = error.errno or 0
        return os.strerror(number) if number > 0 else error.strerror or str(error)
    return str(error)


def _proxy(scheme: str, host: str) -> str | None:
    """Return the proxy that the environment names for a host; none for this machine."""
    if host in ("localhost", "127.0.0.1", "::1") or proxy_bypass(host):
        return None
    return getproxies().get(scheme)
