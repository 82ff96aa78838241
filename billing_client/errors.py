"""What can go wrong when speaking to the API, as exceptions a caller can tell apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """One wrong field of a request: where (JSON pointer or parameter name), a stable code, and a sentence."""

    pointer: str
    code: str
    detail: str


class BillingError(Exception):
    """
    The API refused, or could not be asked.

    `status` is the HTTP status, 0 when there was no answer; `code` is the stable machine code; `members` holds what the
    answer carries besides the usual fields, such as `current_status`.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int = 0,
        code: str = "",
        title: str = "",
        request_id: str = "",
        findings: tuple[Finding, ...] = (),
        retryable: bool = False,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code = code
        self.title = title
        self.request_id = request_id
        self.findings = findings
        self.retryable = retryable
        self.members = dict(members or {})


class ConnectionFailed(BillingError):
    """No answer: the address is wrong, nothing listens, or it took too long."""


class AuthError(BillingError):
    """401 or 403: no token, an expired one, or one without the needed scope."""


class NotFound(BillingError):
    """404: unknown, or not visible to the caller."""


class InvalidState(BillingError):
    """409: the object is not in a state that allows this, or something of that name exists."""


class PaymentFailed(BillingError):
    """402: not enough money, or the payment was declined."""


class QuotaExceeded(BillingError):
    """429 because a quota is used up."""


class ProviderUnavailable(BillingError):
    """503: the service, its storage or the payment provider is down; the same request may work later."""


_BY_STATUS: dict[int, type[BillingError]] = {
    401: AuthError,
    402: PaymentFailed,
    403: AuthError,
    404: NotFound,
    409: InvalidState,
    503: ProviderUnavailable,
}
_USUAL = frozenset({"type", "title", "status", "code", "detail", "instance", "errors", "retryable"})


def make_error(status: int, problem: Mapping[str, Any], *, request_id: str = "") -> BillingError:
    """Return the exception for a problem document (RFC 9457); an empty one still says something."""
    code = str(problem.get("code") or "")
    title = str(problem.get("title") or "")
    kind = _BY_STATUS.get(status, BillingError)
    if status == 429 and code != "rate_limited":
        kind = QuotaExceeded
    return kind(
        str(problem.get("detail") or title or f"the service answered {status}"),
        status=status,
        code=code,
        title=title,
        request_id=request_id or str(problem.get("instance") or ""),
        findings=tuple(_read_findings(problem.get("errors"))),
        retryable=problem.get("retryable") is True,
        members={key: value for key, value in problem.items() if key not in _USUAL},
    )


def _read_findings(errors: object) -> list[Finding]:
    if not isinstance(errors, list):
        return []
    return [
        Finding(str(error.get("pointer") or ""), str(error.get("code") or ""), str(error.get("detail") or ""))
        for error in errors
        if isinstance(error, dict)
    ]
