"""Tax: by rate, by line, with prices that include it, and always adding up."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_site.kernel.periods import Period
from invoicing.calculation.discounts import DiscountFacts
from invoicing.calculation.draft import Draft, draft_invoice
from invoicing.calculation.facts import ChargeFacts, InvoiceFacts
from invoicing.calculation.shares import ShareFacts
from invoicing.calculation.taxes import (
    TaxBase,
    TaxFacts,
    TaxMode,
    TaxRateFacts,
    TaxSpan,
    compute_taxes,
    decide_treatment,
    extract_tax,
    make_zero_rate,
    share_tax,
)
from tests.unit.invoicing.calculation.test_draft import DECEMBER, NOVEMBER, facts, fee, usage

MODES: tuple[TaxMode, ...] = ("rate", "line", "keep_gross")
UNION = frozenset({"DE", "FR", "GR"})


def rate(percent: str, name: str = "VAT", *, inclusive: bool = False, place: str = "DE") -> TaxRateFacts:
    return TaxRateFacts(f"txr_{name}", name, Decimal(percent) / 100, inclusive, place)


def tax(*rates: TaxRateFacts, mode: TaxMode = "rate", on: date = date(2023, 12, 1)) -> TaxFacts:
    return TaxFacts(mode, "DE", "", on, spans=(TaxSpan(None, rates),))


def draft(*charges: ChargeFacts, taxed: TaxFacts, currency: str = "usd", **options: object) -> Draft:
    return draft_invoice(replace(facts(*charges, currency=currency), tax=taxed, **options))  # type: ignore[arg-type]


class TestModes:
    @pytest.mark.parametrize(
        ("mode", "net", "taxed", "total"),
        [("line", 42015, 7985, 50000), ("rate", 42015, 7983, 49998), ("keep_gross", 42017, 7983, 50000)],
    )
    def test_five_prices_of_100_that_include_19_percent(self, mode: TaxMode, net: int, taxed: int, total: int) -> None:
        # The example of policies, rule 21: 100 / 1.19 = 84.0336…; 420.15 × 0.19 = 79.8285; 500 / 1.19 = 420.168…
        made = draft(*[fee("10000") for _ in range(5)], taxed=tax(rate("19", inclusive=True), mode=mode))
        assert (made.subtotal, made.tax, made.total) == (net, taxed, total)

    def test_what_is_kept_is_shared_by_largest_remainder(self) -> None:
        made = draft(*[fee("10000") for _ in range(5)], taxed=tax(rate("19", inclusive=True), mode="keep_gross"))
        assert [line.tax for line in made.lines] == [1597, 1597, 1597, 1596, 1596]
        assert [line.amount for line in made.lines] == [8403, 8403, 8403, 8404, 8404]

    def test_on_top_of_lines_and_of_their_sum(self) -> None:
        # 19 % of 0.07 is 0.0133: three lines by themselves 0.03, together 0.0399 = 0.04.
        lines = [fee("7") for _ in range(3)]
        assert draft(*lines, taxed=tax(rate("19"), mode="line")).tax == 3
        assert draft(*lines, taxed=tax(rate("19"), mode="rate")).tax == 4
        assert draft(*lines, taxed=tax(rate("19"), mode="keep_gross")).tax == 4

    def test_rates_of_one_place_add_up(self) -> None:
        made = draft(fee("10000"), taxed=tax(rate("5", "GST"), rate("9.975", "QST")))
        assert [(each.rate.name, each.base, each.amount) for each in made.taxes] == [
            ("GST", 10000, 500),
            ("QST", 10000, 998),
        ]
        assert made.lines[0].taxes == (500, 998)

    def test_one_rate_inside_the_price_and_one_on_top(self) -> None:
        # 110.00 / 1.10 = 100.00; 2 % of it on top.
        made = draft(fee("11000"), taxed=tax(rate("10", "VAT", inclusive=True), rate("2", "Levy")))
        assert (made.subtotal, made.tax, made.total) == (10000, 1200, 11200)

    def test_half_even_rounds_tax_as_it_rounds_lines(self) -> None:
        # 5 % of 0.50 is 0.025.
        assert draft(fee("50"), taxed=tax(rate("5")), rounding="half_even").tax == 2
        assert draft(fee("50"), taxed=tax(rate("5"))).tax == 3

    @pytest.mark.parametrize(("currency", "amount", "expected"), [("jpy", "1005", 101), ("kwd", "10005", 1001)])
    def test_currencies_without_cents_and_with_three_digits(self, currency: str, amount: str, expected: int) -> None:
        assert draft(usage(amount, "1", currency=currency), taxed=tax(rate("10")), currency=currency).tax == expected


class TestDiscounts:
    def test_tax_is_on_what_discounts_leave(self) -> None:
        # Lines 50 + 20, coupon 10, tax 10 %: base 60, tax 6, total 66.
        coupon = DiscountFacts("d", "Ten", datetime(2023, 1, 1, tzinfo=UTC), amount_off=1000, currency="usd")
        made = draft(fee("5000"), usage("2000", "1"), taxed=tax(rate("10")), discounts=(coupon,))
        assert (made.subtotal, made.discount, made.tax, made.total) == (7000, 1000, 600, 6600)

    def test_a_discount_of_a_price_with_tax_is_without_it_too(self) -> None:
        # 119.00 less 10 % is 107.10 = 90.00 + 17.10; of the discount of 11.90, 1.90 is tax.
        off = DiscountFacts("d", "Off", datetime(2023, 1, 1, tzinfo=UTC), percent_off=Decimal(10))
        made = draft(fee("11900"), taxed=tax(rate("19", inclusive=True)), discounts=(off,))
        assert (made.subtotal, made.discount, made.tax, made.total) == (10000, 1000, 1710, 10710)


class TestSigns:
    def test_a_credit_line_takes_its_tax_back(self) -> None:
        # A negative total keeps a negative tax; it becomes invoice credit with it.
        assert share_tax(-3, [-10, -5], rate=Fraction(1, 5)) == [-2, -1]
        assert share_tax(0, [10, -10], rate=Fraction(1, 4)) == [3, -3]
        credit = replace(
            fee("9900"), type="proration", is_credit=True, share=ShareFacts(15, 30, "15/30 days"), period=NOVEMBER
        )
        made = draft(fee("4900"), credit, taxed=tax(rate("20")))
        assert (made.subtotal, made.tax, made.total) == (-50, -10, -60)
        assert [line.tax for line in made.lines] == [980, -990]


class TestDays:
    def test_a_line_bears_the_rate_of_the_day_on_which_it_is_complete(self) -> None:
        # Used in November at 16 %, the fee of December, paid on its first day, at 19 %.
        old, new = rate("16", "Old"), rate("19", "New")
        spans = (TaxSpan(None, (old,)), TaxSpan(date(2023, 12, 1), (new,)))
        taxed = TaxFacts("rate", "DE", "", date(2023, 12, 1), spans=spans)
        made = draft(usage("10000", "1"), replace(fee("10000"), period=DECEMBER), taxed=taxed)
        assert [(each.rate.name, each.base, each.amount) for each in made.taxes] == [
            ("Old", 10000, 1600),
            ("New", 10000, 1900),
        ]
        assert [line.taxes for line in made.lines] == [(1600, 0), (0, 1900)]

    def test_no_line_bears_a_rate_from_after_the_invoice(self) -> None:
        spans = (TaxSpan(None, (rate("16", "Old"),)), TaxSpan(date(2023, 12, 15), (rate("19", "New"),)))
        taxed = TaxFacts("rate", "DE", "", date(2023, 12, 1), spans=spans)
        made = draft(replace(fee("10000"), period=DECEMBER), taxed=taxed)
        assert made.tax == 1600


class TestTreatment:
    def decide(self, country: str = "DE", seller: str = "FR", *, number: bool = True, exempt: bool = False) -> str:
        return decide_treatment(
            country=country, seller_country=seller, has_business_number=number, is_exempt=exempt, union=UNION
        )

    def test_reverse_charge_is_for_businesses_in_another_country_of_the_union(self) -> None:
        assert self.decide() == "reverse_charge"
        assert self.decide(number=False) == "taxed"
        assert self.decide(country="FR") == "taxed"
        assert self.decide(country="US") == "taxed"
        assert self.decide(seller="US") == "taxed"
        assert self.decide(seller="") == "taxed"

    def test_an_exempt_account_is_exempt_everywhere(self) -> None:
        assert self.decide(exempt=True) == self.decide(country="US", exempt=True) == "exempt"

    def test_a_rate_of_zero_says_why(self) -> None:
        taxed = TaxFacts(
            "rate",
            "DE",
            "",
            date(2023, 12, 1),
            "reverse_charge",
            (TaxSpan(None, (make_zero_rate("reverse_charge", "DE"),)),),
        )
        made = draft(fee("10000"), taxed=taxed)
        (line,) = made.taxes
        assert (line.base, line.amount, made.total) == (10000, 0, 10000)
        assert line.note == "Reverse charge: the recipient accounts for the tax."


class TestTrace:
    def test_facts_come_back_from_their_stored_form(self) -> None:
        told = replace(
            facts(fee("11900"), usage("3", "7")),
            tax=TaxFacts(
                "keep_gross",
                "US",
                "CA",
                date(2023, 12, 1),
                spans=(TaxSpan(None, (rate("19", inclusive=True),)), TaxSpan(date(2023, 12, 1), ())),
            ),
        )
        rebuilt = InvoiceFacts.from_dict(json.loads(json.dumps(told.as_dict())))
        assert rebuilt == told
        assert draft_invoice(rebuilt) == draft_invoice(told)

    def test_the_steps_lead_to_the_tax(self) -> None:
        made = draft(fee("11900"), taxed=tax(rate("19", inclusive=True)))
        assert made.lines[0].steps[-2:] == (
            {
                "title": "Tax in the price",
                "formula": "119.00 − 119.00 / (1 + 19 %)",
                "value": "1900 = 19.00 USD, leaves 100.00",
            },
            {
                "title": "Tax VAT (DE)",
                "formula": "19 % of 100.00 is 19.00, rounded on the sum of the lines and shared by largest remainder,"
                " included in the price",
                "value": "1900 = 19.00 USD",
            },
        )


RATES = st.lists(
    st.builds(
        TaxRateFacts,
        id=st.uuids().map(str),
        name=st.just("Tax"),
        rate=st.decimals(0, 1, places=4),
        inclusive=st.booleans(),
        jurisdiction=st.just("DE"),
    ),
    max_size=3,
)
AMOUNTS = st.lists(st.integers(-(10**7), 10**9), min_size=1, max_size=12)


class TestSums:
    @given(AMOUNTS, RATES, st.sampled_from(MODES), st.data())
    def test_everything_adds_up(
        self, amounts: list[int], rates: list[TaxRateFacts], mode: TaxMode, data: st.DataObject
    ) -> None:
        bases = [TaxBase(each, tuple(rate for rate in rates if data.draw(st.booleans()))) for each in amounts]
        result = compute_taxes(bases, mode=mode)
        for position, line in enumerate(result.taxes):
            assert line.amount == sum(each.shares[position] for each in result.lines)
            bearing = [each.net for each, base in zip(result.lines, bases, strict=True) if line.rate in base.rates]
            assert line.base == sum(bearing)
        for base, taxed in zip(bases, result.lines, strict=True):
            if not base.rates:
                assert (taxed.net, sum(taxed.shares)) == (base.amount, 0)

    @given(AMOUNTS, st.decimals(0, 1, places=4), st.sampled_from(["line", "keep_gross"]))
    def test_prices_that_include_tax_sum_to_what_was_agreed(
        self, amounts: list[int], fraction: Decimal, mode: TaxMode
    ) -> None:
        one = TaxRateFacts("txr_1", "Tax", fraction, inclusive=True, jurisdiction="DE")
        result = compute_taxes([TaxBase(each, (one,)) for each in amounts], mode=mode)
        assert sum(each.net + sum(each.shares) for each in result.lines) == sum(amounts)
        for amount, each in zip(amounts, result.lines, strict=True):
            assert each.net + sum(each.shares) == amount

    @given(AMOUNTS.flatmap(lambda found: st.tuples(st.just(found), st.permutations(found))), RATES)
    def test_the_order_of_lines_does_not_change_the_tax(
        self, orders: tuple[list[int], list[int]], rates: list[TaxRateFacts]
    ) -> None:
        first, second = (
            compute_taxes([TaxBase(each, tuple(rates)) for each in amounts], mode="rate") for amounts in orders
        )
        assert first.taxes == second.taxes

    @given(AMOUNTS, st.decimals(0, 1, places=4))
    def test_no_share_is_further_from_its_exact_tax_than_one(self, amounts: list[int], fraction: Decimal) -> None:
        one = TaxRateFacts("txr_1", "Tax", fraction, inclusive=False, jurisdiction="DE")
        result = compute_taxes([TaxBase(each, (one,)) for each in amounts], mode="rate")
        for amount, each in zip(amounts, result.lines, strict=True):
            assert abs(each.shares[0] - amount * fraction) <= 1

    @given(st.integers(-(10**9), 10**9), st.decimals(0, 1, places=6))
    def test_tax_taken_out_and_put_on_again_is_off_by_rounding_only(self, amount: int, fraction: Decimal) -> None:
        one = TaxRateFacts("txr_1", "Tax", fraction, inclusive=True, jurisdiction="DE")
        net = amount - extract_tax(amount, [one])
        assert abs(net * (1 + fraction) - amount) <= 1

    @given(
        st.lists(st.integers(0, 10**6), min_size=1, max_size=6),
        RATES,
        st.sampled_from(MODES),
        st.decimals(1, 100, places=2),
    )
    def test_lines_less_discounts_and_tax_are_the_total(
        self, amounts: list[int], rates: list[TaxRateFacts], mode: TaxMode, percent: Decimal
    ) -> None:
        off = DiscountFacts("d", "Off", datetime(2023, 1, 1, tzinfo=UTC), percent_off=percent)
        charges = [replace(fee(str(each)), period=Period(NOVEMBER.start, NOVEMBER.end)) for each in amounts]
        made = draft(*charges, taxed=tax(*rates, mode=mode), discounts=(off,))
        assert made.total == sum(line.amount - line.discount + line.tax for line in made.lines)
        assert made.tax == sum(each.amount for each in made.taxes)
        assert all(0 <= line.discount <= line.amount for line in made.lines)
