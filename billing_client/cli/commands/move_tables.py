"""What previews of plan moves look like on a terminal and in CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from billing_client.cli.commands.shared import show_day, show_money
from billing_client.cli.output import Cell, Table

Answer = Mapping[str, Any]

AMOUNTS: Final = (
    "next_invoice_before",
    "next_invoice_after",
    "monthly_before",
    "monthly_after",
    "monthly_difference",
)
ROW_COLUMNS: Final = (
    "subscription_id",
    "account_id",
    "from_version",
    "currency",
    *AMOUNTS,
    "kept_prices",
    "lost_prices",
)
_HEADINGS: Final = ("Next invoice", "Next after", "Monthly", "Monthly after", "Difference")
RIGHT: Final = frozenset({"Subscriptions", *_HEADINGS})


def show_amounts(source: Answer) -> list[Cell]:
    """Return the five amounts of sums or of a subscription, for people."""
    currency = source["currency"]
    shown: list[Cell] = [show_money(source[name], currency) for name in AMOUNTS[:-1]]
    return [*shown, show_difference(source["monthly_difference"], currency)]


def show_difference(amount: int, currency: str) -> str:
    """Return minor units with their sign, also above zero."""
    return f"+{show_money(amount, currency)}" if amount > 0 else show_money(amount, currency)


def show_versions(versions: Sequence[Answer]) -> str:
    """Return how many subscriptions are on each version: `v1: 3, v2: 1`."""
    return ", ".join(f"v{each['version']}: {each['subscriptions']:,}" for each in versions)


def build_totals_table(totals: Sequence[Answer]) -> Table:
    """Return the sums by currency."""
    rows = [[total["currency"].upper(), f"{total['subscriptions']:,}", *show_amounts(total)] for total in totals]
    return Table(["Currency", "Subscriptions", *_HEADINGS], rows, right=RIGHT)


def build_rows_table(rows: Sequence[Answer], *, title: str = "") -> Table:
    """Return subscriptions, before and after."""
    return Table(
        ["Subscription", "Account", "From", "Billed next", *_HEADINGS, "Negotiated prices"],
        [
            [
                row["subscription_id"],
                row["account_name"] or row["account_id"],
                f"v{row['from_version']}",
                show_day(row.get("next_billing_at")),
                *show_amounts(row),
                _show_negotiated(row),
            ]
            for row in rows
        ],
        right=RIGHT,
        title=title,
    )


def build_records(rows: Sequence[Answer]) -> list[list[Cell]]:
    """Return subscriptions as CSV records under `ROW_COLUMNS`."""
    return [[" ".join(row[name]) if name.endswith("_prices") else row[name] for name in ROW_COLUMNS] for row in rows]


def describe_obstacles(obstacles: Sequence[Answer]) -> list[str]:
    """Return one line per reason why subscriptions cannot be moved."""
    return [f"{each['subscriptions']:,} cannot be moved: {each['detail']}" for each in obstacles]


def describe_totals(totals: Sequence[Answer]) -> list[str]:
    """Return one line per currency, for messages."""
    lines = []
    for total in totals:
        currency = total["currency"]
        before, after, _, _, difference = show_amounts(total)
        count = "1 subscription" if total["subscriptions"] == 1 else f"{total['subscriptions']:,} subscriptions"
        lines.append(f"{currency.upper()}: {count}, next invoices {before} -> {after}, {difference} by the month")
    return lines


def _show_negotiated(row: Answer) -> str:
    parts = [f"keeps {key}" for key in row["kept_prices"]] + [f"loses {key}" for key in row["lost_prices"]]
    return ", ".join(parts)
