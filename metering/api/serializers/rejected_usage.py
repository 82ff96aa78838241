"""Refused usage requests as the API shows them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing_site.api.fields import AccountRefField, TimestampField, format_instant
from metering.models import RejectedUsageRequest


class RejectedUsageQuery(serializers.Serializer[Any]):
    account = AccountRefField(required=False)
    code = serializers.CharField(required=False, max_length=50, help_text="Of the request or of one of its findings.")
    start = TimestampField(required=False)
    end = TimestampField(required=False, end=True, help_text="Exclusive; a plain date means the end of that day.")


class RejectedFindingSerializer(serializers.Serializer[Any]):
    """One thing that was wrong."""

    index = serializers.IntegerField(allow_null=True, help_text="Number of the event, from 0; null: the whole request.")
    pointer = serializers.CharField(help_text="JSON pointer into the body that was sent.")
    code = serializers.CharField()
    detail = serializers.CharField()


class RejectedExcerptSerializer(serializers.Serializer[Any]):
    """The beginning of one of the wrong events."""

    index = serializers.IntegerField(allow_null=True, help_text="Null: the beginning of a body that is no JSON.")
    content = serializers.CharField(help_text="At most 1,000 characters as they were sent; secrets are replaced.")


class RejectedUsageSerializer(serializers.Serializer[Any]):
    """A request that recorded nothing. Kept 30 days."""

    id = serializers.CharField()
    rejected_at = TimestampField()
    door = serializers.CharField(help_text="The operation, such as usage_record_batch.")
    account_id = serializers.CharField(allow_null=True)
    account_reference = serializers.CharField(allow_null=True, help_text="What the request called its account.")
    org_id = serializers.CharField(allow_null=True)
    caller = serializers.CharField(help_text="Audience and subject of the token.")
    request_id = serializers.CharField(help_text="The Request-Id of the answer, and `instance` of its problem.")
    status = serializers.IntegerField()
    code = serializers.CharField()
    detail = serializers.CharField()
    event_count = serializers.IntegerField(allow_null=True, help_text="Null where the body could not be read.")
    finding_count = serializers.IntegerField(help_text="How many there were; at most 50 are kept.")
    findings = RejectedFindingSerializer(many=True)
    excerpt = RejectedExcerptSerializer(many=True)
    not_kept = serializers.IntegerField(
        help_text="Further requests of this caller refused in the same minute, of which only the number is kept."
    )


def render_refusal(refusal: RejectedUsageRequest, *, not_kept: int) -> dict[str, Any]:
    """Return a refusal as `RejectedUsageSerializer` describes it. The account must be loaded."""
    return {
        "id": refusal.public_id,
        "rejected_at": format_instant(refusal.rejected_at),
        "door": refusal.door,
        "account_id": refusal.account.public_id if refusal.account is not None else None,
        "account_reference": refusal.account_reference or None,
        "org_id": refusal.org_id or None,
        "caller": refusal.caller,
        "request_id": refusal.request_id,
        "status": refusal.http_status,
        "code": refusal.code,
        "detail": refusal.detail,
        "event_count": refusal.event_count,
        "finding_count": refusal.finding_count,
        "findings": refusal.findings,
        "excerpt": refusal.excerpt,
        "not_kept": not_kept,
    }
