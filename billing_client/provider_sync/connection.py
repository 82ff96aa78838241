"""
Requests to the provider: one key, one API version, retries that cannot do anything twice.

A request is repeated with the same idempotency key when no answer came, or the provider was busy or failed; a repeated
answer is told from a first one, because it may be about something that has changed since.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode

from billing_client import __version__
from billing_client.http import Exchange
from billing_client.provider_sync.errors import ProviderError
from billing_client.provider_sync.forms import encode_form

DEFAULT_API_URL: Final = "https://api.stripe.com"
DEFAULT_API_VERSION: Final = "2026-04-22.dahlia"
PAGE_SIZE: Final = 100
ATTEMPTS: Final = 5
FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 20.0
_BUSY: Final = frozenset({409, 429, 500, 502, 503, 504})
_FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class ProviderAnswer:
    """An answer. `is_replay` says that it was given before, to the first request with the same idempotency key."""

    data: dict[str, Any]
    api_version: str = ""
    is_replay: bool = False


class StripeConnection:
    """A connection to the provider with one secret key. A context manager."""

    def __init__(
        self,
        key: str,
        *,
        api_url: str = DEFAULT_API_URL,
        api_version: str = DEFAULT_API_VERSION,
        timeout: float = 30.0,
        observe: Callable[[Exchange], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        import httpx

        self.api_url = api_url.rstrip("/")
        self._key = key
        self._observe = observe
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=self.api_url,
            timeout=timeout,
            headers={
                "Accept": "application/json",
                "Authorization": f"Bearer {key}",
                "Stripe-Version": api_version,
                "User-Agent": f"billing-client/{__version__}",
            },
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    @property
    def is_live(self) -> bool:
        """Whether the key says of itself that it moves real money."""
        return self._key.startswith(("sk_live_", "rk_live_"))

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> ProviderAnswer:
        """Return the object at `path`. :raises ProviderError:"""
        query = urlencode(encode_form(params or {}))
        return self._request("GET", f"{path}?{query}" if query else path)

    def iterate(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the objects of a list, page by page. :raises ProviderError:"""
        wanted = {**(params or {}), "limit": PAGE_SIZE}
        while True:
            page = self.get(path, wanted).data
            items = page.get("data") or []
            yield from items
            if not items or not page.get("has_more"):
                return
            wanted["starting_after"] = items[-1]["id"]

    def post(self, path: str, form: Mapping[str, Any], *, key: str) -> ProviderAnswer:
        """Create or change an object; `key` makes repeating it harmless. :raises ProviderError:"""
        body = urlencode(encode_form(form)).encode()
        return self._request("POST", path, body, {"Idempotency-Key": key, "Content-Type": _FORM})

    def _request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> ProviderAnswer:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._send(method, path, body, headers or {})
            except _Refused as refused:
                if attempt == ATTEMPTS or not refused.error.retryable:
                    raise refused.error from refused.__cause__
                self._sleep(_compute_wait(refused, attempt))
        raise AssertionError("unreachable")

    def _send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> ProviderAnswer:
        import httpx

        started = time.monotonic()
        try:
            response = self._http.request(method, path, content=body, headers=dict(headers))
        except (httpx.TransportError, httpx.InvalidURL) as error:
            reason = "no answer in time" if isinstance(error, httpx.TimeoutException) else _explain(error)
            text = f"cannot be reached at {self.api_url}: {reason}"
            raise _Refused(ProviderError(text, code="unreachable", retryable=True)) from error
        request_id = response.headers.get("Request-Id", "")
        if self._observe is not None:
            seconds = time.monotonic() - started
            self._observe(Exchange(method, str(response.request.url), response.status_code, seconds, request_id))
        data = _read_json(response.content)
        if response.is_success and data is not None:
            is_replay = _is_replay(response.headers)
            return ProviderAnswer(data, response.headers.get("Stripe-Version", ""), is_replay)
        raise _Refused(self._make_error(response, data or {}), response.headers.get("Retry-After", ""))

    def _make_error(self, response: Any, data: Mapping[str, Any]) -> ProviderError:
        shown = data.get("error")
        error: Mapping[str, Any] = shown if isinstance(shown, dict) else {}
        status = response.status_code
        is_replay = _is_replay(response.headers)
        if status == 401:
            text = "the key was not accepted"  # the provider's words hold parts of it
        else:
            text = str(error.get("message") or f"it answered {status}").replace(self._key, "…")
            if param := error.get("param"):
                text = f"{text} ({param})"
        return ProviderError(
            text,
            status=status,
            code=str(error.get("code") or ""),
            request_id=response.headers.get("Request-Id", ""),
            retryable=not is_replay and _may_pass(status, response.headers.get("Stripe-Should-Retry", "")),
            is_replay=is_replay,
            original_request=response.headers.get("Original-Request", ""),
        )


class _Refused(Exception):
    """A refusal on its way through the retries."""

    def __init__(self, error: ProviderError, retry_after: str = "") -> None:
        super().__init__(str(error))
        self.error = error
        self.retry_after = retry_after


def _may_pass(status: int, advice: str) -> bool:
    """Whether the same request may succeed a moment later; the provider's own advice comes first."""
    if advice in {"true", "false"}:
        return advice == "true"
    return status in _BUSY


def _compute_wait(refused: _Refused, attempt: int) -> float:
    """Return the seconds to wait: what the provider asks for, else twice as long each time and spread out."""
    if refused.retry_after.isascii() and refused.retry_after.isdigit():
        return min(float(refused.retry_after), LONGEST_WAIT)
    return float(min(FIRST_WAIT * 2 ** (attempt - 1), LONGEST_WAIT) * (1 + random.random() / 4))  # noqa: S311 - jitter


def _is_replay(headers: Mapping[str, str]) -> bool:
    return headers.get("Idempotent-Replayed", "").lower() == "true"


def _read_json(content: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(content, parse_float=Decimal)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def _explain(error: Exception) -> str:
    """Return the system's words without its number."""
    return str(error).rpartition("] ")[2] or type(error).__name__
