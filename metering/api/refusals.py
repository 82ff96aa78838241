"""Usage doors that keep what they refuse."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from accounts.models import Account
from billing_site.api import idempotency
from billing_site.api.params import ACCOUNT_SYNONYMS
from billing_site.api.request_ids import get_request_id
from billing_site.api.views import BillingView
from billing_site.kernel import clock
from billing_site.kernel.actors import Principal
from metering.api.excerpts import MAX_EVENTS, SentEvents, make_excerpt, split_events
from metering.queries.accounts import find_accounts
from metering.services.rejected_usage import Refusal, keep_refusal

logger = logging.getLogger(__name__)

MAX_FINDINGS: Final = 50
_MAX_TEXT: Final = 200
# What concerns the events. The rest is about the caller or the moment, and says nothing about usage that is missing.
_KEPT: Final = frozenset({400, 404, 409, 413, 415, 422})


class KeepsRefusals(BillingView):
    """
    A view whose `recording_actions` keep every request that they refuse, with reasons.

    Kept after the answer is made, in a transaction of its own: what was refused is rolled back by then. A failure to
    keep changes nothing about the answer.
    """

    recording_actions: ClassVar[frozenset[str]] = frozenset()

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Like the base's; refusals are kept before the answer leaves."""
        response = super().dispatch(request, *args, **kwargs)
        if response.status_code in _KEPT:
            try:
                self._keep(response)
            except Exception:  # the caller gets its answer whatever becomes of the note
                logger.exception("a refused usage request could not be kept")
        return response

    def _keep(self, response: HttpResponseBase) -> None:
        request: Request = self.request
        action = getattr(self, "action", None) or (request.method or "").lower()
        principal, problem = request.user, getattr(response, "data", None)
        if action not in self.recording_actions or not isinstance(principal, Principal):
            return
        if not isinstance(problem, Mapping) or problem.get("retryable") or idempotency.REPLAYED in response:
            return
        door, account = self.operation_ids[action], self.kwargs.get("account_id") or ""
        keep_refusal(describe_refusal(request, principal, problem, door=door, account=account), at=clock.now())


def describe_refusal(
    request: Request, principal: Principal, problem: Mapping[str, Any], *, door: str, account: str = ""
) -> Refusal:
    """Return what is kept of a refused request; `account` is what its path names. One query, if an account is named."""
    body = getattr(request._request, "_body", b"") or b""
    sent = split_events(body) if body else None
    errors = problem.get("errors") or []
    findings = tuple(_describe_finding(error, sent) for error in errors[:MAX_FINDINGS])
    codes = tuple({error["code"] for error in errors})
    indexes = _find_offending(errors, sent)
    reference = account or _find_reference(request, sent, indexes)
    found = find_accounts(principal, [reference]).get(reference) if reference else None
    return Refusal(
        door=door,
        caller=f"{principal.audience}:{principal.subject}",
        request_id=get_request_id(request._request),
        http_status=problem["status"],
        code=problem["code"],
        codes=codes,
        detail=problem["detail"],
        account=found,
        account_reference=reference,
        org_id=_name_org(principal, found),
        event_count=None if sent is None else len(sent.raws),
        finding_count=len(errors),
        findings=findings,
        excerpt=make_excerpt(body, sent, indexes, codes),
    )


def _describe_finding(error: Mapping[str, str], sent: SentEvents | None) -> dict[str, Any]:
    return {
        "index": None if sent is None else sent.find(error["pointer"]),
        "pointer": error["pointer"][:_MAX_TEXT],
        "code": error["code"],
        "detail": error["detail"][:_MAX_TEXT],
    }


def _find_offending(errors: list[Mapping[str, str]], sent: SentEvents | None) -> list[int]:
    """Return the numbers of the first wrong events; the first of all where the request as a whole is wrong."""
    if sent is None or not sent.raws:
        return []
    found: dict[int, None] = {}
    for error in errors:
        index = sent.find(error["pointer"])
        if index is not None:
            found[index] = None
        if len(found) == MAX_EVENTS:
            break
    return list(found) or [0]


def _find_reference(request: Request, sent: SentEvents | None, indexes: list[int]) -> str:
    """Return the account that the wrong events name, if they all name the same."""
    if subject := request.headers.get("ce-subject", ""):
        return subject.strip().lower()[:255]
    named = set()
    for index in indexes if sent is not None else ():
        event = sent.read(index) if sent is not None else None
        for word in (*ACCOUNT_SYNONYMS, "subject"):
            value = event.get(word) if isinstance(event, dict) else None
            if isinstance(value, str) and "\0" not in value and value.strip():
                named.add(value.strip().lower()[:255])
                break
    return named.pop() if len(named) == 1 else ""


def _name_org(principal: Principal, account: Account | None) -> str:
    return account.org_id if account is not None else principal.org or ""
