"""The usage feed: tell an event, page through the events, drop a page that was stored safely."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
from accounts.queries.access import find_account, visible_accounts
from billing_site.api.fields import format_instant
from billing_site.api.idempotency import mark_request
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import internal
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import DomainError, ValidationFailed
from metering.api.refusals import KeepsRefusals
from metering.api.serializers.usage_feed import (
    FeedDeletedSerializer,
    FeedDeleteQuery,
    FeedEventInput,
    FeedEventSerializer,
    FeedPageQuery,
    FeedPageSerializer,
    render_feed_event,
)
from metering.services.export_policy import get_export_rules
from metering.services.usage_feed import NewFeedEvent, delete_page, read_page, record_feed_event

_MAX_CALLER = 300


class UsageFeedViewSet(KeepsRefusals, BillingViewSet):
    """Raw events, for trusted collectors."""

    recording_actions = frozenset({"create"})
    scopes = {
        "list": internal("usage:read"),
        "destroy": internal("usage:delete"),
        "create": internal("billing:usage:write"),
    }
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {"list": [], "destroy": [], "create": []}
    operation_ids = {"list": "usage_event_list", "destroy": "usage_event_delete", "create": "usage_event_record"}
    pagination_class = None

    @extend_schema(parameters=[FeedPageQuery], responses={200: FeedPageSerializer})
    def list(self, request: Request) -> Response:
        """
        Page through raw usage events, ordered by time, then id.

        Keep `before` fixed: read page 1, store it, delete it, until it is empty.
        """
        query = query_serializer(FeedPageQuery, request)
        at = clock.now()
        before = query.get("before") or at
        page = read_page(
            caller=self._name_caller(),
            org_id=self.principal.org,
            before=before,
            page=query["page"],
            page_size=query["page_size"],
            at=at,
        )
        return Response(
            {
                "items": [render_feed_event(event) for event in page.events],
                "page": query["page"],
                "page_size": query["page_size"],
                "before": format_instant(before),
                "has_more": page.has_more,
            }
        )

    @extend_schema(parameters=[FeedDeleteQuery], responses={200: FeedDeletedSerializer})
    def destroy(self, request: Request) -> Response:
        """
        Drop one page of events that the caller has stored safely; billed usage stays.

        The page is selected as in the list, without what arrived since the caller read it. A repeat deletes the next
        page: repeat only after reading again.
        """
        query = query_serializer(FeedDeleteQuery, request)
        deleted = delete_page(
            caller=self._name_caller(),
            org_id=self.principal.org,
            before=query["before"],
            page=query["page"],
            page_size=query["page_size"],
            at=clock.now(),
        )
        return Response({"deleted": deleted})

    @extend_schema(request=FeedEventInput, responses={201: FeedEventSerializer, 200: FeedEventSerializer})
    def create(self, request: Request) -> Response:
        """
        Keep one event of the feed and count what the export rules find in it.

        A repeat of `event_id` answers 200 and counts nothing. What could not be counted is kept, with a warning.
        """
        body = FeedEventInput(data=request.data)
        body.is_valid(raise_exception=True)
        values = body.validated_data
        account, reference = self._find_account(account_reference(request))
        event_id = (values.get("event_id") or "").strip()
        digest, _ = mark_request(request, self.principal)
        recorded = record_feed_event(
            new=NewFeedEvent(
                event_type=values["event_type"],
                org_id=account.org_id if account is not None else self.principal.org or "",
                account=account,
                account_reference=reference,
                event_id=event_id,
                occurred_at=values.get("occurred_at"),
                data=values.get("data") or {},
                numbers=read_numbers(request),
                usage_key=f"request:{digest}" if digest else "",
            ),
            rules=get_export_rules(),
            at=clock.now(account),
            actor=self.actor,
        )
        shown = render_feed_event(recorded.event, warnings=recorded.warnings)
        return Response(shown, status=201 if recorded.created else 200)

    def _find_account(self, reference: str | None) -> tuple[Account | None, str]:
        """
        Return the account an event names, or None and what it is called where it is not known here.

        :raises ValidationFailed: unless it is known or a UUID.
        """
        if not reference:
            return None, ""
        account = find_account(visible_accounts(self.principal), reference)
        if account is not None:
            return account, ""
        try:
            return None, str(UUID(reference))
        except ValueError as error:
            detail = "There is no such account, and it is no UUID."
            raise ValidationFailed.of("/account_id", "unknown_account", detail) from error

    def _name_caller(self) -> str:
        return f"{self.principal.org or ''}:{self.principal.subject}"[:_MAX_CALLER]


def read_numbers(request: Request) -> Mapping[str, Any]:
    """Return the `data` of a body as it was parsed: with exact numbers, which what is stored has not."""
    data = request.data.get("data") if isinstance(request.data, Mapping) else None
    return data if isinstance(data, Mapping) else {}
