"""Usage that is billed in parts: together they come to what one line would have, whatever the split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billing_site.kernel.periods import Period
from catalog.pricing.terms import PriceOptions, PriceTerms, Tier
from catalog.pricing.usage import Usage
from invoicing.calculation.billed import BilledFacts, BilledKind, split_rest
from invoicing.calculation.centers import CenterFacts, CenterShare
from invoicing.calculation.discounts import DiscountFacts
from invoicing.calculation.draft import Draft, draft_invoice
from invoicing.calculation.facts import ChargeFacts, InvoiceFacts, QuantitySource

START = datetime(2023, 11, 1, tzinfo=UTC)
NOVEMBER = Period(START, datetime(2023, 12, 1, tzinfo=UTC))
TIERS = (
    Tier(Decimal(10), Decimal("1.7"), Decimal(0)),
    Tier(Decimal(50), Decimal("0.9"), Decimal(3)),
    Tier(None, Decimal("0.35"), Decimal(0)),
)
OPTIONS = {
    "per_unit": PriceOptions(),
    "graduated": PriceOptions(tiers=TIERS),
    "volume": PriceOptions(tiers=TIERS),
    "package": PriceOptions(package_size=Decimal(7), free_quantity=Decimal(5)),
}
QUANTITIES = st.decimals(min_value=-40, max_value=60, places=2)
KINDS: st.SearchStrategy[BilledKind] = st.sampled_from(["late", "interim", "rest"])


def make_charge(model: str, quantity: Decimal, options: PriceOptions) -> ChargeFacts:
    price = PriceTerms(
        price_id="price_1", model=model, currency="usd", unit_amount=Decimal("1.35"), meter="tokens", unit="tokens",
        interval="month", interval_count=1, billing_timing="arrears", lookup_key="basic", options=options,
    )  # fmt: skip
    source = QuantitySource("usage", 1, START)
    return ChargeFacts(
        type="usage", item_id="si_1", plan_version_id="plv_1", plan_id="basic", plan_name="Basic", price=price,
        usage=Usage(quantity), period=NOVEMBER, source=source, meter_name="Tokens",
    )  # fmt: skip


def draft(charge: ChargeFacts, discounts: Sequence[DiscountFacts] = ()) -> Draft:
    facts = InvoiceFacts("usd", "UTC", None, charges=(charge,), discounts=tuple(discounts))
    drafted = draft_invoice(facts)
    assert draft_invoice(InvoiceFacts.from_dict(facts.as_dict())) == drafted  # the trace is enough
    return drafted


def bill_in_parts(
    model: str,
    parts: Sequence[tuple[BilledKind, Decimal]],
    options: PriceOptions,
    discounts: Sequence[DiscountFacts] = (),
) -> int:
    """Return what all invoices ask for together, each part on its own."""
    whole, asked, billed = Decimal(0), 0, None
    for kind, quantity in parts:
        whole = max(Decimal(0), whole + quantity)
        charge = make_charge(model, whole, options)
        if billed is not None:
            charge = replace(charge, billed=replace(billed, kind=kind))
        elif kind == "interim":
            charge = replace(charge, billed=BilledFacts("interim"))
        drafted = draft(charge, discounts)
        asked += drafted.total
        usage = [line for line in drafted.lines if line.type == "usage"]
        if billed is None and usage:
            billed = BilledFacts("rest", line="il_1", invoice="INV-0001", discounts=tuple(discounts))
        if billed is not None:
            billed = replace(
                billed,
                sequence=billed.sequence + 1,
                quantity=whole if usage else billed.quantity,
                amount=billed.amount + sum(line.net for line in usage),
                true_up=billed.true_up + sum(line.net for line in drafted.lines if line.type == "one_off"),
            )
    return asked


def close(parts: Sequence[tuple[BilledKind, Decimal]]) -> tuple[list[tuple[BilledKind, Decimal]], Decimal]:
    """Return the parts and a last one of the closed period, with the quantity that there is then."""
    whole = Decimal(0)
    for _, quantity in parts:
        whole = max(Decimal(0), whole + quantity)
    return [*parts, ("rest", Decimal(1))], whole + 1


class TestParts:
    @given(st.sampled_from(sorted(OPTIONS)), st.lists(st.tuples(KINDS, QUANTITIES), max_size=6))
    def test_any_split_asks_for_what_one_line_would(self, model: str, parts: list[tuple[BilledKind, Decimal]]) -> None:
        split, whole = close(parts)
        at_once = draft(make_charge(model, whole, OPTIONS[model])).total
        assert bill_in_parts(model, split, OPTIONS[model]) == at_once

    @given(st.sampled_from(sorted(OPTIONS)), st.lists(st.tuples(KINDS, QUANTITIES), max_size=6))
    def test_so_it_does_with_a_minimum_and_a_maximum(self, model: str, parts: list[tuple[BilledKind, Decimal]]) -> None:
        options = replace(OPTIONS[model], minimum_amount=Decimal(30), maximum_amount=Decimal(90))
        # Who was asked for a minimum first has a period that was closed: nothing interim comes after it.
        kinds: list[tuple[BilledKind, Decimal]] = [("interim", quantity) for _, quantity in parts]
        split, whole = close(kinds)
        at_once = draft(make_charge(model, whole, options)).total
        late: list[tuple[BilledKind, Decimal]] = [("late", Decimal(5)), ("late", Decimal(-5))]
        assert bill_in_parts(model, [*split, *late], options) == at_once

    @given(
        st.sampled_from(sorted(OPTIONS)),
        st.lists(st.tuples(KINDS, QUANTITIES), max_size=6),
        st.integers(min_value=1, max_value=100),
    )
    def test_so_it_does_with_a_percentage_off(
        self, model: str, parts: list[tuple[BilledKind, Decimal]], percent: int
    ) -> None:
        split, whole = close(parts)
        off = [DiscountFacts("dis_1", "Off", START, percent_off=Decimal(percent))]
        at_once = draft(make_charge(model, whole, OPTIONS[model]), off).total
        assert bill_in_parts(model, split, OPTIONS[model], off) == at_once

    def test_an_amount_off_is_taken_once(self) -> None:
        taken = DiscountFacts("dis_1", "Off", START, amount_off=10, currency="usd")
        billed = BilledFacts("late", "il_1", "INV-0001", 1, Decimal(20), 17, discounts=(taken,))  # 20 × 1.35 − 10
        charge = replace(make_charge("per_unit", Decimal(40), PriceOptions()), billed=billed)
        assert draft(charge).total == 54 - 10 - 17
        nothing = replace(charge, usage=Usage(Decimal(0)))
        assert draft(nothing).total == -17

    def test_the_discount_of_the_invoice_passes_it_by(self) -> None:
        billed = BilledFacts("late", "il_1", "INV-0001", 1, Decimal(20), 27)
        charge = replace(make_charge("per_unit", Decimal(40), PriceOptions()), billed=billed)
        off = [DiscountFacts("dis_2", "Off", START, percent_off=Decimal(50))]
        assert (draft(charge, off).total, draft(charge, off).discount) == (27, 0)

    def test_nothing_new_makes_no_line(self) -> None:
        billed = BilledFacts("rest", "il_1", "INV-0001", 1, Decimal(20), 27)
        assert draft(replace(make_charge("per_unit", Decimal(20), PriceOptions()), billed=billed)).lines == ()


class TestSplitRest:
    def test_each_center_pays_the_rest_of_its_own(self) -> None:
        north, south = CenterFacts("cc_1", "N", "North", Decimal(5)), CenterFacts("cc_2", "S", "South", Decimal(5))
        billed = BilledFacts("late", "il_1", quantity=Decimal(5), amount=50, centers=(CenterShare(north, 50),))
        shares = split_rest(101, (north, south), billed)
        assert [(share.center.code, int(share.center.quantity), share.amount) for share in shares] == [
            ("N", 0, 1),
            ("S", 5, 50),
        ]

    def test_what_was_not_split_before_was_nobodys(self) -> None:
        north = CenterFacts("cc_1", "N", "North", Decimal(10))
        shares = split_rest(100, (north,), BilledFacts("late", "il_1", quantity=Decimal(5), amount=50))
        assert [(share.center.code, share.amount) for share in shares] == [("N", 100), ("", -50)]

    def test_nothing_without_centers(self) -> None:
        assert split_rest(100, (), BilledFacts("late", "il_1", amount=50)) == ()
