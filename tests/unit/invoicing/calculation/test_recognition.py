"""Revenue by day: any amount, any period, any zone sums exactly, by largest remainder."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import accumulate
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_site.kernel.money import allocate
from billing_site.kernel.periods import Interval, billing_period, local_date
from invoicing.calculation.recognition import ServicePeriod, recognize_until

AMOUNTS = st.integers(-(10**12), 10**12)
DAYS = st.dates(date(2000, 1, 1), date(2090, 1, 1))
ZONES = st.sampled_from(["UTC", "America/New_York", "Europe/Berlin", "Pacific/Apia", "Africa/Cairo", "Asia/Kathmandu"])


@given(AMOUNTS, DAYS, st.integers(1, 800))
def test_days_are_those_of_the_largest_remainder(amount: int, first_day: date, days: int) -> None:
    service = ServicePeriod(first_day, first_day + timedelta(days=days))
    sums = [recognize_until(amount, service, first_day + timedelta(days=passed)) for passed in range(days + 1)]
    assert sums == [0, *accumulate(allocate(amount, [1] * days))]
    assert sums[-1] == amount


@given(AMOUNTS, ZONES, DAYS, st.sampled_from(["day", "week", "month", "year"]), st.data())
def test_a_billing_period_sums_however_often_it_is_released(
    amount: int, zone_name: str, anchor: date, unit: str, data: st.DataObject
) -> None:
    zone = ZoneInfo(zone_name)
    period = billing_period(anchor, Interval.parse(unit), 0, zone)
    service = ServicePeriod(local_date(period.start, zone), local_date(period.end, zone))
    stops = sorted(data.draw(st.lists(st.integers(-3, service.days + 3), max_size=6)))
    days = [service.first_day + timedelta(days=passed) for passed in stops] + [service.end_day]
    released, parts = 0, []
    for day in days:
        parts.append(recognize_until(amount, service, day) - released)
        released += parts[-1]
    assert sum(parts) == amount
    assert all(part * amount >= 0 for part in parts)


def test_a_hand_computed_month() -> None:
    # 10.00 over 30 days: 1000 = 30 × 33 + 10, so ten days bring 34 and twenty bring 33.
    service = ServicePeriod(date(2023, 11, 1), date(2023, 12, 1))
    assert recognize_until(1000, service, date(2023, 11, 11)) == 10 * 34
    assert recognize_until(1000, service, date(2023, 11, 16)) == 10 * 34 + 5 * 33
    assert recognize_until(-1000, service, date(2023, 11, 16)) == -505
    assert recognize_until(1000, service, date(2023, 10, 1)) == 0


def test_a_service_has_a_day() -> None:
    with pytest.raises(ValueError, match="has no day"):
        ServicePeriod(date(2023, 11, 1), date(2023, 11, 1))
