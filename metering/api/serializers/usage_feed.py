"""The usage feed and the export of usage to the payment provider."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from rest_framework import serializers

from accounts.models import Account
from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import AccountRefField, MetadataField, TimestampField, format_instant
from billing_site.api.params import ACCOUNT_SYNONYMS
from metering.models import UsageFeedEvent
from metering.rating.export_rules import DEFAULT_FEATURE, DEFAULT_METER, EVENT_TYPES
from metering.services.usage_feed import FeedPage

MAX_PAGE_SIZE: Final = 10_000
MAX_PAGE: Final = 1_000_000
_WARNING: Final = "What the producer should change; absent when all is well."


class FeedPageQuery(serializers.Serializer[Any]):
    before = TimestampField(
        required=False, end=True, help_text="Events before it; default now. Keep it fixed while paging."
    )
    page = serializers.IntegerField(default=1, min_value=1, max_value=MAX_PAGE, help_text="From 1.")
    page_size = serializers.IntegerField(default=1000, min_value=1, max_value=MAX_PAGE_SIZE)


class FeedDeleteQuery(FeedPageQuery):
    before = TimestampField(end=True, help_text="As the page was read; never ahead of now.")


class FeedEventInput(StrictSerializer):
    """One event of the feed."""

    also_known = ACCOUNT_SYNONYMS

    event_type = serializers.ChoiceField(choices=EVENT_TYPES)
    event_id = serializers.CharField(
        required=False, allow_null=True, allow_blank=True, max_length=255, help_text="Counts once per account."
    )
    account_id = AccountRefField(
        required=False,
        allow_null=True,
        allow_blank=True,
        help_text="Id or external id; a UUID that is not known here is kept, but not billed.",
    )
    occurred_at = TimestampField(required=False, allow_null=True, help_text="Default now; at most 5 minutes ahead.")
    data = MetadataField(required=False, allow_null=True)  # type: ignore[assignment]  # a field, not the property


class FeedEventSerializer(serializers.Serializer[UsageFeedEvent]):
    """One event of the feed. After it was collected its data is empty."""

    id = serializers.IntegerField()
    event_id = serializers.CharField(required=False, help_text="Absent when none was given.")
    occurred_at = TimestampField()
    account_id = serializers.CharField(allow_null=True, help_text="As it was named where it is not known here.")
    event_type = serializers.ChoiceField(choices=EVENT_TYPES)
    data = MetadataField()  # type: ignore[assignment]  # a field, not the property
    warning = serializers.CharField(required=False, help_text=_WARNING)


class FeedPageSerializer(serializers.Serializer[FeedPage]):
    """A page of the feed."""

    items = FeedEventSerializer(many=True)
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()
    before = TimestampField()
    has_more = serializers.BooleanField()


class FeedDeletedSerializer(serializers.Serializer[dict[str, int]]):
    """How many events a page had."""

    deleted = serializers.IntegerField()


class WholeNumberField(serializers.IntegerField):
    """A whole JSON number, `5` or `5.0`; zero and below are left to the door, which has a code for them."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool):
            self.fail("invalid")
        if isinstance(data, Decimal) and data.is_finite() and data.adjusted() < 19 and data == int(data):
            data = int(data)
        value: int = super().to_internal_value(data)
        return value


class UsageExportInput(StrictSerializer):
    """A usage metric in no provider's dialect."""

    also_known = ACCOUNT_SYNONYMS

    event_id = serializers.CharField(required=False, allow_null=True, allow_blank=True, max_length=255)
    account_id = AccountRefField(required=False, help_text="Id or external id. Needed.")
    event_type = serializers.CharField(
        required=False, allow_null=True, allow_blank=True, max_length=100, help_text="A label, for audit only."
    )
    feature = serializers.CharField(required=False, max_length=100, default=DEFAULT_FEATURE)
    meter_event_name = serializers.CharField(required=False, max_length=100, default=DEFAULT_METER)
    quantity = WholeNumberField(
        required=False, allow_null=True, max_value=2**63 - 1, help_text="Above zero; derived from data when missing."
    )
    data = MetadataField(required=False, allow_null=True)  # type: ignore[assignment]  # a field, not the property


class UsageExportSerializer(serializers.Serializer[dict[str, Any]]):
    """What became of a metric."""

    account_id = serializers.CharField()
    meter_event_name = serializers.CharField()
    quantity = serializers.IntegerField()
    idempotency_key = serializers.CharField()
    status = serializers.ChoiceField(
        choices=["exported", "failed", "duplicate"],
        help_text="failed: kept and tried again. duplicate: known before, and nothing was sent now.",
    )
    exported = serializers.BooleanField(help_text="The provider has it.")
    provider = serializers.CharField()
    provider_event_id = serializers.CharField(required=False)
    reason = serializers.CharField(required=False, help_text="Why the provider does not have it.")
    warning = serializers.CharField(required=False, help_text=_WARNING)


def render_feed_event(event: UsageFeedEvent, *, warnings: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return an event as `FeedEventSerializer` describes it. Written by hand: a page has up to 10,000."""
    shown: dict[str, Any] = {"id": event.pk}
    if event.event_id:
        shown["event_id"] = event.event_id
    shown |= {
        "occurred_at": format_instant(event.occurred_at),
        "account_id": _name_account(event.account, event.account_reference),
        "event_type": event.event_type,
        "data": event.data,
    }
    if warnings:
        shown["warning"] = " ".join(warnings)
    return shown


def _name_account(account: Account | None, reference: str) -> str | None:
    return account.public_id if account is not None else reference or None
