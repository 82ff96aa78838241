"""Amounts on their way to Stripe and back: the same money, or a refusal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_site.kernel.money import CURRENCIES, Money, get_exponent
from invoicing.gateways.port import OrderRejected
from invoicing.gateways.stripe.money import TAKEN, from_provider, read_fee, to_provider

# How many of Stripe's minor units are one unit, by its list: where that is not 10 to the power of ISO's exponent.
_STRIPES_OWN = {"isk": 100, "ugx": 100, "mga": 1}

amounts = st.integers(min_value=1, max_value=10**14)
currencies = st.sampled_from(sorted(TAKEN))


def units_at_stripe(currency: str) -> int:
    return _STRIPES_OWN.get(currency, {0: 1, 2: 100, 3: 1000}[get_exponent(currency)])


class TestThereAndBack:
    @given(amount=amounts, currency=currencies)
    def test_what_is_taken_comes_back_the_same(self, amount: int, currency: str) -> None:
        money = Money(amount, currency)
        try:
            sent = to_provider(money)
        except OrderRejected as refusal:
            assert refusal.code == "amount_not_expressible"
            assert currency in {"mga", "bhd", "jod", "kwd", "omr", "tnd"}
            return
        assert from_provider(sent, currency) == money

    @given(amount=amounts, currency=currencies)
    def test_is_the_same_number_of_whole_units(self, amount: int, currency: str) -> None:
        whole = amount * {0: 1, 2: 100, 3: 1000}[get_exponent(currency)]
        assert to_provider(Money(whole, currency)) == amount * units_at_stripe(currency)

    @given(amount=amounts, currency=currencies)
    def test_pays_out_no_less_than_was_said(self, amount: int, currency: str) -> None:
        money = Money(amount, currency)
        try:
            sent = to_provider(money, is_payout=True)
        except OrderRejected:
            return
        assert from_provider(sent, currency) == money


@pytest.mark.parametrize(
    ("money", "expected"),
    [
        (Money(1050, "usd"), 1050),
        (Money(500, "jpy"), 500),
        (Money(40, "isk"), 4000),
        (Money(3700, "ugx"), 370000),
        (Money(120000, "mga"), 1200),
        (Money(5120, "kwd"), 5120),
        (Money(5, "clp"), 5),
        (Money(4551, "huf"), 4551),
    ],
)
def test_charges(money: Money, expected: int) -> None:
    assert to_provider(money) == expected


@pytest.mark.parametrize(
    ("money", "code"),
    [
        (Money(120050, "mga"), "amount_not_expressible"),
        (Money(5123, "kwd"), "amount_not_expressible"),
        (Money(1001, "bhd"), "amount_not_expressible"),
        (Money(1002, "jod"), "amount_not_expressible"),
        (Money(1003, "omr"), "amount_not_expressible"),
        (Money(1004, "tnd"), "amount_not_expressible"),
        (Money(100, "irr"), "currency_unsupported"),
        (Money(100, "clf"), "currency_unsupported"),
    ],
)
def test_refuses_what_cannot_be_said(money: Money, code: str) -> None:
    with pytest.raises(OrderRejected) as refusal:
        to_provider(money)
    assert refusal.value.code == code


@pytest.mark.parametrize("currency", ["huf", "twd"])
def test_payouts_of_some_currencies_are_whole(currency: str) -> None:
    assert to_provider(Money(10_000, currency), is_payout=True) == 10_000
    assert to_provider(Money(10_050, currency)) == 10_050
    with pytest.raises(OrderRejected):
        to_provider(Money(10_050, currency), is_payout=True)


def test_parts_of_a_krona_are_no_amount_of_ours() -> None:
    with pytest.raises(ValueError, match="no whole ISK"):
        from_provider(4010, "isk")


def test_what_stripe_keeps_is_rounded_once() -> None:
    # 2.9 % of 40 krónur are 1.16: Stripe keeps 116 hundredths, we have whole ones.
    assert read_fee(116, "isk") == Money(1, "isk")
    assert read_fee(150, "ugx") == Money(2, "ugx")
    assert read_fee(59, "USD") == Money(59, "usd")
    assert read_fee(3, "mga") == Money(300, "mga")


def test_every_currency_stripe_takes_is_one_of_ours() -> None:
    assert TAKEN <= CURRENCIES
    assert {"usd", "eur", "gbp", "jpy", "isk", "ugx", "mga", "kwd", "huf", "twd"} <= TAKEN
