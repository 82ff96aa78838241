"""Amounts split by cost center: to the cent, ties by order, what nobody used to nobody."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoicing.calculation.centers import WITHOUT_CENTER, CenterFacts, split_amount


def center(name: str, quantity: str) -> CenterFacts:
    """A center, or usage without one when the name is empty."""
    return CenterFacts(f"cc_{name}" if name else "", name, name.title(), Decimal(quantity))


class TestSplitAmount:
    def test_gives_the_cent_that_is_left_to_the_first(self) -> None:
        shares = split_amount(10_000, [center("a", "1"), center("b", "1"), center("c", "1")])
        assert [(share.center.code, share.amount) for share in shares] == [("a", 3334), ("b", 3333), ("c", 3333)]

    @pytest.mark.parametrize(
        ("quantities", "amount", "parts"),
        [
            (("1000", "500"), 5, [3, 2]),  # 3.33 and 1.67: the larger remainder takes the cent
            (("0.000000000001", "0.000000000003"), 100, [25, 75]),
            (("2", "1"), -100, [-67, -33]),
            (("1", "1"), 0, [0, 0]),
        ],
    )
    def test_splits_by_quantity(self, quantities: tuple[str, str], amount: int, parts: list[int]) -> None:
        shares = split_amount(amount, [center("a", quantities[0]), center("", quantities[1])])
        assert [share.amount for share in shares] == parts

    def test_does_not_split_what_names_no_center(self) -> None:
        assert split_amount(100, [center("", "7")]) == ()
        assert split_amount(100, []) == ()

    def test_leaves_out_centers_without_quantity(self) -> None:
        (share,) = split_amount(100, [center("a", "0"), center("b", "2")])
        assert (share.center.code, share.amount) == ("b", 100)

    def test_gives_what_nobody_used_to_nobody(self) -> None:
        (share,) = split_amount(100, [center("a", "0"), center("b", "0")])
        assert (share.center, share.amount) == (WITHOUT_CENTER, 100)

    @given(
        st.integers(-(10**15), 10**15),
        st.lists(st.decimals(0, 10**20, places=12), min_size=1, max_size=30),
    )
    def test_always_sums_to_the_amount(self, amount: int, quantities: list[Decimal]) -> None:
        centers = [center(f"c{number}", str(quantity)) for number, quantity in enumerate(quantities)]
        assert sum(share.amount for share in split_amount(amount, centers)) == amount


class TestCenterFacts:
    def test_reads_back_what_it_wrote(self) -> None:
        facts = center("ops", "1.50")
        assert CenterFacts.from_dict(facts.as_dict()) == facts
