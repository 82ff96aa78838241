"""The draft function: facts in, lines and totals out, exact and explained."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_site.kernel.periods import Period
from catalog.pricing.terms import PriceTerms
from catalog.pricing.usage import Usage
from invoicing.calculation.draft import CurrencyMixed, draft_invoice
from invoicing.calculation.facts import ChargeFacts, InvoiceFacts, QuantitySource

NOVEMBER = Period(datetime(2023, 11, 1, tzinfo=UTC), datetime(2023, 12, 1, tzinfo=UTC))
DECEMBER = Period(datetime(2023, 12, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC))


def price(unit_amount: str, *, meter: str | None = None, currency: str = "usd") -> PriceTerms:
    return PriceTerms(
        price_id="price_1",
        model="per_unit" if meter else "flat",
        currency=currency,
        unit_amount=Decimal(unit_amount),
        meter=meter,
        unit="tokens" if meter else None,
        interval="month",
        interval_count=1,
        billing_timing="arrears" if meter else "advance",
        lookup_key=f"basic:{currency}:month",
    )


def usage(unit_amount: str, quantity: str, **options: str) -> ChargeFacts:
    return ChargeFacts(
        type="usage",
        item_id="si_1",
        plan_version_id="plv_1",
        plan_id="basic",
        plan_name="Basic",
        price=price(unit_amount, meter="tokens", **options),
        usage=Usage(Decimal(quantity)),
        period=NOVEMBER,
        source=QuantitySource("usage", 3, datetime(2023, 11, 30, 23, 59, 59, 999999, tzinfo=UTC)),
        meter_name="Tokens",
    )


def fee(unit_amount: str, quantity: int = 1) -> ChargeFacts:
    return ChargeFacts(
        type="subscription",
        item_id="si_2",
        plan_version_id="plv_1",
        plan_id="basic",
        plan_name="Basic",
        price=price(unit_amount),
        usage=Usage(Decimal(quantity)),
        period=DECEMBER,
        source=QuantitySource("item"),
    )


def facts(*charges: ChargeFacts, currency: str = "usd", **options: str) -> InvoiceFacts:
    return InvoiceFacts(currency=currency, timezone="UTC", boundary=1, charges=charges, **options)  # type: ignore[arg-type]


class TestDraftInvoice:
    def test_rates_real_token_counts_to_the_cent(self) -> None:
        # 22,361,870 × 0.00005 = 1118.0935 → 1118; 4,088,665 × 0.00015 = 613.29975 → 613; together 17.31 usd
        draft = draft_invoice(facts(usage("0.00005", "22361870"), usage("0.00015", "4088665")))
        assert [(line.exact_amount, line.amount) for line in draft.lines] == [
            (Decimal("1118.0935"), 1118),
            (Decimal("613.29975"), 613),
        ]
        assert (draft.subtotal, draft.tax, draft.discount, draft.total, draft.amount_due) == (1731, 0, 0, 1731, 1731)

    def test_rounds_a_tie_away_from_zero_once_per_line(self) -> None:
        draft = draft_invoice(facts(usage("0.5", "1"), usage("0.5", "1")))
        # Two lines of half a cent are a cent each; a rounding of the sum would give one.
        assert [line.amount for line in draft.lines] == [1, 1]
        assert draft.total == 2

    def test_follows_the_sellers_rounding_mode(self) -> None:
        draft = draft_invoice(facts(usage("0.5", "1"), usage("0.5", "3"), rounding="half_even"))
        # 0.5 → 0 and 1.5 → 2
        assert [line.amount for line in draft.lines] == [0, 2]

    def test_multiplies_a_fee_by_seats(self) -> None:
        draft = draft_invoice(facts(fee("2000", 14)))
        assert draft.total == 28_000
        assert draft.lines[0].period == DECEMBER

    def test_leaves_out_free_fees_and_unused_meters(self) -> None:
        draft = draft_invoice(facts(fee("0"), usage("0.1", "0")))
        assert draft.lines == ()
        assert draft.total == 0

    def test_shows_usage_that_costs_nothing(self) -> None:
        draft = draft_invoice(facts(usage("0", "12")))
        assert [line.amount for line in draft.lines] == [0]

    def test_covers_all_its_lines(self) -> None:
        draft = draft_invoice(facts(usage("1", "1"), fee("1000")))
        assert draft.period == Period(NOVEMBER.start, DECEMBER.end)

    def test_refuses_another_currency(self) -> None:
        with pytest.raises(CurrencyMixed, match="is in eur, not usd"):
            draft_invoice(facts(usage("1", "1", currency="eur")))

    def test_says_why(self) -> None:
        line = draft_invoice(facts(usage("0.00005", "22361870"))).lines[0]
        assert [step["title"] for step in line.steps] == [
            "Price",
            "Period",
            "Quantity",
            "Exact amount",
            "Rounded once",
        ]
        assert line.steps[2]["value"] == "22361870 tokens"
        assert line.steps[3] == {
            "title": "Exact amount",
            "formula": "22361870 × 0.00005",
            "value": "1118.0935 minor units",
        }
        assert line.steps[4]["value"] == "1118 = 11.18 USD"


amounts = st.decimals(min_value=0, max_value=10**9, places=12).map(str)
quantities = st.decimals(min_value=0, max_value=10**12, places=6).map(str)


class TestFacts:
    @given(st.lists(st.tuples(amounts, quantities), max_size=6))
    def test_survive_their_stored_form_and_give_the_same_draft(self, charges: list[tuple[str, str]]) -> None:
        original = facts(fee("1000", 3), *(usage(unit, quantity) for unit, quantity in charges))
        stored = json.loads(json.dumps(original.as_dict()))
        rebuilt = InvoiceFacts.from_dict(stored)
        # Trailing zeros are the only thing the stored form drops; values and so the draft are the same.
        first, second = draft_invoice(original), draft_invoice(rebuilt)
        assert [line.amount for line in first.lines] == [line.amount for line in second.lines]
        assert [line.trace for line in first.lines] == [line.trace for line in second.lines]
        assert first.total == second.total == sum(line.amount for line in first.lines)

    def test_of_another_version_are_refused(self) -> None:
        stored = facts().as_dict() | {"version": 99}
        with pytest.raises(ValueError, match="version 99"):
            InvoiceFacts.from_dict(stored)
