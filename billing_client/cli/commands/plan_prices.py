"""Prices and limits of plans in words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from billing_client.cli.commands.shared import read_decimal, show_money
from billing_client.money import format_number, format_unit_price


def show_price(plan: dict[str, Any], key: str) -> str:
    """Return a plan's price by the month; `key` says billed how."""
    if plan.get("contact_sales"):
        return "Custom"
    if plan.get(key) is None:
        return "Usage" if any(price.get("meter") for price in plan.get("prices") or []) else "-"
    return show_money(plan[key], plan.get("currency"))


def show_limit(limit: Any) -> str:
    """Return a quota's limit."""
    return "Unlimited" if limit is None or int(limit) == -1 else format_number(read_decimal(limit))


def show_quota(quota: dict[str, Any]) -> str:
    """Return a limit with its window: `1.0M per month`."""
    return f"{show_limit(quota['limit'])} per {str(quota['window']).replace('_', ' ')}"


def name_price(price: dict[str, Any]) -> str:
    """Return what a price is for."""
    count = int(price.get("interval_count") or 1)
    interval = price.get("interval") if count == 1 else f"{count} {price.get('interval')}s"
    return f"{price['meter']}, by the {interval}" if price.get("meter") else f"Fee per {interval}"


def show_rate(price: dict[str, Any]) -> str:
    """Return what a price charges: one amount, its tiers, or its percentage."""
    currency = str(price["currency"])
    options: dict[str, Any] = price.get("options") or {}
    unit = str(price.get("unit") or "units")
    if price.get("model") == "dynamic":
        return "as each event says"
    if options.get("percent") is not None:
        fixed = options.get("fixed_amount")
        more = f" + {format_unit_price(read_decimal(fixed), currency)} per event" if fixed else ""
        return f"{options['percent']} %{more}"
    if tiers := options.get("tiers"):
        shown = "; ".join(_show_tier(tier, currency) for tier in tiers)
        return f"{str(price.get('model') or 'tiers').replace('_', ' ')}: {shown}"
    if not price.get("meter") and price.get("unit_amount") is not None:
        return show_money(price["unit_amount"], currency)
    amount = format_unit_price(read_decimal(price.get("unit_amount_decimal", price.get("unit_amount"))), currency)
    if size := options.get("package_size"):
        return f"{amount} per {format_number(read_decimal(size))} {unit}"
    return f"{amount} {unit}" if "/" in amount else f"{amount} / {unit}"


def _show_tier(tier: dict[str, Any], currency: str) -> str:
    amounts = []
    if tier.get("percent"):
        amounts.append(f"{tier['percent']} %")
    if tier.get("unit_amount"):
        amounts.append(format_unit_price(read_decimal(tier["unit_amount"]), currency))
    if tier.get("flat_amount"):
        amounts.append(f"{format_unit_price(read_decimal(tier['flat_amount']), currency)} flat")
    price = " + ".join(amounts) or format_unit_price(Decimal(0), currency)
    up_to = tier.get("up_to")
    return f"{price} above" if up_to is None else f"{price} up to {format_number(read_decimal(up_to))}"
