"""
What the end of a subscription means for the running period.

Plain Python: no Django, no I/O, no clock. Nothing is rounded here. Source: policies, rules 5 and 12; ADR 0020.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal, get_args

from accounts.terms.cycles import Cycle
from accounts.terms.fees import PeriodFee, ProratedPart, Settlement, prorate_fee, prorate_unused
from accounts.terms.proration import take_effect
from billing_site.kernel.periods import Period

UnusedTime = Literal["forfeit", "credit", "refund"]


@dataclass(frozen=True, slots=True)
class CancellationPlan:
    """
    What a cancellation does.

    The subscription ends at `ends_at`; its fee counts for `period`, half-open, which does not hold the termination day.
    `unused` is the choice made for what was billed beyond it, `credit` what that choice comes to. `owed` is the fee for
    `period` where it is billed in arrears and therefore not billed yet.
    """

    ends_at: datetime
    period: Period
    unused: UnusedTime
    credit: ProratedPart | None = None
    owed: ProratedPart | None = None


def plan_cancellation(
    *,
    at: datetime,
    cycle: Cycle,
    period: Period,
    fee: PeriodFee,
    at_period_end: bool = True,
    unused: UnusedTime = "forfeit",
    bills_in_advance: bool = True,
    is_paid: bool = True,
    is_trial: bool = False,
    left: Decimal | None = None,
) -> CancellationPlan:
    """
    Return what a cancellation at `at` does to the running `period` (half-open, whole or a stub).

    At period end nothing is unused. At once, `forfeit` keeps what was billed; `credit` and `refund` give the unused
    days back, the termination day among them: for a paid period by a credit note, with or without a refund, else by a
    negative line. `left`: what can still be credited on the billed line, minor units, which the credit never exceeds.
    In a trial nothing was billed. A fee in arrears is owed for the days before the termination day, whatever the
    choice. A moment outside the period counts as its nearer end.
    :raises ValueError: for another choice.
    Source: policies, rules 5 and 12.
    """
    if unused not in get_args(UnusedTime):
        raise ValueError(f"unused time is forfeited, credited or refunded, not {unused!r}")
    moment = min(max(take_effect(at, terms=fee.proration, zone=cycle.zone), period.start), period.end)
    if at_period_end:
        moment = period.end
    used, rest = Period(period.start, moment), Period(moment, period.end)
    credit = owed = None
    if is_trial:
        pass
    elif not bills_in_advance:
        owed = prorate_fee("charge", fee=fee, part=used, billed=period, cycle=cycle)
    elif unused != "forfeit":
        credit = prorate_unused(
            fee=fee, part=rest, billed=period, cycle=cycle, settlement=_settle(unused, is_paid=is_paid)
        )
        if credit is not None and left is not None:
            credit = _cap(credit, left)
    return CancellationPlan(
        ends_at=period.end if at_period_end else at, period=used, unused=unused, credit=credit, owed=owed
    )


def settle_credit(part: ProratedPart, *, unused: UnusedTime, is_paid: bool) -> ProratedPart:
    """Return a credit with what carries it when the subscription ends. Source: policies, rule 12."""
    return replace(part, settlement=_settle(unused, is_paid=is_paid))


def _settle(unused: UnusedTime, *, is_paid: bool) -> Settlement:
    """Return what carries the credit; money that was not paid cannot be paid back."""
    if not is_paid:
        return "negative_line"
    return "refund" if unused == "refund" else "credit_note"


def _cap(credit: ProratedPart, left: Decimal) -> ProratedPart | None:
    """Return `credit`, net of its discount at most `left`; a capped one says its net amount and no discount."""
    if -credit.net <= left:
        return credit
    return replace(credit, amount=-left, discount=Decimal(0)) if left > 0 else None
