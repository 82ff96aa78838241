"""The agenda of an account as callers ask for it and see it."""

from __future__ import annotations

from typing import Any, get_args

from rest_framework import serializers

from billing_site.api.fields import SignedMoneyField, TimestampField
from invoicing.queries.agenda import AgendaEntry, AgendaKind


class AgendaQuery(serializers.Serializer[dict[str, Any]]):
    until = TimestampField(
        required=False,
        end=True,
        help_text="Up to when, not included; a date includes its day. Default: 90 days from now; at most 400.",
    )


class AgendaEntrySerializer(serializers.Serializer[AgendaEntry]):
    """One thing that will happen. `amount` is minor units: of an invoice its total, else what is left of the money."""

    at = TimestampField()
    kind = serializers.ChoiceField(choices=get_args(AgendaKind))
    subject = serializers.CharField(help_text="Id of what it happens to: subscription, schedule, grant, deposit, hold.")
    text = serializers.CharField(help_text="The same as a sentence.")
    amount = SignedMoneyField(allow_null=True)
    currency = serializers.SerializerMethodField()

    def get_currency(self, entry: AgendaEntry) -> str | None:
        return entry.currency or None


class AgendaSerializer(serializers.Serializer[dict[str, Any]]):
    """What happens in `[start, until)`, in order. What is overdue comes first, at its own instant."""

    account_id = serializers.CharField()
    start = TimestampField()
    until = TimestampField()
    items = AgendaEntrySerializer(many=True)
