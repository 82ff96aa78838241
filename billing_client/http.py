"""
The client of the HTTP API.

Synchronous, one connection pool per client, a context manager. Answers are plain JSON values with exact decimals;
refusals are the exceptions of `billing_client.errors`. Calls that are safe to repeat (GET, and those with an
idempotency key) are tried three times when nothing answers or the service is busy.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

from billing_client import __version__
from billing_client.environment import DEFAULT_API_URL, Environment
from billing_client.errors import BillingError, ConnectionFailed, make_error

if TYPE_CHECKING:
    import httpx

ATTEMPTS: Final = 3
FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 30.0
_BUSY: Final = frozenset({502, 503, 504})

Parameters = Mapping[str, str | int | bool | None]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, as told to `observe`. Never holds headers."""

    method: str
    url: str
    status: int
    seconds: float
    request_id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer. `content` is the raw body, `data` the JSON value (None where it is not JSON)."""

    status: int
    content: bytes
    data: Any
    headers: Mapping[str, str]


class BillingClient:
    """
    A connection to one billing service as one caller.

    Missing values come from the environment: BILLING_API_URL, BILLING_API_TOKEN or BILLING_TOKEN_FILE,
    BILLING_ACCOUNT_ID.
    """

    def __init__(
        self,
        api_url: str | None = None,
        token: str | None = None,
        token_file: str | Path | None = None,
        account: str | None = None,
        timeout: float = 30.0,
        *,
        transport: httpx.BaseTransport | None = None,
        observe: Callable[[Exchange], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        import httpx

        environment = Environment.of_process()
        self.api_url = (api_url or environment.get("BILLING_API_URL") or DEFAULT_API_URL).rstrip("/")
        self.account = account or environment.get("BILLING_ACCOUNT_ID")
        if token is None:
            chosen = token_file or (
                None if environment.get("BILLING_API_TOKEN") else environment.get("BILLING_TOKEN_FILE")
            )
            token = Path(chosen).read_text().strip() if chosen else environment.get("BILLING_API_TOKEN")
        self._observe = observe
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=self.api_url,
            timeout=timeout,
            transport=transport,
            headers={"Accept": "application/json", "User-Agent": f"billing-client/{__version__}"},
        )
        if token:
            self._http.headers["Authorization"] = f"Bearer {token}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # ---- calls ------------------------------------------------------------------------------------------------------
    def get(self, path: str, params: Parameters | None = None) -> Any:
        """Return the JSON value at `path`. Parameters that are None are left out."""
        return self.request("GET", path, params=params).data

    def post(self, path: str, body: object, *, key: str | None = None, params: Parameters | None = None) -> Any:
        """Send `body` as JSON and return the answer; safe to repeat, by `key` or one made for this call."""
        return self.request("POST", path, json_body=body, key=key or str(uuid.uuid4()), params=params).data

    def get_status(self, account: str | None = None) -> Any:
        """Return where an account stands: subscription, features, quota use, what to do next, credit."""
        return self.get("/api/v1/billing/status", {"account": account or self.account})

    def get_agenda(self, account: str, *, until: str | None = None) -> Any:
        """Return what will happen to an account if nobody does anything, up to `until` (a date or time; 90 days)."""
        return self.get(f"/api/internal/billing/accounts/{quote(account, safe='')}/agenda", {"until": until})

    def iterate(self, path: str, params: Parameters | None = None, *, limit: int | None = None) -> Iterator[Any]:
        """Yield the items of a cursor list, page by page, at most `limit`."""
        wanted: dict[str, str | int | bool | None] = dict(params or {})
        left = limit
        while left is None or left > 0:
            wanted["limit"] = 200 if left is None else min(200, left)
            page = self.get(path, wanted)
            items = page.get("items", [])
            yield from items
            left = None if left is None else left - len(items)
            if not items or not page.get("has_more") or not page.get("next_cursor"):
                return
            wanted["cursor"] = page["next_cursor"]

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Parameters | None = None,
        json_body: object = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
        repeatable: bool = False,
    ) -> Answer:
        """
        Send one request and return the answer.

        `repeatable` says that the call may be sent twice although it is neither GET nor keyed (each event of a usage
        batch carries its own key, for example).
        :raises BillingError: one of its kinds, when the answer is not a success or there is none.
        """
        sent = {"Accept": "application/json", **(headers or {})}
        if json_body is not None:
            content = json.dumps(json_body, ensure_ascii=False, default=_encode, separators=(",", ":")).encode()
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        if key is not None:
            sent["Idempotency-Key"] = key
        attempts = ATTEMPTS if repeatable or key is not None or method in {"GET", "HEAD", "PUT"} else 1
        query = {name: _encode_parameter(value) for name, value in (params or {}).items() if value is not None}
        for attempt in range(1, attempts + 1):
            try:
                return self._send(method, path, query, content, sent)
            except BillingError as error:
                wait = _get_wait(error, attempt)
                if attempt == attempts or wait is None:
                    raise
                self._sleep(wait)
        raise AssertionError("unreachable")

    def _send(
        self, method: str, path: str, query: Mapping[str, str], content: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        import httpx

        started = time.monotonic()
        try:
            response = self._http.request(method, path, params=query, content=content, headers=dict(headers))
        except (httpx.TransportError, httpx.InvalidURL) as error:
            reason = "no answer in time" if isinstance(error, httpx.TimeoutException) else _explain(error)
            raise ConnectionFailed(
                f"API cannot be reached at {self.api_url}: {reason}", code="unreachable", retryable=True
            ) from error
        request_id = response.headers.get("X-Request-ID", "")
        if self._observe is not None:
            seconds = time.monotonic() - started
            self._observe(Exchange(method, str(response.request.url), response.status_code, seconds, request_id))
        if response.is_success:
            return Answer(response.status_code, response.content, _read_json(response), response.headers)
        problem = _read_json(response)
        refusal = make_error(response.status_code, problem if isinstance(problem, dict) else {}, request_id=request_id)
        if (after := response.headers.get("Retry-After")) is not None:
            refusal.members["retry_after"] = after
        raise refusal


def account_path(account: str, rest: str) -> str:
    """Return a path below an account, whose reference may hold slashes."""
    return f"/api/v1/billing/tenants/{quote(account, safe='')}/{rest}"


def _explain(error: Exception) -> str:
    """Return the system's words without its number: `[Errno 111] Connection refused` is `Connection refused`."""
    return str(error).rpartition("] ")[2] or type(error).__name__


def _read_json(response: httpx.Response) -> Any:
    if "json" not in response.headers.get("Content-Type", "") or not response.content:
        return None
    try:
        return json.loads(response.content, parse_float=Decimal)
    except ValueError:
        return None


def _encode(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    raise TypeError(f"{type(value).__name__} cannot be sent")


def _encode_parameter(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_passing(error: BillingError) -> bool:
    """Whether the same request may succeed a moment later."""
    if error.status == 429:
        return error.code == "rate_limited"
    return isinstance(error, ConnectionFailed) or error.status in _BUSY or error.code == "idempotency_in_progress"


def _get_wait(error: BillingError, attempt: int) -> float | None:
    """Return how long to wait before trying again, or None where trying again cannot help."""
    if not _is_passing(error):
        return None
    after = _read_retry_after(str(error.members.get("retry_after", "")))
    if after is not None:
        return after if after <= LONGEST_WAIT else None
    # Spread out, so that many clients do not come back at the same moment.
    return float(FIRST_WAIT * 2 ** (attempt - 1) * (1 + random.random() / 4))  # noqa: S311 - jitter, no secret


def _read_retry_after(text: str) -> float | None:
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())
