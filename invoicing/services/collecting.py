"""
Collecting invoices: stored money first, then a means of payment.

Steps 1 to 3 (credit grants, invoice credit, prepaid money) and the row of the attempt commit before the provider is
asked; its answer, or its webhook, settles the row. One attempt at a time holds an invoice.
Source: contract chapter Collection; policies, the order of discount, tax and credit; ADR 0057.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from django.db import transaction
from django.db.models import Q, Sum

from accounts.models import Account, PaymentMethod
from accounts.services.stored_money import lock_stored_money
from billing_site.kernel import jobs
from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.errors import DomainError, InvalidState, NotFound
from billing_site.kernel.money import format_decimal
from billing_site.platform.services.keyed_requests import RequestMark, find_repeated, remember
from invoicing.gateways.port import PaymentGateway, ProviderUnavailable
from invoicing.models import (
    CreditSource,
    IntentPurpose,
    Invoice,
    InvoiceStatus,
    PaymentAllocation,
    PaymentIntent,
    PendingCall,
)
from invoicing.queries.collection import choose_method, is_collected_by_itself, list_due_invoices
from invoicing.queries.dunning import is_method_tried
from invoicing.services.balance_payments import PAYABLE_STATUSES, pay_from_stored
from invoicing.services.charging import ask_provider, begin_call
from invoicing.services.dunning import choose_step_method
from invoicing.services.invoices import lock_invoice, lock_parties
from invoicing.services.payment_booking import fail_attempt

logger = logging.getLogger(__name__)

COLLECT_JOB: Final = "invoicing.collect_invoices"
UNKNOWN_OUTCOME: Final = "The payment provider has not answered yet; nothing is charged again until it has."


class CollectionInProgress(DomainError):
    code, title, status, retryable = "collection_in_progress", "Another attempt holds the invoice", 409, True


@dataclass(frozen=True, slots=True)
class Collection:
    """
    What an attempt to collect an invoice took, by source, in minor units of its currency.

    `credit_used` came from credit grants, `balance_used` from invoice credit and prepaid money, `provider_used` from a
    means of payment, which `provider_ref` names at the provider. `error` says why something remains; empty when nothing
    does.
    """

    credit_used: int = 0
    balance_used: int = 0
    provider_used: int = 0
    provider_ref: str | None = None
    error: str | None = None
    client_secret: str | None = None

    @property
    def success(self) -> bool:
        """Whether nothing remains."""
        return self.error is None

    @property
    def amount_charged(self) -> int:
        """What all sources paid together."""
        return self.credit_used + self.balance_used + self.provider_used


@dataclass(frozen=True, slots=True)
class _Begun:
    """What the first transaction of an attempt left: what stored money paid, and the payment to be asked for."""

    collection: Collection
    intent_id: uuid.UUID | None = None
    is_new: bool = True


def collect_invoice(
    *,
    invoice_id: uuid.UUID,
    at: datetime,
    actor: Actor,
    method: PaymentMethod | None = None,
    off_session: bool = True,
    only_if_due: bool = False,
    only_untried: bool = False,
    mark: RequestMark | None = None,
    gateway: PaymentGateway | None = None,
    reason: str = "",
) -> tuple[Invoice, Collection]:
    """
    Try to collect an invoice now, and return it with what was taken; each step is partial.

    What was taken stays taken; when something remains, the invoice stays as it is and counts a failed attempt. Charged
    is `method`, else that of the subscription, else of the account; what is collected by invoice only charges one that
    is named. Call it outside a transaction. With `only_if_due` nothing happens unless its next attempt is due, and what
    dunning has stopped charges nothing; with `only_untried` nothing happens if `method` was charged for it before. A
    repeat of a keyed request (`mark`) goes on with the first one's attempt.
    :raises NotFound: if there is no such invoice. :raises InvalidState: if it is neither open nor uncollectible.
    :raises CollectionInProgress: while another attempt is not settled.
    Source: contract chapter Collection; endpoint invoice_pay.
    """
    begun = _begin(
        invoice_id,
        at=at,
        actor=actor,
        method=method,
        off_session=off_session,
        only_if_due=only_if_due,
        only_untried=only_untried,
        mark=mark or RequestMark(),
        gateway=gateway,
        reason=reason,
    )
    collection = begun.collection
    if begun.intent_id is not None:
        collection = _finish(begun.intent_id, invoice_id, collection, at=at, actor=actor, gateway=gateway)
    invoice = Invoice.objects.select_related("account__test_clock", "seller").get(pk=invoice_id)
    return invoice, collection


@transaction.atomic
def _begin(
    invoice_id: uuid.UUID,
    *,
    at: datetime,
    actor: Actor,
    method: PaymentMethod | None,
    off_session: bool,
    only_if_due: bool,
    only_untried: bool,
    mark: RequestMark,
    gateway: PaymentGateway | None,
    reason: str,
) -> _Begun:
    """Take stored money, count the attempt, and write the payment that is to be asked for."""
    lock_parties(invoice_id)
    owners = Invoice.objects.filter(pk=invoice_id).values("account_id")
    money = lock_stored_money(account_ids=owners, at=at, actor=actor)
    invoice = lock_invoice(invoice_id)
    if (repeated := find_repeated(mark)) is not None:
        return _go_on(invoice, repeated)
    if only_if_due and (invoice.next_attempt_at is None or invoice.next_attempt_at > at):
        return _Begun(Collection(error="Nothing is due."))
    if only_untried and is_method_tried(invoice.pk, method):
        return _Begun(Collection(error="It was charged before."))
    if invoice.status not in PAYABLE_STATUSES:
        raise InvalidState("Only what is open or uncollectible can be paid.", current_status=invoice.status)
    if PaymentAllocation.objects.filter(invoice=invoice, is_open=True).exists():
        raise CollectionInProgress("A payment of this invoice is under way.")
    invoice.attempt_count += 1
    invoice.last_attempt_at, invoice.next_attempt_at = at, None
    invoice.save(update_fields=["attempt_count", "last_attempt_at", "next_attempt_at", "updated_at"])
    taken = pay_from_stored(invoice, money=money, at=at, actor=actor, reason=reason)
    collection = Collection(
        credit_used=taken.granted if taken is not None else 0,
        balance_used=taken.invoice_credit + taken.prepaid if taken is not None else 0,
    )
    if not invoice.amount_remaining:
        remember(mark, subject_id=invoice.public_id, at=at)
        return _Begun(collection)
    chosen = method or _choose(invoice, only_if_due)
    if chosen is None:
        error = _tell_rest(invoice, took=taken is not None)
        fail_attempt(invoice, error=error, decline_reason="", at=at, actor=actor, reason=reason)
        remember(mark, subject_id=invoice.public_id, at=at)
        return _Begun(replace(collection, error=error))
    intent = _open_payment([invoice], chosen, attempt=invoice.attempt_count, gateway=gateway)
    key = f"invoice:{invoice.public_id}:{invoice.attempt_count}"
    begin_call(intent, PendingCall.PAY, key=key, at=at, method=chosen, off_session=off_session)
    remember(mark, subject_id=intent.public_id, at=at)
    return _Begun(collection, intent.pk)


def _choose(invoice: Invoice, is_step: bool) -> PaymentMethod | None:
    if is_step:
        return choose_step_method(invoice)
    return choose_method(invoice) if is_collected_by_itself(invoice) else None


def _go_on(invoice: Invoice, repeated: str) -> _Begun:
    """Return what an earlier request with the same key began."""
    key = PaymentIntent.parse_id(repeated)
    later = Q(payment__gt=0)
    of_grants = Sum("amount", filter=later & Q(source=CreditSource.GRANT), default=0)
    of_balances = Sum("amount", filter=later & ~Q(source=CreditSource.GRANT), default=0)
    taken = invoice.credits.aggregate(granted=of_grants, balances=of_balances)
    rest = key is None and invoice.amount_remaining
    error = _tell_rest(invoice, took=any(taken.values())) if rest else None
    collection = Collection(credit_used=taken["granted"], balance_used=taken["balances"], error=error)
    return _Begun(collection, key, is_new=False)


def _open_payment(
    invoices: Sequence[Invoice], method: PaymentMethod, *, attempt: int, gateway: PaymentGateway | None
) -> PaymentIntent:
    """Write a payment of what remains of locked invoices of one account and currency."""
    first = invoices[0]
    intent = PaymentIntent.objects.create(
        account=first.account,
        purpose=IntentPurpose.INVOICE,
        amount=sum(invoice.amount_remaining for invoice in invoices),
        currency=first.currency,
        payment_method=method,
        provider_type=gateway.name if gateway is not None else method.provider_type,
        attempt=attempt,
        description=", ".join(str(invoice) for invoice in invoices)[:500],
        livemode=first.livemode,
    )
    PaymentAllocation.objects.bulk_create(
        PaymentAllocation(intent=intent, invoice=invoice, amount=invoice.amount_remaining, is_open=True)
        for invoice in invoices
    )
    return intent


def _finish(
    intent_id: uuid.UUID,
    invoice_id: uuid.UUID,
    begun: Collection,
    *,
    at: datetime,
    actor: Actor,
    gateway: PaymentGateway | None,
) -> Collection:
    """Ask the provider, and return what the attempt took."""
    try:
        intent = ask_provider(intent_id=intent_id, at=at, actor=actor, gateway=gateway)
    except ProviderUnavailable:
        return replace(begun, error=UNKNOWN_OUTCOME)
    paid = PaymentAllocation.objects.filter(intent=intent, invoice=invoice_id).values_list("applied", flat=True).get()
    rows = Invoice.objects.only("status", "amount_due", "amount_paid")
    error = None if not rows.get(pk=invoice_id).amount_remaining else intent.last_error or UNKNOWN_OUTCOME
    secret = intent.client_secret if intent.status == "requires_action" else None
    return replace(
        begun, provider_used=paid or 0, provider_ref=intent.provider_ref or None, error=error, client_secret=secret
    )


def _tell_rest(invoice: Invoice, *, took: bool) -> str:
    rest = f"{format_decimal(invoice.amount_remaining, invoice.currency)} {invoice.currency.upper()}"
    if not took:
        return f"The account has no credit or money that may pay it; {rest} remains. No payment method was charged."
    return f"Stored credit and money did not cover it; {rest} remains. No payment method was charged."


@transaction.atomic
def ask_for_collection(*, invoice_id: uuid.UUID, at: datetime) -> None:
    """
    Let an open invoice be collected right after this transaction, for doors that answer before the provider does.

    Nothing happens to one that is not open, or is being collected.
    """
    lock_parties(invoice_id)
    invoice = lock_invoice(invoice_id)
    busy = PaymentAllocation.objects.filter(invoice=invoice, is_open=True).exists()
    if invoice.status != InvoiceStatus.OPEN or busy:
        return
    invoice.next_attempt_at = at
    invoice.save(update_fields=["next_attempt_at", "updated_at"])
    jobs.enqueue(COLLECT_JOB, invoice_ids=[str(invoice_id)])


# ---- several at once ------------------------------------------------------------------------------------------------
def collect_invoices_together(
    *,
    account: Account,
    invoice_ids: Sequence[uuid.UUID],
    at: datetime,
    actor: Actor,
    method: PaymentMethod | None = None,
    off_session: bool = True,
    gateway: PaymentGateway | None = None,
) -> PaymentIntent | None:
    """
    Pay several open invoices of one account and currency with one payment, and return it; None when none was needed.

    Stored money pays first, the oldest invoice first. Call it outside a transaction.
    :raises NotFound: for an invoice of another account. :raises InvalidState: for one that cannot be paid, without a
    method to charge, or in several currencies. :raises CollectionInProgress: while one of them is being collected.
    :raises ProviderUnavailable: when the outcome is not known yet.
    """
    intent = _begin_together(
        account, invoice_ids, at=at, actor=actor, method=method, off_session=off_session, gateway=gateway
    )
    if intent is None:
        return None
    return ask_provider(intent_id=intent.pk, at=at, actor=actor, gateway=gateway)


@transaction.atomic
def _begin_together(
    account: Account,
    invoice_ids: Sequence[uuid.UUID],
    *,
    at: datetime,
    actor: Actor,
    method: PaymentMethod | None,
    off_session: bool,
    gateway: PaymentGateway | None,
) -> PaymentIntent | None:
    named = Invoice.objects.filter(pk__in=invoice_ids, account=account)
    owned = list(named.order_by("id").values_list("pk", flat=True))
    if not owned or len(owned) != len(set(invoice_ids)):
        raise NotFound("invoice")
    for key in owned:
        lock_parties(key)
    money = lock_stored_money(account_ids=[account.pk], at=at, actor=actor)
    invoices = [lock_invoice(key) for key in owned]
    if len({invoice.currency for invoice in invoices}) > 1:
        raise InvalidState("One payment is in one currency.", current_status="several_currencies")
    for invoice in invoices:
        if invoice.status not in PAYABLE_STATUSES:
            raise InvalidState(f"{invoice} cannot be paid.", current_status=invoice.status)
        if PaymentAllocation.objects.filter(invoice=invoice, is_open=True).exists():
            raise CollectionInProgress(f"A payment of {invoice} is under way.")
    for invoice in invoices:
        pay_from_stored(invoice, money=money, at=at, actor=actor)
    owed = [invoice for invoice in invoices if invoice.amount_remaining]
    if not owed:
        return None
    chosen = method or choose_method(owed[0])
    if chosen is None:
        raise InvalidState("The account has no payment method to charge.", current_status="no_payment_method")
    for invoice in owed:
        invoice.attempt_count += 1
        invoice.last_attempt_at, invoice.next_attempt_at = at, None
        invoice.save(update_fields=["attempt_count", "last_attempt_at", "next_attempt_at", "updated_at"])
    intent = _open_payment(owed, chosen, attempt=max(each.attempt_count for each in owed), gateway=gateway)
    begin_call(
        intent, PendingCall.PAY, key=f"{intent.public_id}:confirm:1", at=at, method=chosen, off_session=off_session
    )
    return intent


# ---- by themselves --------------------------------------------------------------------------------------------------
def collect_due(
    *,
    at: datetime,
    actor: Actor = SYSTEM,
    limit: int = 500,
    account_ids: Sequence[uuid.UUID] | None = None,
    gateway: PaymentGateway | None = None,
) -> int:
    """
    Collect what is due at `at` (by each account's clock) and return how many invoices were tried.

    Each by itself; one that fails is logged and stays due for the next sweep.
    """
    tried = 0
    for invoice_id, now in list_due_invoices(as_of=at, limit=limit, account_ids=account_ids):
        tried += collect_if_due(invoice_id=invoice_id, at=now, actor=actor, gateway=gateway)
    return tried


def collect_if_due(
    *, invoice_id: uuid.UUID, at: datetime, actor: Actor = SYSTEM, gateway: PaymentGateway | None = None
) -> bool:
    """Collect an invoice whose next attempt is due, and tell whether it was tried. Call it outside a transaction."""
    due = Invoice.objects.filter(pk=invoice_id, status=InvoiceStatus.OPEN, next_attempt_at__lte=at)
    if not due.exists():
        return False
    try:
        collect_invoice(invoice_id=invoice_id, at=at, actor=actor, only_if_due=True, gateway=gateway)
    except DomainError:
        logger.exception("invoice %s could not be collected", invoice_id)
        return False
    return True


def collect_these(*, invoice_ids: Sequence[uuid.UUID], at: datetime, actor: Actor = SYSTEM) -> int:
    """Collect those of some invoices whose next attempt is due, by each account's clock; return how many were tried."""
    due = list_due_invoices(as_of=at, limit=len(invoice_ids), invoice_ids=invoice_ids)
    return sum(collect_if_due(invoice_id=key, at=now, actor=actor) for key, now in due)
