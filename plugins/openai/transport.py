"""The HTTP client: what is asked of a server and what goes wrong on the way, in words."""

from __future__ import annotations

import asyncio
import json
import math
import ssl
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from ... import BackendError, SampleError
from .options import ClientOptions, is_loopback

if TYPE_CHECKING:
    import aiohttp

_FOR_NOW = (429, 502, 503, 504)
_FIRST_PAUSE_S = 0.5
_SLACK = 1.1
"""By how much silence may last longer than its limit, so that few pieces of an answer have to move the alarm."""
_SHOWN = 300


class RefusedForNow(SampleError):
    """The server did not begin with a request and may do so later.

    Attributes:
        after_s: when, as it says itself.
    """

    code = "server-busy"
    after_s: float | None = None


class Transport:
    """Connections to one server, which are kept between requests.

    Args:
        url: of the server, without a path.
        options: time limits and attempts.
        api_key: sent with every request; never part of an error.
    """

    def __init__(self, url: str, options: ClientOptions, api_key: str | None = None) -> None:
        self.url = url
        self._options, self._key = options, api_key

    @cached_property
    def _http(self) -> aiohttp.ClientSession:
        """The connections, of the event loop that runs when they are first asked for."""
        import aiohttp

        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=_certificates() if self.url.startswith("https:") else True),
            headers={"Accept-Encoding": "identity", **({"Authorization": f"Bearer {self._key}"} if self._key else {})},
            timeout=aiohttp.ClientTimeout(connect=self._options.connect_timeout_s),
            proxy=_proxy(self.url),
        )

    async def get(self, path: str, most_s: float = math.inf) -> tuple[int, Any]:
        """Return the status of a path and what it answers: JSON where it is, else text.

        Args:
            path: what is asked for.
            most_s: longest wait, where that is less than for an answer.

        Raises:
            BackendError: there is no answer.
        """
        return await self._ask("GET", path, None, most_s)

    async def post(self, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        """Ask a path that answers at once, as ``get`` does."""
        return await self._ask("POST", path, body, math.inf)

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None, most_s: float) -> tuple[int, Any]:
        import aiohttp

        try:
            async with (
                asyncio.timeout(min(most_s, self._options.silence_timeout_s)),
                await self._answer(method, path, body) as response,
            ):
                text = await response.text(errors="replace")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise BackendError(f"{self.url}{path}: {self._reason(error)}", code="no-answer") from error
        if _is_redirection(response):
            raise BackendError(f"{self.url}{path}: {self._redirection(response)}", code="server-error")
        try:
            return response.status, json.loads(text)
        except ValueError:
            return response.status, text

    async def _answer(self, method: str, path: str, body: Mapping[str, Any] | None) -> aiohttp.ClientResponse:
        """Send a request and return what answers it, as far as its headers."""
        await asyncio.sleep(0)  # the loop may have stood still: connections that were closed meanwhile are seen first
        return await self._http.request(method, self.url + path, json=body, allow_redirects=False)

    async def stream(self, path: str, body: Mapping[str, Any], take: Callable[[bytes | int], None]) -> None:
        """Ask for an answer and hand over its bytes as they come, and how many attempts have failed after each one.

        Raises:
            SampleError: it was refused, broke off or fell silent.
        """
        for attempt in range(self._options.retries + 1):
            try:
                return await self._attempt(path, body, take)
            except RefusedForNow as refusal:
                if attempt == self._options.retries or (refusal.after_s or 0.0) > self._options.silence_timeout_s:
                    raise
                take(attempt + 1)
                await asyncio.sleep(_FIRST_PAUSE_S * 2**attempt if refusal.after_s is None else refusal.after_s)

    async def _attempt(self, path: str, body: Mapping[str, Any], take: Callable[[bytes | int], None]) -> None:
        import aiohttp

        limit_s, now = self._options.silence_timeout_s, asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(limit_s) as silence, await self._answer("POST", path, body) as response:
                if response.status != 200:
                    raise self._refusal(response, await response.text(errors="replace"))
                while data := await response.content.readany():
                    take(data)
                    if (silence.when() or 0.0) - now() < limit_s and not _is_comment(data):
                        silence.reschedule(now() + _SLACK * limit_s)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise RefusedForNow(f"{self.url}: {self._reason(error)}", code="server-lost") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise SampleError(f"{self.url}: {self._reason(error)}", code="server-lost") from error

    def _refusal(self, response: aiohttp.ClientResponse, text: str) -> SampleError:
        if _is_redirection(response):
            return SampleError(f"{self.url}: {self._redirection(response)}", code="server-error")
        text = self.clean(" ".join(text.split()))[:_SHOWN]
        words = f"{self.url}: HTTP {response.status} {response.reason}" + (f": {text}" if text else "")
        if response.status not in _FOR_NOW:
            return SampleError(words, code="server-error")
        refusal = RefusedForNow(words)
        refusal.after_s = _seconds(response.headers.get("retry-after"), response.headers.get("date"))
        return refusal

    def _redirection(self, response: aiohttp.ClientResponse) -> str:
        """Say which other address is named; it is not followed, since it may be another server."""
        place = self.clean(response.headers["location"])[:_SHOWN]
        return f"HTTP {response.status}: it redirects to {place}; give that address as url"

    def _reason(self, error: Exception) -> str:
        import aiohttp
        from aiohttp.http_exceptions import ContentEncodingError

        match error:
            case aiohttp.ConnectionTimeoutError():
                return f"no connection within {self._options.connect_timeout_s:g} s"
            case aiohttp.ClientConnectorError():
                return f"no connection: {self.clean(str(error))}"
            case aiohttp.ClientPayloadError(__cause__=ContentEncodingError()):
                return f"the answer cannot be unpacked: {self.clean(str(error.__cause__))}"
            case TimeoutError():
                return f"nothing came for {self._options.silence_timeout_s:g} s"
            case aiohttp.ClientOSError() | aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError():
                return f"the connection broke: {self.clean(str(error)) or type(error).__name__}"
        return f"{type(error).__name__}: {self.clean(' '.join(str(error).split()))[:_SHOWN]}"

    def clean(self, text: str) -> str:
        """Take the key out of a text that may quote it."""
        return text.replace(self._key, "***") if self._key else text

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()
        await asyncio.sleep(0)  # sockets are closed in the loop's next turn, and it may have no other one


def _proxy(url: str) -> str | None:
    """Return the proxy that the environment names for an address; none stands before this machine."""
    parts = urlsplit(url)
    if is_loopback(url) or proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def _certificates() -> ssl.SSLContext | bool:
    """Return what a server's certificate is checked against: the system's, which Python finds by itself on Linux."""
    if sys.platform == "linux":
        return True
    import truststore

    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _is_comment(data: bytes) -> bool:
    """Whether bytes of a stream are comments alone, which keep a connection open and are no piece of an answer."""
    lines = [line for line in data.splitlines() if line]
    return bool(lines) and all(line.startswith(b":") for line in lines)


def _is_redirection(response: aiohttp.ClientResponse) -> bool:
    return response.status in (301, 302, 303, 307, 308) and "location" in response.headers


def _seconds(header: str | None, now: str | None) -> float | None:
    """Return a waiting time that a server asks for, in seconds or as a date by its own clock, which ``now`` has."""
    if header is None or header.isdecimal():
        return None if header is None else float(header)
    until, since = _moment(header), _moment(now or "") or datetime.now(UTC)
    return None if until is None else max(0.0, (until - since).total_seconds())


def _moment(date: str) -> datetime | None:
    """Return a date of HTTP; None for anything else."""
    try:
        found = parsedate_to_datetime(date)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
