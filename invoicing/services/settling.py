"""
What a change of a subscription credits and charges: on an invoice now, or left for the next one.

Source: policies, rules 11 to 13; contract chapter Plan changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext

from accounts.models import Subscription, SubscriptionItem
from accounts.services.stored_money import lock_stored_money
from accounts.terms.changes import ProrationBehavior
from accounts.terms.fees import ProratedPart
from billing_site.kernel.actors import Actor
from billing_site.kernel.money import EXACT
from catalog.pricing.usage import Usage
from invoicing.calculation.draft import Draft
from invoicing.calculation.facts import ChargeFacts, QuantitySource
from invoicing.calculation.shares import ShareFacts
from invoicing.calculation.unused import CreditedFacts
from invoicing.models import Invoice, InvoiceLine, PendingCharge, Seller
from invoicing.queries.fees import PricedFee, measure_agreed
from invoicing.queries.pending_charges import draft_charges, load_waiting, lock_waiting, map_items, read_charge
from invoicing.services.drafting import DraftToWrite, write_drafts
from invoicing.services.issuing import issue_invoices


@dataclass(frozen=True, slots=True)
class ProratedCharge:
    """One side of a proration, as facts, with the item it belongs to."""

    item: SubscriptionItem
    facts: ChargeFacts


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of the charges: the draft of all of them, and the invoice when they were issued at once."""

    draft: Draft
    invoice: Invoice | None = None


@dataclass(frozen=True, slots=True)
class ProratedSide:
    """One side of a proration before it is known what carries it: `part` of a fee of an item."""

    item: SubscriptionItem
    fee: PricedFee
    part: ProratedPart

    @property
    def is_note(self) -> bool:
        """Tell whether a credit note is to give it back."""
        return self.part.settlement != "negative_line" and self.fee.is_paid


def make_charge(
    item: SubscriptionItem, fee: PricedFee, part: ProratedPart, *, credits: CreditedFacts | None = None
) -> ProratedCharge:
    """
    Return `part` of a fee as a charge of `item`. A credit names its line, and never gives back more than is left of it.

    `credits` says otherwise, where notes gave a part of it back.
    """
    if fee.terms is None:
        raise ValueError("a fee without a price cannot be prorated")
    share = part.share
    if part.kind == "credit" and fee.line is not None and credits is None:
        credits = CreditedFacts(fee.line.public_id, _measure_left(fee, fee.line))
    facts = ChargeFacts(
        type="proration",
        item_id=item.public_id,
        plan_version_id=fee.plan_version_id,
        plan_id=fee.plan_id,
        plan_name=fee.plan_name,
        price=fee.terms,
        usage=Usage(fee.quantity),
        period=part.period,
        source=QuantitySource("item"),
        share=ShareFacts(share.numerator, share.denominator, share.describe()),
        is_credit=part.kind == "credit",
        discount=fee.period_fee.discount,
        credits=credits,
    )
    return ProratedCharge(item, facts)


def make_side_charge(side: ProratedSide) -> ProratedCharge:
    """Return a side of a proration as a line, above or below zero."""
    return make_charge(side.item, side.fee, side.part)


def _measure_left(fee: PricedFee, line: InvoiceLine) -> Decimal | None:
    """Return what notes left of a line, as it was agreed; None where there is no note, and nothing to heed."""
    net = line.amount - line.discount
    if fee.left == net:
        return None
    _, agreed = measure_agreed(line)
    with localcontext(EXACT):
        return Decimal(max(0, fee.left)) * agreed / net


def settle_charges(
    subscription: Subscription,
    charges: Sequence[ProratedCharge],
    *,
    behavior: ProrationBehavior,
    seller: Seller,
    at: datetime,
    actor: Actor,
    reason: str,
) -> Settled | None:
    """
    Issue an invoice with the charges and what else waits (`always_invoice`), or leave them for the next invoice.

    None when there is nothing to bill. Runs in the caller's transaction, which has locked the account and the
    subscription; the items are stored. Stored money pays what is issued; a negative total becomes invoice credit.
    """
    if behavior != "always_invoice":
        draft = draft_charges(subscription, [each.facts for each in charges], seller, at=at)
        leave_charges(subscription, charges, reason=reason)
        return Settled(draft) if draft.lines else None
    waiting = lock_waiting(load_waiting([subscription])).list_for(subscription)
    draft = draft_charges(
        subscription, [*(read_charge(each) for each in waiting), *(each.facts for each in charges)], seller, at=at
    )
    if not draft.lines:
        return None
    items = {**map_items(waiting), **{each.item.public_id: each.item for each in charges}}
    to_write = DraftToWrite(draft, subscription, subscription.account, seller, items, tuple(waiting))
    money = lock_stored_money(account_ids=[subscription.account_id], at=at, actor=actor)
    ((invoice, _),) = write_drafts([to_write], run=None)
    issued = issue_invoices([invoice], at=at, actor=actor, money=money, drafts={invoice.id: draft}, reason=reason)
    return Settled(draft, issued[0])


def leave_charges(subscription: Subscription, charges: Sequence[ProratedCharge], *, reason: str) -> list[PendingCharge]:
    """Store charges for the next invoice of the subscription and return them."""
    return PendingCharge.objects.bulk_create(
        PendingCharge(
            account_id=subscription.account_id,
            subscription=subscription,
            item=each.item,
            facts=each.facts.as_dict(),
            period_start=each.facts.period.start,
            period_end=each.facts.period.end,
            reason=reason[:100],
        )
        for each in charges
    )
