"""From what is billed and what was measured to the facts of a charge."""

from __future__ import annotations

from decimal import Decimal

from catalog.pricing.usage import Usage
from invoicing.calculation.centers import CenterFacts
from invoicing.calculation.facts import ChargeFacts, QuantitySource
from invoicing.calculation.shares import ShareFacts
from invoicing.queries.billables import Billable
from metering.queries.measuring import MeasuredUsage

UsedFacts = tuple[MeasuredUsage, tuple[CenterFacts, ...]]


def make_charge_facts(billable: Billable, used: UsedFacts | None) -> ChargeFacts:
    """Return the facts of a billable: of a fee without `used`, of usage with what was measured and by whom."""
    item, share = billable.item, billable.share
    centers: tuple[CenterFacts, ...] = ()
    if used is None:
        usage, source = Usage(Decimal(item.quantity)), QuantitySource("item")
    else:
        measured, centers = used
        usage = measured.usage
        source = QuantitySource("usage", measured.event_count, measured.last_recorded_at)
    return ChargeFacts(
        type=billable.type,
        item_id=item.public_id,
        plan_version_id=billable.plan_version_id,
        plan_id=billable.plan_id,
        plan_name=billable.plan_name,
        price=billable.terms,
        usage=usage,
        period=billable.period,
        source=source,
        meter_name=item.meter.display_name if item.meter is not None else "",
        share=None if share is None else ShareFacts(share.numerator, share.denominator, share.describe()),
        centers=centers,
    )
