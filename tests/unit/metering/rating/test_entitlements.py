"""The decision: the first row of the table that fits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from metering.rating.entitlements import Decision, HardLimit, Standing, decide_entitlement, find_last_to_reset

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)


def limit(**values: Any) -> HardLimit:
    base = {
        "id": "q",
        "feature": "llm:proxy",
        "meter_event_name": "tokens",
        "window": "day",
        "limit": Decimal(100),
        "used": Decimal(60),
        "resets_at": NOW,
    }
    return HardLimit(**{**base, **values})


def granted(*limits: HardLimit) -> Standing:
    return Standing("small", True, limits)


class TestDecideEntitlement:
    def test_nothing_runs(self) -> None:
        assert decide_entitlement(Standing()) == Decision("billing_required")

    def test_nothing_that_runs_grants_the_scope(self) -> None:
        assert decide_entitlement(Standing("small")) == Decision("billing_required", "small")

    def test_a_plan_comes_before_its_limits(self) -> None:
        exhausted = limit(used=Decimal(100))
        assert decide_entitlement(Standing("small", False, (exhausted,))).reason == "billing_required"

    def test_without_limits(self) -> None:
        assert decide_entitlement(granted()) == Decision("billing_active", "small")

    @pytest.mark.parametrize(
        ("used", "reserved", "quantity", "allowed"),
        [
            ("60", "0", "40", True),  # 60 + 40 = 100
            ("60", "0", "40.000000000001", False),
            ("60", "30", "10", True),  # 60 + 30 + 10 = 100
            ("60", "30", "11", False),
            ("100", "0", "0.000000000001", False),
            ("130", "0", "1", False),
        ],
    )
    def test_by_quantity(self, used: str, reserved: str, quantity: str, allowed: bool) -> None:
        one = limit(used=Decimal(used), reserved=Decimal(reserved))
        decision = decide_entitlement(granted(one), meter_event_name="tokens", quantity=Decimal(quantity))
        assert decision == (
            Decision("billing_active", "small") if allowed else Decision("quota_exceeded", "small", one)
        )

    @pytest.mark.parametrize(
        ("used", "reserved", "bound", "allowed"),
        [
            ("99.9", "0", "100", True),
            ("100", "0", "100", False),
            ("60", "40", "100", False),
            ("0", "0", "0", False),  # zero allows nothing
        ],
    )
    def test_by_exhaustion(self, used: str, reserved: str, bound: str, allowed: bool) -> None:
        one = limit(used=Decimal(used), reserved=Decimal(reserved), limit=Decimal(bound))
        assert decide_entitlement(granted(one)).is_allowed is allowed

    def test_limits_of_other_meters_do_not_weigh_a_quantity(self) -> None:
        exhausted = limit(meter_event_name="calls", used=Decimal(100))
        standing = granted(exhausted, limit())
        assert decide_entitlement(standing, meter_event_name="tokens", quantity=Decimal(1)).is_allowed
        assert decide_entitlement(standing).limit is exhausted

    def test_limits_without_a_scope_count_where_their_meter_is_named(self) -> None:
        exhausted = limit(feature="", used=Decimal(100))
        assert decide_entitlement(granted(exhausted)).is_allowed
        assert not decide_entitlement(granted(exhausted), meter_event_name="tokens", quantity=Decimal(1)).is_allowed

    def test_is_exact_beyond_28_digits(self) -> None:
        one = limit(limit=Decimal(10) ** 25, used=Decimal("1E-12"))
        assert not decide_entitlement(granted(one), meter_event_name="tokens", quantity=Decimal(10) ** 25).is_allowed


class TestHardLimit:
    def test_remaining_is_never_below_zero(self) -> None:
        assert limit(used=Decimal(130)).remaining == 0
        assert limit(used=Decimal(60), reserved=Decimal(15)).remaining == 25  # 100 - 60 - 15


class TestFindLastToReset:
    def test_takes_the_latest(self) -> None:
        day, month = limit(id="day"), limit(id="month", resets_at=NOW + timedelta(days=16))
        assert find_last_to_reset([day, month]) is month
        assert find_last_to_reset([month, day]) is month

    def test_never_is_later_than_everything(self) -> None:
        ever = limit(id="ever", resets_at=None)
        assert find_last_to_reset([limit(), ever, limit(resets_at=NOW + timedelta(days=9000))]) is ever

    def test_of_equals_the_first(self) -> None:
        first, second = limit(id="1"), limit(id="2")
        assert find_last_to_reset([first, second]) is first
