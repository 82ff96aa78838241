"""Usage that was charged when it happened, as money."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from django.db import connection

from billing_site.kernel.periods import Period

# An event of a charged call carries the amount as its value and the currency beside it.
_CHARGED: Final = """
    SELECT e.account_id, e.metadata ->> 'currency', sum(e.value * e.weight)
    FROM usage_events e
    WHERE e.account_id = ANY(%s::uuid[]) AND e.meter_id = ANY(%s::uuid[])
      AND e.timestamp >= %s AND e.timestamp < %s AND e.charged
    GROUP BY 1, 2
"""

_CHARGED_DAYS: Final = """
    SELECT e.account_id, e.metadata ->> 'currency', (e.timestamp AT TIME ZONE 'UTC')::date, sum(e.value * e.weight)
    FROM usage_events e
    WHERE e.account_id = ANY(%s::uuid[]) AND e.meter_id = ANY(%s::uuid[])
      AND e.timestamp >= %s AND e.timestamp < %s AND e.charged
    GROUP BY 1, 2, 3
"""


class ChargedTotal(NamedTuple):
    """What one account was charged in one currency, minor units."""

    account_id: UUID
    currency: str
    amount: Decimal


class ChargedDay(NamedTuple):
    """What one account was charged in one currency on one UTC day, minor units."""

    account_id: UUID
    currency: str
    day: date
    amount: Decimal


def sum_charged(*, account_ids: Collection[UUID], meter_ids: Collection[UUID], period: Period) -> list[ChargedTotal]:
    """Return what accounts were charged at once for usage in a half-open period. One statement."""
    with connection.cursor() as cursor:
        cursor.execute(_CHARGED, [list(account_ids), list(meter_ids), period.start, period.end])
        return [ChargedTotal(account_id, currency or "", Decimal(amount)) for account_id, currency, amount in cursor]


def sum_charged_days(*, account_ids: Collection[UUID], meter_ids: Collection[UUID], period: Period) -> list[ChargedDay]:
    """Return the same by UTC day; days without are left out. One statement."""
    with connection.cursor() as cursor:
        cursor.execute(_CHARGED_DAYS, [list(account_ids), list(meter_ids), period.start, period.end])
        return [ChargedDay(owner, currency or "", day, Decimal(amount)) for owner, currency, day, amount in cursor]
