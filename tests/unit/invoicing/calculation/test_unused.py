"""Unused time: what it is worth without tax, what bounds it, and that notes of it never pass their invoice."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_site.kernel.money import RoundingMode
from billing_site.kernel.periods import Period
from invoicing.calculation.credit_facts import CreditFacts, WantedLine, Wish
from invoicing.calculation.credit_notes import CreditExceeds, NothingToCredit, draft_credit_note
from invoicing.calculation.draft import draft_invoice
from invoicing.calculation.facts import ChargeFacts, InvoiceFacts
from invoicing.calculation.shares import ShareFacts
from invoicing.calculation.taxes import TaxFacts, TaxMode, TaxRateFacts, TaxSpan
from invoicing.calculation.unused import CreditedFacts, UnusedFacts
from tests.unit.invoicing.calculation.test_credit_notes import EVERYTHING, credit, invoices, make_invoice
from tests.unit.invoicing.calculation.test_discounts import amount as amount_off
from tests.unit.invoicing.calculation.test_discounts import percent
from tests.unit.invoicing.calculation.test_draft import fee, usage

LAST_TEN = Period(datetime(2023, 11, 21, tzinfo=UTC), datetime(2023, 12, 1, tzinfo=UTC))
TEN_DAYS = ShareFacts(10, 30, "10/30 days")


def unused(fee: str = "3000", *, net: int = 3000, gross: int = 3000, share: ShareFacts = TEN_DAYS) -> UnusedFacts:
    return UnusedFacts(Decimal(fee), share, LAST_TEN, net, gross)


def want(facts: CreditFacts, *wanted: WantedLine) -> CreditFacts:
    return replace(facts, wish=Wish(wanted))


class TestMeasure:
    def test_is_the_share_rounded_once(self) -> None:
        # 49.99 × 10/30 = 16.6633…
        assert unused("4999", net=4999, gross=4999).measure(rounding="half_up") == 1666

    def test_is_without_the_tax_inside(self) -> None:
        # 10.00 as agreed, × 25.21 / 30.00 = 8.4033…
        assert unused(net=2521).measure(rounding="half_up") == 840

    def test_of_all_of_a_line_is_the_line(self) -> None:
        whole = ShareFacts(1, 1, "full period")
        assert unused(net=2521, share=whole).measure(rounding="half_up") == 2521


class TestNotes:
    def test_credit_net_and_tax_apart(self) -> None:
        draft = draft_credit_note(want(make_invoice(3000, percent="19"), WantedLine("l1", unused=unused())))
        assert (draft.subtotal, draft.tax, draft.total) == (1000, 190, 1190)
        assert draft.lines[0].trace["unused"]["share"]["text"] == "10/30 days"

    def test_take_no_more_than_is_left_of_the_line(self) -> None:
        facts = make_invoice(3000, percent="19")
        facts = credit(facts, draft_credit_note(want(facts, WantedLine("l1", 2400))))
        draft = draft_credit_note(want(facts, WantedLine("l1", unused=unused())))
        # 570 of tax, of which 456 were taken
        assert (draft.subtotal, draft.tax) == (600, 114)

    @pytest.mark.parametrize("rate", ["", "10"])
    def test_take_no_more_than_the_invoice_was_for(self, rate: str) -> None:
        # −20.00 + 40.00: of the 38.00 that are unused the invoice gives 20.00
        facts = make_invoice(-2000, 4000, percent=rate)
        wanted = WantedLine("l2", unused=unused("6000", net=4000, gross=4000, share=ShareFacts(19, 30, "19/30 days")))
        assert draft_credit_note(want(facts, wanted)).subtotal == 2000

    def test_share_the_room_in_the_order_of_the_wishes(self) -> None:
        facts = make_invoice(-2000, 1500, 1500)
        whole = unused("1500", net=1500, gross=1500, share=ShareFacts(1, 1, "full period"))
        draft = draft_credit_note(want(facts, WantedLine("l2", 800, unused=whole), WantedLine("l3", unused=whole)))
        assert [line.amount for line in draft.lines] == [800, 200]

    def test_of_nothing_left_are_none(self) -> None:
        facts = make_invoice(3000)
        facts = credit(facts, draft_credit_note(replace(facts, wish=EVERYTHING)))
        with pytest.raises(NothingToCredit):
            draft_credit_note(want(facts, WantedLine("l1", unused=unused())))


class TestBounds:
    @pytest.mark.parametrize(
        ("left", "given", "expected"),
        [(None, 0, 1000), ("600", 0, 600), (None, 300, 700), ("600", 300, 600), (None, 1200, 0)],
    )
    def test_of_a_line_below_zero(self, left: str | None, given: int, expected: int) -> None:
        bound = CreditedFacts("il_1", None if left is None else Decimal(left), Decimal(given))
        assert bound.bound(Decimal(1000)) == expected
        assert CreditedFacts.from_dict(json.loads(json.dumps(bound.as_dict()))) == bound

    def test_hold_in_the_draft(self) -> None:
        charge = prorate(fee("3000"), 10, credits=CreditedFacts("il_1", left=Decimal(600)))
        (line,) = draft_invoice(InvoiceFacts("usd", "UTC", None, charges=(charge,))).lines
        assert line.amount == -600
        assert "at most 600 left of the line" in line.steps[-2]["formula"]


def prorate(charge: ChargeFacts, days: int, *, credits: CreditedFacts | None = None) -> ChargeFacts:
    share = ShareFacts(days, 30, f"{days}/30 days")
    return replace(charge, type="proration", share=share, is_credit=credits is not None, credits=credits)


@st.composite
def wanted_times(draw: st.DrawFn) -> list[tuple[int, UnusedFacts, int | None]]:
    """Draw unused times of lines, by their place; some of them are rests of what a later line could not give."""
    found = []
    for _ in range(draw(st.integers(1, 6))):
        denominator = draw(st.sampled_from([28, 30, 31, 2_592_000]))
        share = ShareFacts(draw(st.integers(0, denominator)), denominator, "a part")
        gross = draw(st.integers(1, 40_000))
        facts = UnusedFacts(Decimal(draw(st.integers(0, 60_000))), share, LAST_TEN, draw(st.integers(1, gross)), gross)
        found.append((draw(st.integers(0, 4)), facts, draw(st.one_of(st.none(), st.integers(1, 9_000)))))
    return found


@given(facts=invoices(), times=wanted_times())
def test_unused_time_in_any_order_and_then_everything_is_the_invoice(
    facts: CreditFacts, times: list[tuple[int, UnusedFacts, int | None]]
) -> None:
    credited = 0
    for place, time, rest in times:
        wanted = WantedLine(facts.lines[place % len(facts.lines)].id, rest, unused=time)
        try:
            draft = draft_credit_note(want(facts, wanted))
        except (CreditExceeds, NothingToCredit):
            continue
        assert draft.subtotal <= time.measure(rounding=facts.rounding) if rest is None else draft.subtotal <= rest
        credited += draft.total
        facts = credit(facts, draft)
        assert credited <= facts.total
    if facts.left > 0:
        credited += draft_credit_note(replace(facts, wish=EVERYTHING)).total
        assert credited == facts.total


@st.composite
def all_facts(draw: st.DrawFn) -> InvoiceFacts:
    """Draw what an invoice is made of: fees, usage, credits, discounts, and tax in every mode."""
    charges: list[Any] = [fee(str(draw(st.integers(0, 99_999))), draw(st.integers(1, 5)))]
    for number in range(draw(st.integers(0, 3))):
        price = draw(st.decimals(0, 900, places=6))
        charges.append(replace(usage(str(price), str(draw(st.integers(0, 5_000)))), item_id=f"si_u{number}"))
    if draw(st.booleans()):
        left = draw(st.one_of(st.none(), st.integers(0, 4_000).map(Decimal)))
        charges.append(prorate(fee("2000"), draw(st.integers(1, 30)), credits=CreditedFacts("il_1", left)))
        charges.append(prorate(fee("6000"), draw(st.integers(1, 30))))
    discounts = []
    if draw(st.booleans()):
        discounts.append(percent(str(draw(st.integers(1, 100))), 1))
    if draw(st.booleans()):
        discounts.append(amount_off(draw(st.integers(1, 9_000)), 2))
    tax = None
    if draw(st.booleans()):
        rates = tuple(
            TaxRateFacts(f"txr_{number}", "VAT", Decimal(rate), inclusive=draw(st.booleans()), jurisdiction="DE")
            for number, rate in enumerate(draw(st.lists(st.sampled_from(["0.07", "0.19", "0.0725"]), max_size=2)))
        )
        mode: TaxMode = draw(st.sampled_from(get_args(TaxMode)))
        day = datetime(2023, 12, 1, tzinfo=UTC).date()
        tax = TaxFacts(mode, "DE", "", day, spans=(TaxSpan(None, rates),) if rates else ())
    rounding: RoundingMode = draw(st.sampled_from(get_args(RoundingMode)))
    return InvoiceFacts("usd", "UTC", 1, rounding, tuple(charges), tuple(discounts), tax=tax)


@given(facts=all_facts())
def test_any_draft_adds_up_and_is_the_same_from_its_stored_facts(facts: InvoiceFacts) -> None:
    draft = draft_invoice(facts)
    assert draft.total == draft.subtotal - draft.discount + draft.tax
    assert draft.subtotal == sum(line.amount for line in draft.lines)
    assert draft.discount == sum(line.discount for line in draft.lines)
    assert draft.tax == sum(line.tax for line in draft.lines) == sum(tax.amount for tax in draft.taxes)
    again = draft_invoice(InvoiceFacts.from_dict(json.loads(json.dumps(facts.as_dict()))))
    assert [line.trace for line in again.lines] == [line.trace for line in draft.lines]
    assert (again.subtotal, again.discount, again.tax, again.total) == (
        draft.subtotal,
        draft.discount,
        draft.tax,
        draft.total,
    )
    assert again.taxes == draft.taxes
    assert draft_invoice(facts) == draft
