"""
Giving back unused time: by credit notes of the invoices that were paid for it, else by lines below zero.

Source: policies, rules 5, 12 and 25; ADR 0048.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, localcontext
from typing import cast
from uuid import UUID

from accounts.models import Subscription, SubscriptionStatus
from accounts.services import ledger
from accounts.services.corrections import AmountExceedsRefundable
from accounts.terms.cancellations import UnusedTime, plan_cancellation
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import AmountNotPositive
from billing_site.kernel.money import EXACT, RoundingMode
from invoicing.calculation.credit_facts import WantedLine, Wish
from invoicing.calculation.credit_notes import CreditDraft
from invoicing.calculation.shares import ShareFacts
from invoicing.calculation.unused import CreditedFacts, UnusedFacts
from invoicing.calculation.wording import UNUSED_TIME, join_words
from invoicing.models import CreditNote, CreditReason, Disposition, Invoice, InvoiceLine, InvoiceStatus
from invoicing.queries.billables import load_billables
from invoicing.queries.fees import find_billed_fee, find_earlier_lines, list_fee_items, measure_agreed
from invoicing.queries.sellers import Sellers
from invoicing.services.credit_notes import write_credit_note
from invoicing.services.credit_requests import AmountExceedsCreditable, CreditRequest, foresee_note
from invoicing.services.invoices import lock_invoice
from invoicing.services.settling import ProratedCharge, ProratedSide, make_charge, make_side_charge


@dataclass(frozen=True, slots=True)
class IssuedNote:
    """A credit note with the draft it was written from."""

    note: CreditNote
    draft: CreditDraft


@dataclass(frozen=True, slots=True)
class GivenBack:
    """What gives unused time back: notes that are issued, and charges below zero that are on no invoice yet."""

    notes: tuple[IssuedNote, ...] = ()
    charges: tuple[ProratedCharge, ...] = ()


def list_unused(
    subscription: Subscription, *, at: datetime, sellers: Sellers, unused: UnusedTime
) -> list[ProratedSide]:
    """
    Return what was billed of the running period from the day of `at` on, fee by fee, and what is to carry it.

    Nothing for a trial, and nothing for a fee that was not billed or is not divided.
    Source: policies, rules 5 and 12.
    """
    billables = load_billables([subscription], sellers=sellers)
    sides = []
    for item in list_fee_items(billables.items.get(subscription.id, ())):
        fee = find_billed_fee(subscription, billables, item)
        if fee is None:
            continue
        plan = plan_cancellation(
            at=at,
            cycle=subscription.cycle,
            period=subscription.current_period,
            fee=fee.period_fee,
            at_period_end=False,
            unused=unused,
            is_paid=fee.is_paid,
            is_trial=subscription.status == SubscriptionStatus.TRIALING,
        )
        if plan.credit is not None:
            sides.append(ProratedSide(item, fee, plan.credit))
    return sides


def give_back(
    subscription: Subscription,
    sides: Sequence[ProratedSide],
    *,
    at: datetime,
    actor: Actor,
    reason: str,
    unused: UnusedTime = "credit",
) -> GivenBack:
    """
    Issue the credit notes for unused time that was paid, one for each invoice, and return them and what is for lines.

    A note credits the line that billed the time last. What that invoice cannot give, because earlier unused time was
    set off on it, comes from the invoices before it; what no paid invoice can give is a line below zero. Never more
    than is left of the line. What was paid becomes invoice credit, or with `refund` goes back the way it came; above
    the limit of refunds a second person lets it go. Runs in the caller's transaction, which has locked account and
    subscription.
    """
    found = _GivingBack(subscription, at=at, actor=actor, reason=reason, unused=unused)
    for side in sides:
        found.add(side)
    return found.finish()


@dataclass(slots=True)
class _Want:
    """What a side is to give back of `line`: `rest`, of which `given` comes from later lines; net minor units."""

    side: ProratedSide
    line: InvoiceLine
    rest: int
    given: int = 0
    earlier: Iterator[InvoiceLine] | None = None

    @property
    def facts(self) -> UnusedFacts:
        """The unused time, as the note keeps it."""
        fee, part, billed = self.side.fee, self.side.part, self.side.fee.line
        if billed is None:
            raise ValueError("what no invoice has cannot be credited by a note")
        share = ShareFacts(part.share.numerator, part.share.denominator, part.share.describe())
        _, gross = measure_agreed(billed)
        return UnusedFacts(fee.period_fee.net, share, part.period, billed.amount - billed.discount, gross, self.given)

    @property
    def wanted(self) -> WantedLine:
        """The wish for the note of this line's invoice."""
        return WantedLine(
            line=self.line.public_id,
            amount=None if self.line is self.side.fee.line else self.rest,
            description=join_words(self.side.fee.plan_name, UNUSED_TIME),
            unused=self.facts,
        )

    def as_agreed(self, net: int) -> Decimal:
        """Return a net amount with the tax that prices include."""
        facts = self.facts
        with localcontext(EXACT):
            return Decimal(net) * facts.gross / facts.net


