"""
Which share of a whole billing period a stretch of time is.

A share is a fraction: numerator and denominator are whole days or seconds and go to the line with their unit. Amounts
stay exact; the line rounds, once. Plain Python: no Django, no I/O, no clock.
Source: policies, rules 2, 5, 9 and 10; ADR 0020.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from math import lcm
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from accounts.terms.cycles import Cycle
from billing_site.kernel.money import EXACT, allocate
from billing_site.kernel.periods import Interval, Period, local_date, local_midnight

ProrationUnit = Literal["day", "second", "none"]
ProrationBasis = Literal["actual", "fixed_30"]

_DAY: Final = timedelta(days=1)
_SECONDS_A_DAY: Final = 86_400
_MONTHS: Final = {"month": 1, "year": 12}


@dataclass(frozen=True, slots=True)
class ProrationTerms:
    """
    How a plan divides a period.

    `unit`: local days, seconds, or none (a period that has begun counts in full). `basis`: what a whole period counts,
    its real length or 30 days for every month of it; periods of days and weeks are always counted as they are.
    """

    unit: ProrationUnit = "day"
    basis: ProrationBasis = "actual"


@dataclass(frozen=True, slots=True)
class SharePart:
    """`numerator` of `denominator` units of the one whole period `whole`; `period` is what is counted of it."""

    period: Period
    whole: Period
    numerator: int
    denominator: int

    @property
    def is_whole(self) -> bool:
        return self.numerator == self.denominator


@dataclass(frozen=True, slots=True)
class Share:
    """
    A share of a period's price: mostly one fraction of one period, of a long stub whole periods and the rest.

    Without parts it is zero. `numerator / denominator` is the share as one fraction that is not reduced (15/31, 42/28).
    """

    unit: ProrationUnit
    parts: tuple[SharePart, ...] = ()

    @property
    def denominator(self) -> int:
        """The one denominator: of the only part, or the least common one of the parts that are not whole."""
        if len(self.parts) == 1:
            return self.parts[0].denominator
        return lcm(*(part.denominator for part in self.parts if not part.is_whole))

    @property
    def numerator(self) -> int:
        denominator = self.denominator
        if len(self.parts) == 1:
            return self.parts[0].numerator
        return sum(
            denominator if part.is_whole else part.numerator * (denominator // part.denominator) for part in self.parts
        )

    @property
    def fraction(self) -> Fraction:
        """The share as an exact, reduced fraction."""
        return Fraction(self.numerator, self.denominator)

    def __bool__(self) -> bool:
        return self.numerator > 0

    def of(self, amount: Decimal) -> Decimal:
        """
        Return this share of `amount`, multiplied before it is divided, to 96 digits.

        A tie of the later rounding has finitely many digits, so nothing that is cut off can change the line.
        """
        with localcontext(EXACT):
            return amount * self.numerator / self.denominator

    def as_dict(self) -> dict[str, Any]:
        """Return the share as text, as traces store it; the parts are listed where there are several."""
        shown: dict[str, Any] = {
            "unit": self.unit,
            "numerator": str(self.numerator),
            "denominator": str(self.denominator),
        }
        if len(self.parts) > 1:
            shown["parts"] = [
                {"numerator": str(part.numerator), "denominator": str(part.denominator)} for part in self.parts
            ]
        return shown

    def describe(self) -> str:
        """Return the share in words: `15/31 days`, `1 + 14/28 days`, `full period`, `nothing`."""
        if not self:
            return "nothing"
        if self.unit == "none":
            return "full period" if len(self.parts) == 1 else f"{len(self.parts)} full periods"
        if len(self.parts) == 1:
            return f"{self.numerator}/{self.denominator} {self.unit}s"
        whole = sum(1 for part in self.parts if part.is_whole)
        rest = [f"{part.numerator}/{part.denominator}" for part in self.parts if not part.is_whole]
        terms = [str(whole), *rest] if whole else rest
        return f"{' + '.join(terms)} {self.unit}s" if rest else f"{whole} whole periods"


def read_share(stored: Mapping[str, Any]) -> Fraction:
    """Return the fraction that `Share.as_dict` wrote. :raises KeyError: if a member is missing."""
    return Fraction(int(stored["numerator"]), int(stored["denominator"]))


def measure_share(*, part: Period, billed: Period, cycle: Cycle, terms: ProrationTerms) -> Share:
    """
    Return which share of a period's price `part` of the billed stretch `billed` is.

    `billed` is a whole period or a stub, half-open, as it is (or would be) on one line; what lies outside it does not
    count, so the share is never negative and never more than that of `billed` itself. An empty part is zero. Days are
    local days of the cycle's zone, 23 or 25 hours long as they come; the day in which `part` begins counts in full,
    the one in which it ends not at all. Parts that touch add up to what they are together (with the actual basis).
    Source: policies, rules 5, 9 and 10.
    """
    counted = (
        _count_part(_intersect(part, stretch), whole, cycle, terms) for stretch, whole in _split_billed(billed, cycle)
    )
    return Share(terms.unit, tuple(found for found in counted if found.numerator))


def measure_whole(*, billed: Period, cycle: Cycle, terms: ProrationTerms) -> Share:
    """Return which share of a period's price all of `billed` costs: one for a whole period, less for a short stub."""
    return measure_share(part=billed, billed=billed, cycle=cycle, terms=terms)


