"""The HTTP client: what is asked of a server and what goes wrong on the way, in words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ... import BackendError, SampleError
from .dialects.dialect import Event
from .events import EventLines
from .options import ClientOptions, is_loopback

if TYPE_CHECKING:
    import httpx2

_FOR_NOW = (429, 502, 503, 504)
_FIRST_PAUSE_S = 0.5
_SHOWN = 300


class RefusedForNow(SampleError):
    """The server did not begin with a request and may do so later.

    Attributes:
        after_s: when, as it says itself.
    """

    after_s: float | None = None


class Transport:
    """Connections to one server, which are kept between requests.

    Args:
        url: of the server, without a path.
        options: time limits and attempts.
        api_key: sent with every request; never part of an error.
    """

    def __init__(self, url: str, options: ClientOptions, api_key: str | None = None) -> None:
        import httpx2

        self.url = url
        self._options, self._key = options, api_key
        self._http = httpx2.AsyncClient(
            base_url=url,
            headers={"Accept-Encoding": "identity", **({"Authorization": f"Bearer {api_key}"} if api_key else {})},
            timeout=httpx2.Timeout(options.silence_timeout_s, connect=options.connect_timeout_s),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
            verify=url.startswith("https:"),  # certificates take a while to read
            trust_env=not is_loopback(url),  # no proxy stands before this machine
        )

    async def get(self, path: str) -> tuple[int, Any]:
        """Return the status of a path and what it answers: JSON where it is, else text.

        Raises:
            BackendError: there is no answer.
        """
        return await self._ask("GET", path, None)

    async def post(self, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        """Ask a path that answers at once, as ``get`` does."""
        return await self._ask("POST", path, body)

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, Any]:
        import httpx2

        try:
            response = await self._http.request(method, path, json=body)
        except httpx2.HTTPError as error:
            raise BackendError(f"{self.url}{path}: {self._reason(error)}", code="no-answer") from error
        if response.has_redirect_location:
            raise BackendError(f"{self.url}{path}: {self._redirect(response)}")
        try:
            return response.status_code, response.json()
        except ValueError:
            return response.status_code, response.text

    async def stream(
        self, path: str, body: Mapping[str, Any], take: Callable[[Event], None], *, is_event_stream: bool
    ) -> int:
        """Ask for an answer and hand over its events as they come; return how many attempts failed before.

        Raises:
            SampleError: it was refused, broke off, fell silent or is not understood.
        """
        for attempt in range(self._options.retries + 1):
            try:
                await self._attempt(path, body, take, is_event_stream)
                return attempt
            except RefusedForNow as refusal:
                if attempt == self._options.retries or (refusal.after_s or 0.0) > self._options.silence_timeout_s:
                    raise
                await asyncio.sleep(_FIRST_PAUSE_S * 2**attempt if refusal.after_s is None else refusal.after_s)
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(
        self, path: str, body: Mapping[str, Any], take: Callable[[Event], None], is_event_stream: bool
    ) -> None:
        import httpx2

        lines = EventLines(is_event_stream=is_event_stream)
        try:
            async with self._http.stream("POST", path, json=body) as response:
                if response.status_code != 200:
                    await response.aread()
                    raise self._refusal(response)
                is_packed = response.headers.get("content-encoding", "identity") != "identity"
                async for data in response.aiter_bytes() if is_packed else response.aiter_raw():
                    for event in lines.feed(data):
                        take(event)
            lines.close()
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise RefusedForNow(f"{self.url}: {self._reason(error)}") from error
        except httpx2.HTTPError as error:
            raise SampleError(f"{self.url}: {self._reason(error)}") from error

    def _refusal(self, response: httpx2.Response) -> SampleError:
        if response.has_redirect_location:
            return SampleError(f"{self.url}: {self._redirect(response)}")
        text = self._clean(" ".join(response.text.split()))[:_SHOWN]
        kind = RefusedForNow if response.status_code in _FOR_NOW else SampleError
        refusal = kind(
            f"{self.url}: HTTP {response.status_code} {response.reason_phrase}" + (f": {text}" if text else "")
        )
        if isinstance(refusal, RefusedForNow):
            refusal.after_s = _seconds(response.headers.get("retry-after"))
        return refusal

    def _redirect(self, response: httpx2.Response) -> str:
        """Say which other address is named; it is not followed, since it may be another server."""
        place = self._clean(response.headers["location"])[:_SHOWN]
        return f"HTTP {response.status_code}: it redirects to {place}; give that address as url"

    def _reason(self, error: httpx2.HTTPError) -> str:
        import httpx2

        match error:
            case httpx2.ConnectTimeout():
                return f"no connection within {self._options.connect_timeout_s:g} s"
            case httpx2.ConnectError():
                return f"no connection: {self._clean(str(error))}"
            case httpx2.TimeoutException():
                return f"nothing came for {self._options.silence_timeout_s:g} s"
            case httpx2.RemoteProtocolError() | httpx2.ReadError():
                return f"the connection broke: {self._clean(str(error)) or type(error).__name__}"
        return f"{type(error).__name__}: {self._clean(str(error))}"

    def _clean(self, text: str) -> str:
        """Take the key out of a text that may quote it."""
        return text.replace(self._key, "***") if self._key else text

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()


def _seconds(header: str | None) -> float | None:
    """Return a waiting time that a server asks for; a date counts as none."""
    return float(header) if header is not None and header.isdecimal() else None
