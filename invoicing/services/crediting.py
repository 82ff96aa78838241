"""
Stored money pays invoices, at issue or later, and comes back when they are voided.

Source: policies, rules 22 to 24 and the order of discount, tax and credit; contract chapters Credits, Invoices and
Collection; ADR 0023.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from django.db.models import Sum

from accounts.models import CreditBurn, LedgerKind, Subscription
from accounts.services import ledger
from accounts.services.corrections import give_back_prepaid
from accounts.services.credit_restoring import restore_burn
from accounts.services.stored_money import PaidPart, Payment, PaymentToWrite, StoredMoney
from accounts.terms.burning import Charge
from billing_site.kernel.actors import Actor
from billing_site.kernel.ids import encode_id
from billing_site.kernel.money import allocate
from billing_site.platform.models.bulk import copy_rows
from invoicing.calculation.charges import close_charges, list_charges, make_line_charge
from invoicing.calculation.draft import Draft
from invoicing.models import CreditSource, Invoice, InvoiceCredit, InvoiceLine

_SOURCES = {
    LedgerKind.INVOICE_CREDIT.value: CreditSource.INVOICE_CREDIT,
    LedgerKind.CREDIT_GRANTS.value: CreditSource.GRANT,
    LedgerKind.PREPAID.value: CreditSource.BALANCE,
}


def pay_invoices(
    invoices: Sequence[Invoice], *, money: StoredMoney, at: datetime, drafts: Mapping[uuid.UUID, Draft]
) -> dict[uuid.UUID, PaymentToWrite]:
    """
    Spend stored money on drafts in the order given, in memory, and set what it leaves due; return what paid which.

    A total below zero becomes credit for the invoices after it. Drafts that are not in `drafts` are read from their
    lines, all with one query.
    """
    if not money.wallets and all(invoice.total >= 0 for invoice in invoices):
        return {}
    charges = _list_charges([each for each in invoices if each.account_id in money.wallets], drafts)
    found: dict[uuid.UUID, PaymentToWrite] = {}
    for invoice in invoices:
        account, currency = invoice.account, invoice.currency
        if account.pk in money.wallets and invoice.id not in charges:
            charges |= _list_charges([invoice], drafts)
        payment = money.pay_bill(
            account=account, charges=charges.get(invoice.id, ()), total=invoice.total, currency=currency, at=at
        )
        if payment is None:
            continue
        invoice.credit_applied = payment.settlement.applied
        invoice.amount_due = invoice.total - payment.settlement.applied
        found[invoice.id] = prepare_payment(invoice, payment, charges=charges[invoice.id], at=at)
    return found


def prepare_payment(
    invoice: Invoice, payment: Payment, *, charges: Sequence[Charge], at: datetime, number: int = 0
) -> PaymentToWrite:
    """Return what is booked of a payment: 0 is the one at issue. A number can be booked once."""
    return PaymentToWrite(
        payment=payment,
        key=_make_key(invoice, number),
        charges=charges,
        at=at,
        livemode=invoice.livemode,
        description="Paid an invoice" if number else "Applied to an invoice",
        metadata={"invoice_id": invoice.public_id},
    )


def store_credits(
    invoices: Sequence[Invoice],
    parts: Sequence[Sequence[PaidPart]],
    *,
    at: datetime,
    number: int = 0,
    first_position: int = 1,
) -> None:
    """Write which source paid how much of each invoice, with their payment of this `number`. One statement."""
    copy_rows(
        [
            InvoiceCredit(
                invoice=invoice,
                position=position,
                payment=number,
                source=_SOURCES[part.kind],
                grant=part.grant,
                entry=part.entry,
                amount=part.amount,
                description=_describe(part),
                created_at=at,
            )
            for invoice, paid in zip(invoices, parts, strict=True)
            for position, part in enumerate(paid, start=first_position)
        ]
    )


def give_back_credits(invoice: Invoice, *, at: datetime, actor: Actor, reason: str) -> None:
    """
    Give everything that stored money paid of an invoice back to where it came from, once.

    The caller has locked the account and the invoice. Credit that ended or was voided since goes to promotions.
    """
    reason = reason.strip() or "Invoice voided"
    sources = InvoiceCredit.objects.filter(invoice=invoice).select_related("entry").order_by("position")
    for (number, source), entry in {(row.payment, row.source): row.entry for row in sources}.items():
        if source == CreditSource.BALANCE:
            give_back_prepaid(entry=entry, at=at, actor=actor, reason=reason)
        elif source == CreditSource.INVOICE_CREDIT:
            ledger.reverse_entry(entry=entry, at=at, description=reason)
        else:
            restore_burn(key=_make_key(invoice, number), at=at, actor=actor, reason=reason)


def sum_later_credits(invoice: Invoice) -> int:
    """Return what stored money paid of an invoice after it was issued: a part of `amount_paid`, minor units."""
    later = InvoiceCredit.objects.filter(invoice=invoice, payment__gt=0)
    return int(later.aggregate(total=Sum("amount"))["total"] or 0)


def list_open_charges(invoice: Invoice) -> list[Charge]:
    """
    Return what is still to be paid of an issued invoice, charge by charge; together it is what remains.

    What credit grants paid is known by charge. Invoice credit, prepaid money and what came in any other way lower the
    charges by their share, each at its turn. Source: policies, rule 3; ADR 0023.
    """
    charges = _read_charges([invoice])[invoice.id]
    rest = {charge.key: charge.amount for charge in charges}
    credits = list(InvoiceCredit.objects.filter(invoice=invoice).order_by("position"))
    burned: dict[uuid.UUID, list[CreditBurn]] = defaultdict(list)
    entries = [credit.entry_id for credit in credits if credit.source == CreditSource.GRANT]
    for burn in CreditBurn.objects.filter(entry__in=entries):
        burned[burn.entry_id].append(burn)
    for credit in credits:
        if credit.source != CreditSource.GRANT:
            _spread(rest, credit.amount)
            continue
        for burn in burned.pop(credit.entry_id, ()):
            rest[burn.charge] -= burn.amount
    _spread(rest, invoice.credit_applied + invoice.amount_paid - sum(credit.amount for credit in credits))
    return [replace(charge, amount=rest[charge.key]) for charge in charges if rest[charge.key] > 0]


def _spread(rest: dict[str, int], amount: int) -> None:
    """Lower what is open of each charge by its share of `amount`, largest remainder."""
    if amount:
        shares = allocate(amount, list(rest.values()))
        rest.update({key: rest[key] - share for key, share in zip(rest, shares, strict=True)})


def _make_key(invoice: Invoice, number: int = 0) -> str:
    return f"invoice:{invoice.public_id}:{number}" if number else f"invoice:{invoice.public_id}"


def _describe(part: PaidPart) -> str:
    if part.grant is None:
        return _SOURCES[part.kind].label
    return part.grant.name or part.grant.tags or _SOURCES[part.kind].label


def _list_charges(invoices: Sequence[Invoice], drafts: Mapping[uuid.UUID, Draft]) -> dict[uuid.UUID, list[Charge]]:
    found: dict[uuid.UUID, list[Charge]] = {}
    stored = []
    for invoice in invoices:
        draft = drafts.get(invoice.id)
        if draft is None:
            stored.append(invoice)
        else:
            found[invoice.id] = list_charges(draft, subscription=_encode(invoice.subscription_id))
    return found | _read_charges(stored) if stored else found


def _read_charges(invoices: Sequence[Invoice]) -> dict[uuid.UUID, list[Charge]]:
    lines: dict[uuid.UUID, list[InvoiceLine]] = defaultdict(list)
    rows = InvoiceLine.objects.filter(invoice__in=invoices).select_related("meter").order_by("position")
    for row in rows:
        lines[row.invoice_id].append(row)
    return {
        invoice.id: close_charges(
            [
                make_line_charge(
                    position=line.position,
                    amount=line.amount - line.discount,
                    currency=invoice.currency,
                    type=line.type,
                    meter=line.meter.event_name if line.meter is not None else None,
                    period=line.period,
                    subscription=_encode(line.subscription_id or invoice.subscription_id),
                )
                for line in lines[invoice.id]
            ],
            taxes=[line.tax for line in lines[invoice.id]],
            total=invoice.total,
            currency=invoice.currency,
        )
        for invoice in invoices
    }


def _encode(key: uuid.UUID | None) -> str | None:
    return None if key is None else encode_id(Subscription.id_prefix, key)
