"""Credit notes: what they take of lines and tax, what stops them, and that they always sum to the invoice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_site.kernel.money import round_to_minor
from invoicing.calculation.credit_facts import CreditFacts, InvoicedLine, InvoicedRate, WantedLine, Wish
from invoicing.calculation.credit_notes import (
    CreditDraft,
    CreditExceeds,
    LineUnknown,
    NothingToCredit,
    draft_credit_note,
)

EVERYTHING = Wish(everything=True)


def make_rate(id: str, percent: str, lines: Sequence[InvoicedLine], amount: int | None = None) -> InvoicedRate:
    """Return a rate with the tax on the sum of its lines, rounded once: policies, rule 21."""
    rate = Decimal(percent) / 100
    base = sum(line.net for line in lines if id in line.rates)
    return InvoicedRate(id, f"VAT {percent} %", rate, base, round_to_minor(rate * base) if amount is None else amount)


def make_invoice(*nets: int, percent: str = "", wish: Wish = EVERYTHING) -> CreditFacts:
    """Return an invoice of lines `l1`, `l2`, … at one rate, or none."""
    rates = ("vat",) if percent else ()
    lines = tuple(InvoicedLine(f"l{number}", f"Line {number}", net, rates=rates) for number, net in enumerate(nets, 1))
    return CreditFacts("eur", lines, (make_rate("vat", percent, lines),) if percent else (), wish)


def credit(facts: CreditFacts, draft: CreditDraft) -> CreditFacts:
    """Return the invoice as the next note finds it, after `draft`."""
    lines = [
        replace(line, credited=line.credited + sum(each.amount for each in draft.lines if each.line.id == line.id))
        for line in facts.lines
    ]
    taken = {tax.rate.id: tax for tax in draft.taxes}
    rates = [
        replace(
            rate,
            credited_base=rate.credited_base + taken[rate.id].base,
            credited=rate.credited + taken[rate.id].amount,
        )
        if rate.id in taken
        else rate
        for rate in facts.rates
    ]
    return replace(facts, lines=tuple(lines), rates=tuple(rates))


def want(facts: CreditFacts, *lines: tuple[str, int | None], amount: int = 0) -> CreditFacts:
    return replace(facts, wish=Wish(tuple(WantedLine(line, net) for line, net in lines), amount))


def amounts(draft: CreditDraft) -> tuple[int, int, int]:
    return draft.subtotal, draft.tax, draft.total


class TestTheLastNoteTakesTheCent:
    def test_four_notes_of_334_99(self) -> None:
        # 279.16 net, 20 % of it 55.832 → 55.83, together 334.99
        facts = make_invoice(6833, 6833, 5750, 8500, percent="20")
        assert facts.total == 33499
        found = []
        for number in range(1, 5):
            draft = draft_credit_note(want(facts, (f"l{number}", None)))
            found.append(amounts(draft))
            facts = credit(facts, draft)
        # 20 % of 68.33 is 13.666 → 13.67; 20 % of 57.50 is 11.50; the last takes 55.83 − 13.67 − 13.67 − 11.50 = 16.99
        assert found == [(6833, 1367, 8200), (6833, 1367, 8200), (5750, 1150, 6900), (8500, 1699, 10199)]

    def test_in_another_order_another_note_is_the_last(self) -> None:
        facts = make_invoice(6833, 6833, 5750, 8500, percent="20")
        totals = []
        for number in (4, 3, 2, 1):
            draft = draft_credit_note(want(facts, (f"l{number}", None)))
            totals.append(draft.total)
            facts = credit(facts, draft)
        # 85 × 1.2 = 102, 57.5 × 1.2 = 69, 82, and 334.99 less those
        assert totals == [10200, 6900, 8200, 8199]

    def test_says_in_its_steps_that_it_takes_the_rest(self) -> None:
        facts = make_invoice(6833, 8500, percent="20")
        facts = credit(facts, draft_credit_note(want(facts, ("l1", None))))
        draft = draft_credit_note(want(facts, ("l2", None)))
        assert "nothing is left" in draft.taxes[0].steps[0]["formula"]


class TestOneLine:
    def test_by_amount_with_its_tax(self) -> None:
        draft = draft_credit_note(want(make_invoice(10_000, 5_000, percent="20"), ("l1", 2_500)))
        assert amounts(draft) == (2_500, 500, 3_000)
        assert [(each.line.id, each.amount) for each in draft.lines] == [("l1", 2_500)]

    def test_not_more_than_is_left_of_it(self) -> None:
        facts = make_invoice(10_000, 5_000)
        facts = credit(facts, draft_credit_note(want(facts, ("l2", 4_000))))
        with pytest.raises(CreditExceeds) as refused:
            draft_credit_note(want(facts, ("l2", 1_001)))
        assert refused.value.creditable == 1_000

    def test_named_twice_is_bounded_by_both(self) -> None:
        with pytest.raises(CreditExceeds):
            draft_credit_note(want(make_invoice(1_000), ("l1", 600), ("l1", 600)))

    def test_below_zero_is_refused(self) -> None:
        with pytest.raises(CreditExceeds):
            draft_credit_note(want(make_invoice(1_000), ("l1", -1)))

    def test_of_another_invoice_is_unknown(self) -> None:
        with pytest.raises(LineUnknown):
            draft_credit_note(want(make_invoice(1_000), ("l9", 1)))

    def test_of_nothing_is_refused(self) -> None:
        with pytest.raises(NothingToCredit):
            draft_credit_note(want(make_invoice(1_000), ("l1", 0)))


class TestAnAmountWithTax:
    def test_is_taken_of_all_lines_by_what_is_left(self) -> None:
        # 120 of 180 at 20 %: net 100, shared 2 : 1 → 66.67 and 33.33, tax 20
        draft = draft_credit_note(want(make_invoice(10_000, 5_000, percent="20"), amount=12_000))
        assert amounts(draft) == (10_000, 2_000, 12_000)
        assert [each.amount for each in draft.lines] == [6_667, 3_333]

    def test_that_is_all_takes_everything(self) -> None:
        draft = draft_credit_note(want(make_invoice(6833, 6833, 5750, 8500, percent="20"), amount=33_499))
        assert amounts(draft) == (27_916, 5_583, 33_499)

    def test_beside_a_line_comes_of_what_that_leaves(self) -> None:
        facts = make_invoice(1_000, 1_000, percent="10")
        draft = draft_credit_note(want(facts, ("l1", None), amount=550))
        assert amounts(draft) == (1_500, 150, 1_650)

    def test_not_more_than_is_left(self) -> None:
        with pytest.raises(CreditExceeds) as refused:
            draft_credit_note(want(make_invoice(1_000, percent="20"), amount=1_201))
        assert refused.value.creditable == 1_200

    def test_at_two_rates_each_gives_its_own(self) -> None:
        lines = (InvoicedLine("a", "A", 10_000, rates=("full",)), InvoicedLine("b", "B", 10_000, rates=("half",)))
        rates = (make_rate("full", "20", lines), make_rate("half", "10", lines))
        # 230 in all; half of it is 50 and 50 net, 10 and 5 tax
        draft = draft_credit_note(CreditFacts("eur", lines, rates, Wish(amount=11_500)))
        assert [(tax.rate.id, tax.base, tax.amount) for tax in draft.taxes] == [
            ("full", 5_000, 1_000),
            ("half", 5_000, 500),
        ]


class TestLinesBelowZero:
    def test_are_credited_with_everything(self) -> None:
        draft = draft_credit_note(make_invoice(-2_000, 5_000, percent="20"))
        assert amounts(draft) == (3_000, 600, 3_600)
        assert [each.amount for each in draft.lines] == [-2_000, 5_000]

    def test_bound_what_the_other_lines_give(self) -> None:
        with pytest.raises(CreditExceeds) as refused:
            draft_credit_note(want(make_invoice(-2_000, 5_000, percent="20"), ("l2", None)))
        assert refused.value.creditable == 3_000

    def test_alone_make_no_note(self) -> None:
        with pytest.raises(NothingToCredit):
            draft_credit_note(want(make_invoice(-2_000, 5_000), ("l1", None)))


class TestTextsOfLines:
    def test_say_what_was_asked_for(self) -> None:
        wish = Wish((WantedLine(amount=600, description="Goodwill"),))
        draft = draft_credit_note(make_invoice(1_000, 500, wish=wish))
        assert [(each.description, each.amount) for each in draft.lines] == [
            ("Goodwill · Line 1", 400),
            ("Goodwill · Line 2", 200),
        ]

    def test_fall_back_to_the_invoice(self) -> None:
        assert draft_credit_note(make_invoice(1_000)).lines[0].description == "Line 1"


def invoices() -> st.SearchStrategy[CreditFacts]:
    """Invoices of a few lines, each at some of up to two rates; some with lines below zero."""

    @st.composite
    def draw_one(draw: st.DrawFn) -> CreditFacts:
        percents = draw(st.lists(st.sampled_from(["0", "5", "7.7", "19", "20", "100"]), max_size=2))
        ids = [f"r{number}" for number in range(len(percents))]
        nets = draw(st.lists(st.one_of(st.integers(1, 40_000), st.integers(-300, 60)), min_size=1, max_size=5))
        lines = tuple(
            InvoicedLine(f"l{number}", f"Line {number}", net, rates=tuple(id for id in ids if draw(st.booleans())))
            for number, net in enumerate(nets)
        )
        rates = tuple(make_rate(id, percent, lines) for id, percent in zip(ids, percents, strict=True))
        return CreditFacts("eur", lines, rates, EVERYTHING, draw(st.sampled_from(["half_up", "half_even"])))

    return draw_one().filter(lambda facts: facts.total > 0)


def wishes() -> st.SearchStrategy[Any]:
    line = st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(-50, 20_000)))
    return st.tuples(st.lists(line, max_size=3), st.one_of(st.just(0), st.integers(0, 50_000)))


def make_wish(lines: list[tuple[int, int | None]], amount: int, count: int) -> Wish:
    """Return a wish; a number past the last line means all of them."""
    wanted = tuple(WantedLine(f"l{number}" if number < count else "", net) for number, net in lines)
    return Wish(wanted, amount)


def is_within(credited: int, whole: int) -> bool:
    return min(0, whole) <= credited <= max(0, whole)


@given(facts=invoices(), asked=st.lists(wishes(), max_size=8))
def test_any_notes_in_any_order_sum_to_the_invoice(facts: CreditFacts, asked: list[Any]) -> None:
    credited = 0
    for lines, amount in asked:
        wish = make_wish(lines, amount, len(facts.lines))
        try:
            draft = draft_credit_note(replace(facts, wish=wish))
        except (CreditExceeds, NothingToCredit):
            continue
        assert draft.total > 0
        credited += draft.total
        facts = credit(facts, draft)
        assert credited == facts.total - facts.left <= facts.total
        assert all(is_within(line.credited, line.net) for line in facts.lines)
        assert all(is_within(rate.credited, rate.amount) for rate in facts.rates)
    if facts.left <= 0:
        return
    facts = credit(facts, draft_credit_note(replace(facts, wish=EVERYTHING)))
    assert [line.credited for line in facts.lines] == [line.net for line in facts.lines]
    assert [(rate.credited_base, rate.credited) for rate in facts.rates] == [
        (rate.base, rate.amount) for rate in facts.rates
    ]


@given(facts=invoices(), asked=wishes())
def test_an_amount_with_tax_comes_to_exactly_that(facts: CreditFacts, asked: Any) -> None:
    amount = min(asked[1], facts.total)
    if not amount:
        return
    assert draft_credit_note(replace(facts, wish=Wish(amount=amount))).total == amount


@given(facts=invoices(), asked=wishes())
def test_the_stored_facts_give_the_same_note(facts: CreditFacts, asked: Any) -> None:
    facts = replace(facts, wish=make_wish(asked[0], asked[1], len(facts.lines)))
    restored = CreditFacts.from_dict(json.loads(json.dumps(facts.as_dict())))
    assert restored == facts
    try:
        draft = draft_credit_note(facts)
    except (CreditExceeds, NothingToCredit):
        return
    assert draft_credit_note(restored) == draft
