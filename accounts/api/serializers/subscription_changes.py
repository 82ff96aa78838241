"""Changes of a subscription as callers ask for them, and what they would come to."""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from accounts.api.serializers.subscriptions import INTERVALS, SubscriptionSerializer
from accounts.api.serializers.unused_time import UnusedTimeNoteSerializer
from accounts.models import CollectionMethod, Subscription
from billing_site.api.bodies import StrictSerializer
from billing_site.api.fields import (
    CurrencyField,
    DecimalStringField,
    MetadataField,
    MoneyField,
    SignedMoneyField,
    TimestampField,
)
from invoicing.calculation.draft import Draft, DraftLine
from invoicing.models import LineType
from invoicing.services.changes import ChangeOutcome, ChangeRequest

_WHEN: Final = ("immediate", "period_end")
_BEHAVIORS: Final = ("always_invoice", "create_prorations", "none")
_DIRECTIONS: Final = ("upgrade", "downgrade", "equal")
_TERMS: Final = ("plan_id", "quantity", "interval")
_HOW: Final = ("effective", "proration_behavior", "prorate")


class _ChangeInput(StrictSerializer):
    """Terms (plan, quantity, interval), how they take effect, and settings."""

    plan_id = serializers.CharField(required=False, max_length=100)
    quantity = serializers.IntegerField(required=False, min_value=1, max_value=2_147_483_647)
    interval = serializers.ChoiceField(choices=INTERVALS, required=False)
    effective = serializers.ChoiceField(
        choices=_WHEN, required=False, help_text="Default: at once for a dearer plan, period_end for a cheaper one."
    )
    proration_behavior = serializers.ChoiceField(
        choices=_BEHAVIORS, required=False, help_text="Default: always_invoice for a change at once."
    )
    prorate = serializers.BooleanField(
        required=False, help_text="Short form: true is create_prorations, false is none."
    )
    default_payment_method = serializers.CharField(
        required=False, allow_null=True, max_length=100, help_text="Id; null: the default of the account."
    )
    collection_method = serializers.ChoiceField(choices=CollectionMethod.choices, required=False)
    billing_threshold = MoneyField(
        required=False, allow_null=True, positive=True, help_text="Invoice early past this running total; null: never."
    )
    metadata = MetadataField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse two answers to one question, and an answer without the question."""
        if "prorate" in attrs:
            behavior = "create_prorations" if attrs["prorate"] else "none"
            if attrs.get("proration_behavior", behavior) != behavior:
                text = "prorate and proration_behavior contradict each other."
                raise serializers.ValidationError({"prorate": ErrorDetail(text, "contradiction")})
            attrs["proration_behavior"] = behavior
        return attrs


class SubscriptionUpdateInput(_ChangeInput):
    needs_one = True

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse how without what."""
        asked = [name for name in _HOW if name in attrs]
        if asked and not any(name in attrs for name in _TERMS):
            text = "Name what changes: plan_id, quantity or interval."
            raise serializers.ValidationError({asked[0]: ErrorDetail(text, "nothing_changes")})
        return super().validate(attrs)


class ChangePlanInput(_ChangeInput):
    plan_id = serializers.CharField(required=False, max_length=100, help_text="Needed; may be in the query string.")
    new_plan_id = serializers.CharField(required=False, max_length=100, help_text="Another word for plan_id.")
    preview = serializers.BooleanField(default=False, help_text="Answer what it would come to; nothing changes.")


class ChangePlanQuery(serializers.Serializer[dict[str, Any]]):
    plan_id = serializers.CharField(required=False, max_length=100, help_text="Instead of in the body.")
    new_plan_id = serializers.CharField(required=False, max_length=100, help_text="Another word for plan_id.")


