"""Zones, intervals and shorthands that the tests of subscription terms share."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from accounts.terms.cycles import Cycle
from accounts.terms.fees import PeriodFee
from accounts.terms.proration import ProrationTerms
from billing_site.kernel.periods import Interval, Period, local_midnight

UTC_ZONE = ZoneInfo("UTC")
PARIS = ZoneInfo("Europe/Paris")
NEW_YORK = ZoneInfo("America/New_York")
APIA = ZoneInfo("Pacific/Apia")
ZONES = [UTC_ZONE, PARIS, NEW_YORK, APIA, ZoneInfo("America/Sao_Paulo"), ZoneInfo("Australia/Lord_Howe")]

MONTH, YEAR, WEEK, DAY = Interval("month"), Interval("year"), Interval("week"), Interval("day")
BY_DAY, BY_SECOND, UNDIVIDED = ProrationTerms("day"), ProrationTerms("second"), ProrationTerms("none")
OF_30 = ProrationTerms("day", "fixed_30")

cycles = st.builds(
    Cycle,
    anchor=st.dates(date(2008, 1, 1), date(2030, 12, 31)),
    interval=st.builds(Interval, st.sampled_from(["day", "week", "month", "year"]), st.integers(1, 5)),
    zone=st.sampled_from(ZONES),
)


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


def days(start: date, end: date, zone: ZoneInfo = UTC_ZONE) -> Period:
    """The stretch between two local midnights."""
    return Period(local_midnight(start, zone), local_midnight(end, zone))


def monthly(anchor: date = date(2026, 1, 1), zone: ZoneInfo = UTC_ZONE) -> Cycle:
    return Cycle(anchor, MONTH, zone)


def fee(
    amount: int | str, interval: Interval = MONTH, *, discount: int | str = 0, by: ProrationTerms = BY_DAY
) -> PeriodFee:
    """A fee in minor units for a whole period."""
    return PeriodFee(Decimal(amount), interval, Decimal(discount), by)
