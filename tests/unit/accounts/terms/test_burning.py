"""Credit that pays: order, eligibility, sums, rollover."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.terms.burning import (
    BurnableGrant,
    Charge,
    Recurrence,
    burn,
    can_pay,
    compute_rollover,
    is_usable,
    list_renewals,
)
from billing_site.kernel.periods import Interval

AT = datetime(2026, 3, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def grant(name: str, remaining: int = 100, **values: Any) -> BurnableGrant:
    return BurnableGrant(
        **{"id": name, "remaining": remaining, "currency": "usd", "effective_at": AT, "created_at": AT, **values}
    )


def charge(key: str, amount: int, meter: str | None = None, **values: Any) -> Charge:
    return Charge(**{"key": key, "amount": amount, "currency": "usd", "meter": meter, **values})


class TestIsUsable:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ({}, True),
            ({"voided": True}, False),
            ({"remaining": 0}, False),
            ({"effective_at": AT + DAY}, False),
            ({"expires_at": AT + DAY}, True),
            ({"expires_at": AT}, False),  # half-open
        ],
    )
    def test_follows_from_the_grant_alone(self, values: dict[str, Any], expected: bool) -> None:
        assert is_usable(grant("a", **values), AT) is expected


class TestCanPay:
    @pytest.mark.parametrize(
        ("limits", "expected"),
        [
            ({}, True),
            ({"currency": "eur"}, False),
            ({"meters": frozenset({"m1", "m2"})}, True),
            ({"meters": frozenset({"m2"})}, False),
            ({"subscription": "sub_1"}, True),
            ({"subscription": "sub_2"}, False),
        ],
    )
    def test_needs_currency_meter_and_subscription_to_agree(self, limits: dict[str, Any], expected: bool) -> None:
        assert can_pay(grant("a", **limits), charge("usage", 5, "m1", subscription="sub_1")) is expected

    def test_refuses_fees_and_tax_to_a_grant_with_meters(self) -> None:
        assert not can_pay(grant("a", meters=frozenset({"m1"})), charge("tax", 5))


class TestBurn:
    def test_walks_over_the_lines_as_the_contract_shows(self) -> None:
        grants = [
            grant("B", 1000),
            grant("A", 300, expires_at=AT + DAY),
            grant("C", 200, priority=-1, meters=frozenset({"m1"})),
        ]
        result = burn(grants, [charge("usage", 150, "m1"), charge("fee", 500)], at=AT)
        assert [(each.grant, each.charge, each.amount) for each in result.allocations] == [
            ("C", "usage", 150),
            ("A", "fee", 300),
            ("B", "fee", 200),  # 500 - 300
        ]
        assert [200 - result.paid_by("C"), 1000 - result.paid_by("B")] == [50, 800]
        assert (result.paid, result.open) == (650, 0)

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ({"priority": -1}, {"expires_at": AT + DAY}),
            ({"subscription": "sub_1"}, {"expires_at": AT + DAY}),
            ({"expires_at": AT + DAY}, {"expires_at": AT + 2 * DAY}),
            ({"expires_at": AT + 900 * DAY}, {}),
            ({}, {"promotional": False}),
            ({"promotional": False, "expires_at": AT + DAY}, {}),
            ({"effective_at": AT - DAY}, {"created_at": AT - DAY}),
            ({"created_at": AT - DAY}, {}),
            ({"id": "0"}, {}),
        ],
    )
    def test_takes_the_earlier_in_order_first(self, first: dict[str, Any], second: dict[str, Any]) -> None:
        one = grant(first.get("id", "z"), **_without_id(first))
        other = grant(second.get("id", "a"), **_without_id(second))
        result = burn([other, one], [charge("fee", 60, subscription="sub_1")], at=AT)
        assert [(each.grant, each.amount) for each in result.allocations] == [(one.id, 60)]

    def test_leaves_open_what_nobody_may_pay(self) -> None:
        result = burn([grant("a", 100, currency="eur")], [charge("fee", 60)], at=AT)
        assert (result.allocations, result.rest) == ((), {"fee": 60})

    @pytest.mark.parametrize("charges", [[charge("a", -1)], [charge("a", 1), charge("a", 2)]])
    def test_refuses_charges_that_make_no_sense(self, charges: list[Charge]) -> None:
        with pytest.raises(ValueError, match="charge"):
            burn([], charges, at=AT)

    @given(st.data())
    def test_keeps_every_sum_and_ignores_the_order_of_grants(self, data: st.DataObject) -> None:
        grants = [
            grant(
                f"g{number}",
                data.draw(st.integers(0, 500)),
                priority=data.draw(st.integers(-1, 1)),
                currency=data.draw(st.sampled_from(["usd", "eur"])),
                expires_at=data.draw(st.sampled_from([None, AT, AT + DAY, AT + 2 * DAY])),
                promotional=data.draw(st.booleans()),
                meters=frozenset(data.draw(st.sets(st.sampled_from(["m1", "m2"])))),
                subscription=data.draw(st.sampled_from([None, "sub_1", "sub_2"])),
                voided=data.draw(st.booleans()),
            )
            for number in range(data.draw(st.integers(0, 6)))
        ]
        charges = [
            charge(
                f"c{number}",
                data.draw(st.integers(0, 700)),
                data.draw(st.sampled_from([None, "m1", "m2"])),
                currency=data.draw(st.sampled_from(["usd", "eur"])),
                subscription=data.draw(st.sampled_from([None, "sub_1"])),
            )
            for number in range(data.draw(st.integers(0, 5)))
        ]
        result = burn(grants, charges, at=AT)
        by_id = {each.id: each for each in grants}
        by_key = {each.key: each for each in charges}
        for allocation in result.allocations:
            assert allocation.amount > 0
            assert is_usable(by_id[allocation.grant], AT)
            assert can_pay(by_id[allocation.grant], by_key[allocation.charge])
        for each in charges:
            paid = sum(part.amount for part in result.allocations if part.charge == each.key)
            assert paid + result.rest[each.key] == each.amount
            assert result.rest[each.key] >= 0
        assert all(result.paid_by(each.id) <= each.remaining for each in grants)
        # Greedy: where something stays open, whoever could have paid it is spent.
        for each in charges:
            if result.rest[each.key]:
                payers = [other for other in grants if is_usable(other, AT) and can_pay(other, each)]
                assert all(result.paid_by(other.id) == other.remaining for other in payers)
        shuffled = list(grants)
        random.Random(data.draw(st.integers())).shuffle(shuffled)
        assert burn(shuffled, charges, at=AT) == result


def _without_id(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != "id"}


class TestComputeRollover:
    @pytest.mark.parametrize(
        ("rest", "minimum", "maximum", "kept"),
        [
            (400, 0, 2000, 400),  # 1,000 a month, 600 used: 1,000 + 400 = 1,400
            (3000, 0, 2000, 2000),
            (400, 0, 0, 0),
            (0, 250, 2000, 250),
        ],
    )
    def test_keeps_the_rest_within_its_bounds(self, rest: int, minimum: int, maximum: int, kept: int) -> None:
        assert compute_rollover(rest=rest, minimum=minimum, maximum=maximum) == kept

    @pytest.mark.parametrize("values", [{"rest": -1}, {"rest": 1, "minimum": 3, "maximum": 2}])
    def test_refuses_bounds_that_make_no_sense(self, values: dict[str, int]) -> None:
        with pytest.raises(ValueError, match="rollover"):
            compute_rollover(**values)


class TestListRenewals:
    def recurrence(self, **values: Any) -> Recurrence:
        return Recurrence(
            **{
                "amount": 1000,
                "interval": Interval.parse("month"),
                "anchor": date(2026, 1, 31),
                "zone": ZoneInfo("UTC"),
                **values,
            }
        )

    def test_begins_each_period_with_the_amount_and_what_rolled_over(self) -> None:
        found = list_renewals(
            self.recurrence(rollover_maximum=2000), index=0, rest=400, at=datetime(2026, 4, 1, tzinfo=UTC)
        )
        assert [(each.start.date(), each.amount, each.rolled_over) for each in found] == [
            (date(2026, 2, 28), 1400, 400),
            (date(2026, 3, 31), 2400, 1400),  # 1,000 + 1,400
        ]
        assert found[0].end == found[1].start

    def test_never_carries_more_than_its_maximum(self) -> None:
        found = list_renewals(self.recurrence(rollover_maximum=2000), index=0, rest=1000, at=AT + 400 * DAY)
        assert max(each.amount for each in found) == 3000  # 1,000 + 2,000

    def test_is_set_back_to_its_amount_without_rollover(self) -> None:
        (found,) = list_renewals(self.recurrence(), index=0, rest=400, at=AT)
        assert (found.amount, found.rolled_over) == (1000, 0)

    def test_finds_nothing_before_the_boundary(self) -> None:
        assert list_renewals(self.recurrence(), index=0, rest=400, at=datetime(2026, 2, 27, 23, tzinfo=UTC)) == []
