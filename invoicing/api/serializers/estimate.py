"""The estimate of a calendar month."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing_site.api.fields import CurrencyField, DecimalStringField, SignedMoneyField
from billing_site.kernel.periods import local_date
from invoicing.queries.estimates import BillingEstimate


class EstimateQuery(serializers.Serializer[dict[str, Any]]):
    currency = CurrencyField(
        required=False,
        help_text="Default: the account's, if it buys anything in it, else that of its oldest subscription.",
    )


class BillingEstimateSerializer(serializers.Serializer[Any]):
    """The calendar month where the account lives, after discounts and before tax: minor units of `currency`."""

    account_id = serializers.CharField()
    month = serializers.CharField(help_text="YYYY-MM")
    fixed_cost = SignedMoneyField(help_text="Fees of periods that begin in the month, also those still to come.")
    usage_to_date = SignedMoneyField()
    projected_usage = SignedMoneyField(help_text="Usage to date times the month by what of it has passed.")
    projected_total = SignedMoneyField()
    elapsed_percent = DecimalStringField()
    confidence = serializers.ChoiceField(choices=["low", "normal"], help_text="low under 3 elapsed days.")
    currency = CurrencyField()


def render_estimate(found: BillingEstimate) -> dict[str, Any]:
    """Return an estimate as `BillingEstimateSerializer` describes it."""
    return {
        "account_id": found.account.public_id,
        "month": f"{local_date(found.month.start, found.account.zone):%Y-%m}",
        "fixed_cost": found.fixed,
        "usage_to_date": found.usage_to_date,
        "projected_usage": found.projected_usage,
        "projected_total": found.projected_total,
        "elapsed_percent": found.elapsed_percent,
        "confidence": found.confidence,
        "currency": found.currency,
    }
