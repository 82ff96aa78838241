"""
How credit pays: which grants are usable, in what order they burn, what each pays, and what rolls over.

Plain Python. Amounts are whole minor units of one currency per grant and charge; instants are aware UTC.
Source: contract chapter Credits; policies, rules 22 and 23.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from accounts.terms.boundaries import boundary_at
from billing_site.kernel.periods import Interval, Period

_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class BurnableGrant:
    """
    What decides whether and when a grant pays.

    `meters` are event names; empty is every line and tax. `subscription` limits it to charges of that subscription.
    `included` is credit that comes with a period of a plan: it also pays, when its end has come, what belongs to that
    period, because the bill of a period is made at its end. `id` is the last tie-break, so it must be unique among the
    grants of one burn.
    """

    id: str
    remaining: int
    currency: str
    effective_at: datetime
    created_at: datetime
    priority: int = 0
    expires_at: datetime | None = None
    promotional: bool = True
    meters: frozenset[str] = frozenset()
    subscription: str | None = None
    voided: bool = False
    included: bool = False

    @property
    def burn_key(self) -> tuple[Any, ...]:
        """
        What grants are sorted by: priority, bound to a subscription first, expiry (none last), promotional before paid.

        Then effective time, creation and id.
        """
        return (
            self.priority,
            self.subscription is None,
            self.expires_at or _NEVER,
            not self.promotional,
            self.effective_at,
            self.created_at,
            self.id,
        )


@dataclass(frozen=True, slots=True)
class Charge:
    """
    Something to be paid: a fee, the usage of one meter, or tax. `key` is the caller's and unique in one burn.

    `period` is what a line covers. Credit does not pay what makes up for a minimum (`takes_credit`).
    """

    key: str
    amount: int
    currency: str
    meter: str | None = None
    subscription: str | None = None
    period: Period | None = None
    takes_credit: bool = True


@dataclass(frozen=True, slots=True)
class Allocation:
    """That one grant pays `amount`, above zero, of one charge."""

    grant: str
    charge: str
    amount: int


@dataclass(frozen=True, slots=True)
class Burn:
    """What each grant pays, in burn order, and what stays open per charge, in the order of the charges."""

    allocations: tuple[Allocation, ...]
    rest: dict[str, int]

    @property
    def paid(self) -> int:
        return sum(allocation.amount for allocation in self.allocations)

    @property
    def open(self) -> int:
        return sum(self.rest.values())

    def paid_by(self, grant: str) -> int:
        """Return what one grant pays in all."""
        return sum(allocation.amount for allocation in self.allocations if allocation.grant == grant)


def is_usable(grant: BurnableGrant, at: datetime) -> bool:
    """Tell whether the grant can pay at `at`: not void, something left, within `[effective_at, expires_at)`."""
    return (
        not grant.voided
        and grant.remaining > 0
        and grant.effective_at <= at
        and (grant.expires_at is None or at < grant.expires_at)
    )


def can_pay(grant: BurnableGrant, charge: Charge) -> bool:
    """Tell whether the grant may pay this charge: same currency, its meters, its subscription."""
    return (
        charge.takes_credit
        and grant.currency == charge.currency
        and (not grant.meters or charge.meter in grant.meters)
        and (grant.subscription is None or grant.subscription == charge.subscription)
    )


def covers(grant: BurnableGrant, charge: Charge) -> bool:
    """Tell whether the charge belongs to the period that the grant came with."""
    return (
        grant.included
        and not grant.voided
        and grant.remaining > 0
        and grant.expires_at is not None
        and charge.period is not None
        and grant.effective_at <= charge.period.start
        and charge.period.end <= grant.expires_at
    )


def burn(grants: Iterable[BurnableGrant], charges: Sequence[Charge], *, at: datetime) -> Burn:
    """
    Let the grants that are usable at `at`, or came with the period of a charge, pay, and return who pays what.

    Grants walk in burn order over the charges in the order given, so put tax last. The order in which grants are given
    does not matter.
    :raises ValueError: for a charge below zero, or two with one key.
    Source: contract chapter Credits; policies, rule 23.
    """
    rest = {charge.key: charge.amount for charge in charges}
    if len(rest) != len(charges):
        raise ValueError("two charges have the same key")
    if any(amount < 0 for amount in rest.values()):
        raise ValueError("a charge is zero or more")
    allocations: list[Allocation] = []
    for grant in sorted(grants, key=lambda grant: grant.burn_key):
        usable, left = is_usable(grant, at), grant.remaining
        for charge in charges:
            amount = min(left, rest[charge.key])
            if amount and (usable or covers(grant, charge)) and can_pay(grant, charge):
                allocations.append(Allocation(grant.id, charge.key, amount))
                rest[charge.key] -= amount
                left -= amount
    return Burn(tuple(allocations), rest)


def compute_rollover(*, rest: int, minimum: int = 0, maximum: int = 0) -> int:
    """
    Return what a recurring grant carries into its next period: `min(maximum, max(minimum, rest))`.

    A maximum of zero carries nothing.
    :raises ValueError: for an amount below zero, or a minimum above the maximum.
    Source: policies, rule 23.
    """
    if min(rest, minimum, maximum) < 0 or minimum > maximum:
        raise ValueError("rollover needs 0 <= minimum <= maximum and a rest of zero or more")
    return min(maximum, max(minimum, rest))


@dataclass(frozen=True, slots=True)
class Recurrence:
    """
    That a grant is set back to `amount` at every boundary, plus what rolls over.

    Boundaries are local midnights computed from `anchor`, never from the previous one.
    """

    amount: int
    interval: Interval
    anchor: date
    zone: ZoneInfo
    rollover_minimum: int = 0
    rollover_maximum: int = 0

    def boundary(self, index: int) -> datetime:
        """Return the instant at which period number `index` begins."""
        return boundary_at(index, anchor=self.anchor, interval=self.interval, zone=self.zone)

    def carry_over(self, rest: int) -> int:
        """Return what rolls over from a period that ends with `rest`."""
        return compute_rollover(rest=rest, minimum=self.rollover_minimum, maximum=self.rollover_maximum)


@dataclass(frozen=True, slots=True)
class RenewedPeriod:
    """One period of a recurring grant: its number, `[start, end)`, what it begins with and what of that rolled over."""

    index: int
    start: datetime
    end: datetime
    amount: int
    rolled_over: int


def list_renewals(recurrence: Recurrence, *, index: int, rest: int, at: datetime) -> list[RenewedPeriod]:
    """
    Return the periods that began after period number `index`, which ends with `rest`, up to `at`; oldest first.

    Nothing is spent in the ones in between. Source: policies, rule 23.
    """
    periods: list[RenewedPeriod] = []
    start = recurrence.boundary(index + 1)
    while start <= at:
        index += 1
        end = recurrence.boundary(index + 1)
        rolled = recurrence.carry_over(rest)
        rest = recurrence.amount + rolled
        periods.append(RenewedPeriod(index, start, end, rest, rolled))
        start = end
    return periods
