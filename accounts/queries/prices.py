"""Which prices of a plan a subscription takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from billing_site.kernel.errors import ValidationFailed
from catalog.models import Price
from catalog.queries.prices import get_price_terms


def is_free(prices: Iterable[Price]) -> bool:
    """Tell whether nothing in the plan costs anything."""
    return all(get_price_terms(price).is_free for price in prices)


def choose_currency(prices: Sequence[Price], *, plan_name: str, asked: str | None, default: str) -> str:
    """
    Return the currency to bill in: the one asked for, else the account's.

    :raises ValidationFailed: when the plan costs something and has no price in it.
    """
    currency = asked or default
    priced = sorted({price.currency for price in prices})
    if currency not in priced and not is_free(prices):
        offered = ", ".join(code.upper() for code in priced)
        raise ValidationFailed.of(
            "/currency", "not_priced", f"{plan_name} has no price in {currency.upper()}; it is sold in {offered}."
        )
    return currency


def choose_prices(
    prices: Sequence[Price], *, plan_name: str, currency: str, interval: str, interval_count: int | None = None
) -> list[Price]:
    """
    Return the fee (if any) and the usage prices for one currency and interval, the fee first.

    Where several counts of the interval are sold and none is asked for, the shortest is taken. A free plan needs no
    matching price.
    :raises ValidationFailed: when the plan is not sold by this interval, or a meter has a price for another one only.
    """
    in_currency = [price for price in prices if price.currency == currency]
    matching = [
        price for price in in_currency if price.interval == interval and interval_count in (None, price.interval_count)
    ]
    if not matching:
        if is_free(prices):
            return []
        offered = ", ".join(sorted({price.interval for price in in_currency}))
        raise ValidationFailed.of(
            "/interval", "not_priced", f"{plan_name} is not sold by the {interval} in {currency.upper()}: {offered}."
        )
    fees = [price for price in matching if not price.is_metered]
    if not fees and any(not price.is_metered for price in in_currency):
        offered = ", ".join(sorted({price.interval for price in in_currency if not price.is_metered}))
        raise ValidationFailed.of("/interval", "not_priced", f"{plan_name} has no fee by the {interval}: {offered}.")
    count = min(price.interval_count for price in fees or matching)
    chosen = [price for price in matching if price.interval_count == count]
    covered = {price.meter_id for price in chosen}
    missing = {price.meter.event_name for price in in_currency if price.meter and price.meter_id not in covered}
    if missing:
        raise ValidationFailed.of(
            "/interval",
            "usage_not_priced",
            f"{plan_name} has no usage price by the {interval} for: {', '.join(sorted(missing))}.",
        )
    return sorted(chosen, key=lambda price: (price.is_metered, price.id))
