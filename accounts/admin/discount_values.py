"""What a discount takes off, in words."""

from __future__ import annotations

from accounts.models import SubscriptionDiscount
from billing_site.backoffice.display import format_money, format_quantity


def describe_value(discount: SubscriptionDiscount) -> str:
    """Return what a discount takes off: `20 %` or `15.00 USD`."""
    if discount.percent_off is not None:
        return f"{format_quantity(discount.percent_off)} %"
    return format_money(discount.amount_off or 0, discount.currency)
