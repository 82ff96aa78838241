"""
What the usage of any period would come to, whether a subscription covers it or not.

Source: contract chapter Realtime cost, preview, estimate; endpoint invoice_preview.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

from accounts.models import Account
from accounts.services.stored_money import read_stored_money
from billing_site.kernel.money import RoundingMode
from billing_site.kernel.periods import Period
from catalog.models import Meter
from catalog.models.pricing_rule import PricingRule
from catalog.pricing.terms import PriceTerms
from catalog.queries.pricing_rules import get_rule_terms
from invoicing.calculation.charges import list_charges
from invoicing.calculation.draft import Draft, DraftLine, draft_invoice
from invoicing.calculation.facts import ChargeFacts, InvoiceFacts, QuantitySource
from invoicing.queries.sellers import get_sellers
from metering.queries.measuring import MeasureRequest, measure_usage
from metering.queries.meters import DEFAULT_ORG, list_meters
from metering.queries.periods import choose_period, get_calendar_month, list_running_subscriptions
from metering.queries.usage import list_usage_prices
from metering.stores import QuantityRequest, sum_quantities


@dataclass(frozen=True, slots=True)
class UsagePreview:
    """
    Priced usage of an account in a half-open period.

    `meters` is by the item of a line; `credit_applied` is what stored money would pay, minor units.
    """

    account: Account
    period: Period
    draft: Draft
    meters: Mapping[str, Meter]
    credit_applied: int

    @property
    def amount_due(self) -> int:
        return self.draft.amount_due - self.credit_applied

    def get_meter(self, line: DraftLine) -> Meter:
        """Return the meter of a line."""
        return self.meters[line.charge.item_id]


def preview_usage(
    *, account: Account, at: datetime, start: datetime | None = None, end: datetime | None = None
) -> UsagePreview:
    """
    Return what an account's usage costs in a period (default: its calendar month), and what its credit would pay of it.

    Prices are those that billing would use now: of the running subscriptions, else the newest default rule that held in
    the period. A meter that nothing prices is left out; so is what was charged when it happened. No fees, no discounts,
    no tax; a minimum counts. Reads only: no credit is spent. A fixed number of queries.
    :raises PeriodNotValid: if the period is reversed or longer than 400 days.
    :raises UsageNotPriceable: if an event carries a price that is none.
    """
    period = choose_period(start, end, default=get_calendar_month(at, account.zone))
    subscriptions = list_running_subscriptions(account)
    currency = subscriptions[0].currency if subscriptions else account.currency
    meters = list_meters(org_id=account.org_id)
    prices = _list_default_prices(account, period, currency) | list_usage_prices(subscriptions, currency=currency)
    used = sum_quantities([QuantityRequest(account.id, meter.id, period) for meter in meters if meter.id in prices])
    asked = [
        meter
        for meter in meters
        if meter.id in prices and used[QuantityRequest(account.id, meter.id, period)].event_count
    ]
    draft = draft_invoice(
        InvoiceFacts(
            currency=currency,
            timezone=account.timezone,
            boundary=None,
            rounding=cast(RoundingMode, get_sellers([account]).of(account).rounding),
            charges=_make_charges(account, asked, period, prices),
        )
    )
    payment = read_stored_money(accounts=[account], at=at).pay_bill(
        account=account, charges=list_charges(draft, subscription=None), total=draft.total, currency=currency, at=at
    )
    applied = 0 if payment is None else payment.settlement.applied
    return UsagePreview(account, period, draft, {meter.public_id: meter for meter in asked}, applied)


def _list_default_prices(account: Account, period: Period, currency: str) -> dict[UUID, PriceTerms]:
    """Return the newest rule for every plan that held in the period, by meter; the organization's own come first."""
    rules = PricingRule.objects.filter(
        org_id__in={account.org_id, DEFAULT_ORG}, plan_key="", currency=currency, valid_from__lt=period.end
    ).exclude(closed_at__lte=period.start)
    found: dict[UUID, PriceTerms] = {}
    newest = rules.select_related("meter").order_by("-valid_from", "-id")
    for rule in sorted(newest, key=lambda rule: rule.org_id != account.org_id):
        found.setdefault(rule.meter_id, get_rule_terms(rule))
    return found


def _make_charges(
    account: Account, meters: Sequence[Meter], period: Period, prices: Mapping[UUID, PriceTerms]
) -> tuple[ChargeFacts, ...]:
    requests = [MeasureRequest(account.id, meter.id, period, prices[meter.id]) for meter in meters]
    return tuple(
        ChargeFacts(
            type="usage",
            item_id=meter.public_id,
            plan_version_id="",
            plan_id="",
            plan_name="Usage",
            price=prices[meter.id],
            usage=found.usage,
            period=period,
            source=QuantitySource("usage", found.event_count, found.last_recorded_at),
            meter_name=meter.display_name,
        )
        for meter, found in zip(meters, measure_usage(requests), strict=True)
    )
