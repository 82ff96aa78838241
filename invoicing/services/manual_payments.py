"""
Payments that people record: money that came by cheque, in cash or to a bank account outside, and cheques that bounce.

Locks: account, subscriptions, the account's ledger accounts, invoices, payment. Source: contract chapters Ledger and
Collection; ADR 0017 and 0053.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db import transaction

from accounts.models import Account, LedgerEntry, LedgerKind
from accounts.queries.currencies import require_currency
from accounts.queries.invoice_credit import get_invoice_credit
from accounts.services import ledger
from accounts.services.account_locks import lock_account
from accounts.services.prepaid import InsufficientBalance, require_amount
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import AmountNotPositive, DomainError, InvalidState, NotFound, ValidationFailed
from billing_site.kernel.ids import new_uuid
from billing_site.kernel.money import format_decimal
from billing_site.kernel.periods import local_date
from billing_site.platform.models import Approval
from billing_site.platform.services import events
from invoicing.models import Invoice, ManualMethod, ManualPayment, ManualPaymentPart, ManualPaymentStatus
from invoicing.queries.members import lock_subscriptions_of
from invoicing.services.balance_payments import PAYABLE_STATUSES, add_payment
from invoicing.services.invoices import lock_invoice
from invoicing.services.reopening import take_payment_back


class AmountExceedsRemaining(DomainError):
    """Members `invoice_id` and `remaining`, minor units."""

    code, title, status = "amount_exceeds_remaining", "More than what remains of the invoice", 422


@dataclass(frozen=True, slots=True)
class NewManualPayment:
    """
    Money that came: `amount` minor units of `currency` on `received_on`. `parts` are what it pays of which invoice, by
    public id; what is left of it becomes invoice credit.
    """

    method: str
    amount: int
    currency: str
    received_on: date
    parts: Sequence[tuple[str, int]]
    reference: str = ""
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON, as an approval keeps it."""
        return {
            "method": self.method,
            "amount": self.amount,
            "currency": self.currency,
            "received_on": self.received_on.isoformat(),
            "parts": [[invoice, amount] for invoice, amount in self.parts],
            "reference": self.reference,
            "note": self.note,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> NewManualPayment:
        """Return what `as_dict` wrote."""
        return cls(
            method=stored["method"],
            amount=stored["amount"],
            currency=stored["currency"],
            received_on=date.fromisoformat(stored["received_on"]),
            parts=tuple((invoice, amount) for invoice, amount in stored["parts"]),
            reference=stored["reference"],
            note=stored["note"],
        )


@transaction.atomic
def write_payment(
    *,
    account: Account,
    new: NewManualPayment,
    at: datetime,
    actor: Actor,
    reason: str,
    approval: Approval | None = None,
) -> ManualPayment:
    """
    Book a payment and return it: cash +, receivable - for what it pays of invoices, invoice credit - for the rest.

    Asks nobody whether it may be. Runs in the caller's transaction; a closed account can still pay.
    :raises AmountNotPositive, CurrencyUnsupported, ValidationFailed: for what cannot be. :raises NotFound: for an
        invoice the account does not have. :raises InvalidState: for one that cannot be paid.
    :raises AmountExceedsRemaining: for a part beyond what remains.
    """
    at = account.clock_time or at
    _check(account, new, at)
    lock_account(account.pk)
    keys = _find_invoices(account, new)
    lock_subscriptions_of(list(keys))
    ledger.lock_pots(account_id=account.pk, currency=new.currency)  # it may post more than once
    invoices = [(lock_invoice(key), amount) for key, amount in sorted(keys.items())]
    for invoice, amount in invoices:
        _require_payable(invoice, amount, new.currency)
    credited = new.amount - sum(amount for _, amount in invoices)
    payment = _insert(account, new, credited, at=at, actor=actor, approval=approval)
    ManualPaymentPart.objects.bulk_create(
        ManualPaymentPart(payment=payment, invoice=invoice, amount=amount) for invoice, amount in invoices
    )
    _emit("recorded", payment, at=at, actor=actor, reason=reason, invoices=invoices)
    for invoice, amount in invoices:
        add_payment(invoice, amount=amount, at=at, actor=actor, method=new.method, reason=reason)
    return payment


@transaction.atomic
def reverse_payment(
    *, payment_id: uuid.UUID, at: datetime, actor: Actor, reason: str, allow_negative: bool = False
) -> ManualPayment:
    """
    Take a recorded payment back, a cheque that bounced, and return it: the exact opposite is booked.

    What it paid is owed again, paid invoices are open. The invoice credit it gave must still be there; with
    `allow_negative` it is taken even so. Asks nobody whether it may be.
    :raises NotFound: if there is none. :raises InvalidState: when it is reversed already. :raises InsufficientBalance:
        when the credit was spent. :raises ValidationFailed: without a reason.
    """
    if not reason.strip():
        raise ValidationFailed.of("/reason", "blank", "Say why it is taken back.")
    found = ManualPayment.objects.select_related("account__test_clock").filter(pk=payment_id).first()
    if found is None:
        raise NotFound("manual_payment")
    at = found.account.clock_time or at
    lock_account(found.account_id)
    parts = {part.invoice_id: part.amount for part in ManualPaymentPart.objects.filter(payment=payment_id)}
    lock_subscriptions_of(list(parts))
    ledger.lock_pots(account_id=found.account_id, currency=found.currency)
    invoices = [(lock_invoice(key), amount) for key, amount in sorted(parts.items())]
    payment = lock_payment(payment_id)
    require_reversible(payment, allow_negative=allow_negative)
    payment.reversal = ledger.reverse_entry(
        entry=payment.entry,
        at=at,
        key=f"manual_payment_reversed:{payment.public_id}",
        description=f"{payment} reversed",
    )
    payment.status, payment.reversed_at, payment.reverse_reason = ManualPaymentStatus.REVERSED, at, reason.strip()
    payment.save(update_fields=["status", "reversal", "reversed_at", "reverse_reason", "updated_at"])
    _emit("reversed", payment, at=at, actor=actor, reason=reason, invoices=invoices)
    for invoice, amount in invoices:
        take_payment_back(invoice, amount=amount, source=payment.public_id, at=at, actor=actor, reason=reason)
    return payment


def lock_payment(payment_id: uuid.UUID) -> ManualPayment:
    """
    Return a payment locked for the transaction; lock its account before.

    :raises NotFound: if there is none.
    """
    rows = ManualPayment.objects.select_for_update(of=("self",), no_key=True)
    found = rows.select_related("account__test_clock", "entry").filter(pk=payment_id).first()
    if found is None:
        raise NotFound("manual_payment")
    return found


def require_reversible(payment: ManualPayment, *, allow_negative: bool) -> None:
    """:raises InvalidState: when it is reversed. :raises InsufficientBalance: when the credit that it gave is spent."""
    if not payment.can_become(ManualPaymentStatus.REVERSED):
        raise InvalidState("The payment is reversed already.", current_status=payment.status)
    available = get_invoice_credit(account_id=payment.account_id, currency=payment.currency)
    if payment.amount_credited > available and not allow_negative:
        raise InsufficientBalance(
            "The credit that the payment gave was spent.",
            available=max(0, available),
            required=payment.amount_credited,
        )


def _check(account: Account, new: NewManualPayment, at: datetime) -> None:
    require_amount(new.amount)
    require_currency(new.currency)
    if new.method not in ManualMethod.values:
        raise ValidationFailed.of("/method", "invalid_choice", f"One of {', '.join(ManualMethod.values)}.")
    if new.received_on > local_date(at, account.zone):
        raise ValidationFailed.of("/received_on", "in_future", "Money that has not come cannot be recorded.")
    if any(amount <= 0 for _, amount in new.parts):
        raise AmountNotPositive
    if len({invoice for invoice, _ in new.parts}) < len(new.parts):
        raise ValidationFailed.of("/parts", "duplicate", "Name each invoice once.")
    if sum(amount for _, amount in new.parts) > new.amount:
        raise ValidationFailed.of("/parts", "too_much", "The parts come to more than the payment.")


def _find_invoices(account: Account, new: NewManualPayment) -> dict[uuid.UUID, int]:
    """Return what is paid of which invoice, by key."""
    asked = {Invoice.parse_id(public_id): amount for public_id, amount in new.parts}
    known = set(
        Invoice.objects.filter(account=account, pk__in=[key for key in asked if key]).values_list("pk", flat=True)
    )
    found = {key: amount for key, amount in asked.items() if key is not None and key in known}
    if len(found) < len(new.parts):
        raise NotFound("invoice", "The account has no such invoice.")
    return found


def _require_payable(invoice: Invoice, amount: int, currency: str) -> None:
    if invoice.status not in PAYABLE_STATUSES:
        raise InvalidState(f"{invoice} is {invoice.status}; it cannot be paid.", current_status=invoice.status)
    if invoice.currency != currency:
        raise ValidationFailed.of("/currency", "mixed", f"{invoice} is in {invoice.currency.upper()}.")
    if amount > invoice.amount_remaining:
        rest = format_decimal(invoice.amount_remaining, invoice.currency)
        raise AmountExceedsRemaining(
            f"{rest} {invoice.currency.upper()} remain of {invoice}.",
            invoice_id=invoice.public_id,
            remaining=invoice.amount_remaining,
        )


def _insert(
    account: Account, new: NewManualPayment, credited: int, *, at: datetime, actor: Actor, approval: Approval | None
) -> ManualPayment:
    payment = ManualPayment(
        id=new_uuid(),
        org_id=account.org_id,
        account=account,
        method=new.method,
        amount=new.amount,
        amount_credited=credited,
        currency=new.currency,
        received_on=new.received_on,
        reference=" ".join(new.reference.split())[:140],
        note=new.note.strip(),
        approval=approval,
        recorded_by=str(actor) if approval is None else approval.requested_by,
        livemode=account.livemode,
    )
    payment.entry = _post(payment, at=at)
    payment.save(force_insert=True)
    return payment


def _post(payment: ManualPayment, *, at: datetime) -> LedgerEntry:
    owner, currency = payment.account_id, payment.currency
    legs: list[tuple[str, uuid.UUID | None, int]] = [
        (LedgerKind.CASH, None, payment.amount),
        (LedgerKind.RECEIVABLE, owner, payment.amount_credited - payment.amount),
        (LedgerKind.INVOICE_CREDIT, owner, -payment.amount_credited),
    ]
    return ledger.post_entry(
        key=f"manual_payment:{payment.public_id}",
        type="payment",
        account_id=owner,
        postings=[ledger.PostingSpec(kind, whose, currency, amount) for kind, whose, amount in legs if amount],
        at=at,
        livemode=payment.livemode,
        description=f"Paid by {payment}",
        metadata={"manual_payment_id": payment.public_id, "method": payment.method},
    )


def _emit(
    what: str,
    payment: ManualPayment,
    *,
    at: datetime,
    actor: Actor,
    reason: str,
    invoices: Sequence[tuple[Invoice, int]],
) -> None:
    events.emit(
        f"manual_payment.{what}",
        subject=payment,
        account_id=payment.account_id,
        at=at,
        actor=actor,
        data={
            "id": payment.public_id,
            "status": payment.status,
            "method": payment.method,
            "amount": payment.amount,
            "amount_credited": payment.amount_credited,
            "currency": payment.currency,
            "received_on": payment.received_on,
            "reference": payment.reference,
            "transaction_id": payment.entry.public_id,
            "invoices": {invoice.public_id: amount for invoice, amount in invoices},
        },
        previous={"status": ManualPaymentStatus.RECORDED} if what == "reversed" else None,
        reason=reason,
    )
