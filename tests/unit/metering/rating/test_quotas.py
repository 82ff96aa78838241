"""Percent, level and decision of a quota: the arithmetic alone."""

from __future__ import annotations

from decimal import Decimal

import pytest

from metering.rating.quotas import choose_level, compute_percent, compute_remaining, is_within

D = Decimal


class TestPercent:
    @pytest.mark.parametrize(
        ("used", "limit", "percent"),
        [
            ("0", "7", 0),
            ("5", "7", 71),  # 71.428…
            ("74.999999", "100", 74),
            ("75", "100", 75),
            ("100", "100", 100),
            ("250", "100", 250),
            ("0", "0", 100),
            ("3", None, 0),
            # 99.999… of 38 digits stays below a hundred
            ("99999999999999999999999999.999999999998", "99999999999999999999999999.999999999999", 99),
        ],
    )
    def test_is_cut_to_an_integer(self, used: str, limit: str | None, percent: int) -> None:
        assert compute_percent(used=D(used), limit=None if limit is None else D(limit)) == percent


class TestLevel:
    @pytest.mark.parametrize(
        ("used", "level"),
        [
            ("0", "ok"),
            ("74.99", "ok"),
            ("75", "warning"),
            ("89.99", "warning"),
            ("90", "critical"),
            ("99.99", "critical"),
            ("100", "exceeded"),
            ("101", "exceeded"),
        ],
    )
    def test_begins_at_its_percent(self, used: str, level: str) -> None:
        assert choose_level(used=D(used), limit=D(100), warning=D(75), critical=D(90)) == level

    def test_of_a_late_warning_passes_over_critical(self) -> None:
        found = [choose_level(used=D(used), limit=D(100), warning=D(95), critical=D(90)) for used in (92, 95, 100)]
        assert found == ["ok", "critical", "exceeded"]

    def test_is_ok_without_a_limit_and_exceeded_with_a_limit_of_zero(self) -> None:
        assert choose_level(used=D(10**20), limit=None, warning=D(75), critical=D(90)) == "ok"
        assert choose_level(used=D(0), limit=D(0), warning=D(75), critical=D(90)) == "exceeded"


class TestDecision:
    @pytest.mark.parametrize(
        ("used", "requested", "limit", "fits"),
        [
            ("90", "10", "100", True),
            ("90", "10.000000000001", "100", False),
            ("99.999999999999", "0", "100", True),
            ("100", "0", "100", False),
            ("0", "0", "0", False),
            ("0", "1", "0", False),
            ("5", "5", None, True),
            # 38 digits: 10^26 - 1 used, one more fits, one and a grain does not
            ("99999999999999999999999999", "1", "100000000000000000000000000", True),
            ("99999999999999999999999999", "1.000000000001", "100000000000000000000000000", False),
        ],
    )
    def test_is_exact(self, used: str, requested: str, limit: str | None, fits: bool) -> None:
        found = is_within(used=D(used), requested=D(requested), limit=None if limit is None else D(limit))
        assert found is fits

    def test_leaves_never_less_than_nothing(self) -> None:
        assert compute_remaining(used=D(30), limit=D(100)) == 70
        assert compute_remaining(used=D(130), limit=D(100)) == 0
        assert compute_remaining(used=D(130), limit=None) is None