def split_amount(amount: int, shares: Sequence[Share]) -> list[int]:
    """
    Split a rounded `amount` (minor units) over `shares` that make it up together; the parts sum to it.

    :raises ValueError: without shares.
    Source: policies, rule 3 (largest remainder, ties by order).
    """
    common = lcm(*(share.denominator for share in shares))
    return allocate(amount, [share.numerator * (common // share.denominator) for share in shares])


def count_local_days(period: Period, zone: ZoneInfo) -> int:
    """
    Return how many local days lie between the day of the start and the day of the end, the latter not counted.

    A date that a zone left out when it changed its side of the date line is no day: Pacific/Apia had 30 days in
    December 2011.
    """
    jump = _offset(period.end, zone) - _offset(period.start, zone)
    # A jump of the clocks by about a day; the hours of daylight saving do not matter here.
    left_out = max(0, (jump + _DAY / 2) // _DAY)
    return max(0, period.count_days(zone) - left_out)


def floor_day(instant: datetime, zone: ZoneInfo) -> datetime:
    """Return the local midnight that begins the day of `instant`, UTC."""
    return local_midnight(local_date(instant, zone), zone)


def take_effect(instant: datetime, *, terms: ProrationTerms, zone: ZoneInfo) -> datetime:
    """
    Return from when a change at `instant` counts: the second itself, else the beginning of its local day.

    A change day belongs to what comes after the change. Source: policies, rule 5.
    """
    return instant.replace(microsecond=0) if terms.unit == "second" else floor_day(instant, zone)


def _split_billed(billed: Period, cycle: Cycle) -> Iterator[tuple[Period, Period]]:
    """
    Yield the stretches of `billed`, each with the whole period that it is measured against.

    A stub longer than a period is whole periods from its start, then the rest, which lies in a period of the cycle.
    """
    start = billed.start
    day = local_date(start, cycle.zone)
    if cycle.whole_period_at(start).end < billed.end and not cycle.is_boundary(day):
        for whole in _list_whole_periods(day, billed.end, cycle):
            yield Period(max(start, whole.start), whole.end), whole
            start = whole.end
    while start < billed.end:
        whole = cycle.whole_period_at(start)
        yield Period(start, min(whole.end, billed.end)), whole
        start = whole.end


def _list_whole_periods(day: date, end: datetime, cycle: Cycle) -> Iterator[Period]:
    """Yield the periods of the cycle's interval counted from `day` as long as they end by `end`."""
    own = Cycle(day, cycle.interval, cycle.zone)
    index = 0
    while (whole := own.period(index)).end <= end:
        yield whole
        index += 1


def _count_part(part: Period, whole: Period, cycle: Cycle, terms: ProrationTerms) -> SharePart:
    if terms.unit == "none":
        return SharePart(part, whole, 1 if part.duration else 0, 1)
    count = _count_seconds if terms.unit == "second" else count_local_days
    numerator, length = count(part, cycle.zone), count(whole, cycle.zone)
    if numerator == length or terms.basis == "actual":
        return SharePart(part, whole, numerator, max(1, length))
    denominator = _count_thirties(cycle.interval, terms.unit) or length
    return SharePart(part, whole, min(numerator, denominator), denominator)


def _count_thirties(interval: Interval, unit: ProrationUnit) -> int:
    """Return what a whole period counts with 30 days a month; 0 for periods that are not made of months."""
    days = _MONTHS.get(interval.unit, 0) * interval.count * 30
    return days * _SECONDS_A_DAY if unit == "second" else days


def _count_seconds(period: Period, _zone: ZoneInfo) -> int:
    """Return the seconds between the two, each cut to a whole second first, so that touching parts add up."""
    return (period.end.replace(microsecond=0) - period.start.replace(microsecond=0)) // timedelta(seconds=1)


def _intersect(one: Period, other: Period) -> Period:
    """Return what both cover; an empty period at the end of `other` where they share nothing."""
    start, end = max(one.start, other.start), min(one.end, other.end)
    return Period(start, end) if start < end else Period(other.end, other.end)


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta()