class ChangeLineSerializer(serializers.Serializer[DraftLine]):
    """A line that the change would bill."""

    type = serializers.ChoiceField(choices=LineType.choices)
    description = serializers.CharField()
    plan_id = serializers.CharField(source="charge.plan_id")
    period_start = TimestampField(source="period.start")
    period_end = TimestampField(source="period.end")
    quantity = DecimalStringField()
    amount = SignedMoneyField(help_text="Below zero for unused time that is given back.")
    share = serializers.SerializerMethodField(help_text="The share of a whole period, such as 16/31 days.")

    def get_share(self, line: DraftLine) -> str | None:
        return None if line.charge.share is None else line.charge.share.text


class ChangePreviewSerializer(serializers.Serializer[ChangeOutcome]):
    """
    What a change would come to.

    Lines are billed at once with always_invoice and wait for the next invoice with create_prorations; with none, and at
    the period's end, there are none. A negative total becomes invoice credit. What a cheaper plan that is billed at
    once gives back of a paid invoice is a credit note.
    """

    direction = serializers.ChoiceField(choices=_DIRECTIONS, allow_null=True, source="plan.direction", default=None)
    when = serializers.ChoiceField(
        choices=_WHEN, allow_null=True, source="plan.when", default=None, help_text="Null: nothing would change."
    )
    effective_at = TimestampField(allow_null=True, source="plan.effective_at", default=None)
    proration_behavior = serializers.ChoiceField(
        choices=_BEHAVIORS, allow_null=True, source="plan.timing.proration_behavior", default=None
    )
    lines = serializers.SerializerMethodField()
    credit_notes = UnusedTimeNoteSerializer(many=True, source="notes")
    subtotal = serializers.SerializerMethodField()
    discount = serializers.SerializerMethodField()
    tax = serializers.SerializerMethodField()
    total = serializers.SerializerMethodField()
    amount_due = serializers.SerializerMethodField(help_text="To pay at once, minor units.")
    currency = CurrencyField(source="subscription.currency")

    @extend_schema_field(ChangeLineSerializer(many=True))
    def get_lines(self, outcome: ChangeOutcome) -> list[dict[str, Any]]:
        draft = _get_draft(outcome)
        return [] if draft is None else [dict(ChangeLineSerializer(line).data) for line in draft.lines]

    def get_subtotal(self, outcome: ChangeOutcome) -> int:
        draft = _get_draft(outcome)
        return 0 if draft is None else draft.subtotal

    def get_discount(self, outcome: ChangeOutcome) -> int:
        draft = _get_draft(outcome)
        return 0 if draft is None else draft.discount

    def get_tax(self, outcome: ChangeOutcome) -> int:
        draft = _get_draft(outcome)
        return 0 if draft is None else draft.tax

    def get_total(self, outcome: ChangeOutcome) -> int:
        draft = _get_draft(outcome)
        return 0 if draft is None else draft.total

    def get_amount_due(self, outcome: ChangeOutcome) -> int:
        settled = outcome.settled
        return 0 if settled is None or settled.invoice is None else settled.invoice.amount_due


class ChangedSubscriptionSerializer(SubscriptionSerializer):
    """The subscription, and with `preview` what the change would come to."""

    preview = ChangePreviewSerializer(
        required=False, help_text="Of a preview only: the subscription is as it would be."
    )

    def to_representation(self, instance: Subscription) -> dict[str, Any]:
        shown = super().to_representation(instance)
        outcome: ChangeOutcome | None = self.context.get("outcome")
        return shown if outcome is None else {**shown, "preview": ChangePreviewSerializer(outcome).data}


def make_request(values: dict[str, Any]) -> ChangeRequest | None:
    """Take the terms out of a validated body and return them; None when it names none. Settings stay in it."""
    terms = {name: values.pop(name, None) for name in (*_TERMS, "effective", "proration_behavior")}
    values.pop("prorate", None)
    if all(terms[name] is None for name in _TERMS):
        return None
    return ChangeRequest(
        plan_key=terms["plan_id"],
        quantity=terms["quantity"],
        interval=terms["interval"],
        effective=terms["effective"],
        proration_behavior=terms["proration_behavior"],
    )


def _get_draft(outcome: ChangeOutcome) -> Draft | None:
    return None if outcome.settled is None else outcome.settled.draft