@dataclass(slots=True)
class _GivingBack:
    """One pass over the invoices that unused time was billed on, the newest first."""

    subscription: Subscription
    at: datetime
    actor: Actor
    reason: str
    unused: UnusedTime
    wants: dict[UUID, list[_Want]] = field(default_factory=lambda: defaultdict(list))
    notes: list[IssuedNote] = field(default_factory=list)
    charges: list[ProratedCharge] = field(default_factory=list)

    def add(self, side: ProratedSide) -> None:
        """Take up a side: a note where its invoice is paid, else a line below zero."""
        line = side.fee.line
        if not side.is_note or line is None:
            self.charges.append(make_side_charge(side))
            return
        want = _Want(side, line, 0)
        want.rest = max(0, min(want.facts.measure(rounding=_rounding(line)), side.fee.left))
        if want.rest:
            self.wants[line.invoice_id].append(want)

    def finish(self) -> GivenBack:
        """Issue the notes, newest invoice first, and return everything."""
        if self.wants:
            ledger.lock_pots(account_id=self.subscription.account_id, currency=self.subscription.currency)
        while self.wants:
            newest = max(self.wants)
            self._credit(lock_invoice(newest), self.wants.pop(newest))
        return GivenBack(tuple(self.notes), tuple(self.charges))

    def _credit(self, invoice: Invoice, wants: Sequence[_Want]) -> None:
        wished = [(want, want.wanted) for want in wants]
        issued = self._issue(invoice, tuple(wanted for _, wanted in wished))
        lines = () if issued is None else issued.draft.lines
        for want, wanted in wished:
            taken = sum(line.amount for line in lines if line.wanted is wanted)
            want.rest, want.given = want.rest - taken, want.given + taken
            if want.rest:
                self._go_on(want)

    def _issue(self, invoice: Invoice, lines: tuple[WantedLine, ...]) -> IssuedNote | None:
        """Issue the note of one invoice; None where it can give nothing."""
        request = CreditRequest(
            Wish(lines),
            disposition=Disposition.REFUND if self.unused == "refund" else Disposition.CUSTOMER_BALANCE,
            cause=CreditReason.ORDER_CHANGE,
            metadata={"unused_time": str(self.unused)},
        )
        try:
            foreseen = foresee_note(invoice, request)
        except (AmountNotPositive, AmountExceedsCreditable, AmountExceedsRefundable):
            return None
        note = write_credit_note(invoice, foreseen, request, at=self.at, actor=self.actor, reason=self.reason)
        self.notes.append(IssuedNote(note, foreseen.draft))
        return self.notes[-1]

    def _go_on(self, want: _Want) -> None:
        """Look for the rest on the line before; what no paid one can give is a line below zero."""
        if want.earlier is None:
            after = want.side.part.period.start
            want.earlier = iter(find_earlier_lines(want.line, self.subscription, after=after))
        line = next(want.earlier, None)
        if line is not None and line.invoice.status == InvoiceStatus.PAID:
            want.line = line
            self.wants[line.invoice_id].append(want)
            return
        named = (line or want.line).public_id
        bound = CreditedFacts(named, left=want.as_agreed(want.rest), given=want.as_agreed(want.given))
        self.charges.append(make_charge(want.side.item, want.side.fee, want.side.part, credits=bound))


def _rounding(line: InvoiceLine) -> RoundingMode:
    return cast(RoundingMode, line.invoice.trace.get("rounding", "half_up"))
