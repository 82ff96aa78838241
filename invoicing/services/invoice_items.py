"""
Items that wait for the next invoice of an account or a subscription, entered by hand.

Source: contract chapter Invoices (one_off lines); ADR 0039.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import transaction

from accounts.models import Account, Subscription
from accounts.queries.currencies import require_currency
from accounts.services.account_locks import lock_open_account
from accounts.services.approval_limits import SecondPersonNeeded, get_approval_limit, needs_second_person
from accounts.services.corrections import CurrencyMismatch
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, NotFound
from billing_site.platform.services import events
from invoicing.models import InvoiceStatus, PendingCharge
from invoicing.queries.invoice_items import read_item_terms
from invoicing.queries.pending_charges import read_charge
from invoicing.queries.sellers import get_sellers
from invoicing.services.given_lines import NewLine, make_charges


@transaction.atomic
def add_invoice_item(
    *,
    account: Account,
    line: NewLine,
    at: datetime,
    actor: Actor,
    subscription: Subscription | None = None,
    currency: str = "",
    reason: str = "",
) -> PendingCharge:
    """
    Leave a line for the next invoice of a subscription, or of the account in `currency` (by default its own).

    :raises InvalidState: when the account is closed or the subscription has ended. :raises NotFound: for a subscription
        of another account. :raises CurrencyMismatch: for another currency than the subscription's.
    :raises SecondPersonNeeded: when a person leaves a credit above the limit of the installation alone.
    :raises: as `given_lines.make_charges`.
    """
    account = lock_open_account(account.pk)
    if subscription is not None:
        if subscription.account_id != account.pk:
            raise NotFound("subscription")
        if not subscription.is_running:
            raise InvalidState("The subscription has ended.", current_status=subscription.status)
        if currency and currency != subscription.currency:
            raise CurrencyMismatch(f"The subscription is in {subscription.currency.upper()}.")
        currency = subscription.currency
    currency = require_currency(currency or line.currency or account.currency)
    (facts,) = make_charges([line], account=account, currency=currency, at=at, pointer="")
    seller = get_sellers([account]).of(account)
    amount = read_item_terms(facts, rounding=seller.rounding).amount
    if needs_second_person(amount=-amount, actor=actor):
        raise SecondPersonNeeded(
            "A credit of this size takes a second person: give invoice credit, which another person approves.",
            limit=get_approval_limit(),
        )
    item = PendingCharge.objects.create(
        account=account,
        subscription=subscription,
        facts=facts.as_dict(),
        period_start=facts.period.start,
        period_end=facts.period.end,
        reason=reason[:100] or "entered",
    )
    _emit("invoice_item.created", item, at=at, actor=actor, reason=reason)
    return item


@transaction.atomic
def drop_invoice_item(*, item_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> PendingCharge:
    """
    Take back an item that still waits, and return it.

    :raises NotFound: if there is no such item. :raises InvalidState: when an invoice has it, or it was dropped before.
    """
    found = PendingCharge.objects.filter(pk=item_id, item__isnull=True).first()
    if found is None:
        raise NotFound("invoice_item")
    # Whoever bills the subscription holds it; what waits for any of the account's is held as a row.
    keys = Subscription.objects.select_for_update(no_key=True).filter(pending_charges=found.pk)
    list(keys.values_list("pk", flat=True))
    item = PendingCharge.objects.select_for_update(of=("self",)).select_related("invoice").get(pk=item_id)
    if item.invoice is not None and item.invoice.status != InvoiceStatus.VOID:
        raise InvalidState(f"{item.invoice} has it.", current_status="invoiced")
    if item.dropped_at is not None:
        raise InvalidState("It was dropped before.", current_status="dropped")
    item.dropped_at = at
    item.save(update_fields=["dropped_at", "updated_at"])
    _emit("invoice_item.dropped", item, at=at, actor=actor, reason=reason)
    return item


def _emit(type: str, item: PendingCharge, *, at: datetime, actor: Actor, reason: str) -> None:
    facts = read_charge(item)
    events.emit(
        type,
        subject=item,
        account_id=item.account_id,
        at=at,
        actor=actor,
        data={
            "id": item.public_id,
            "description": str(item),
            "quantity": facts.quantity,
            "unit_amount": facts.price.unit_amount,
            "price": facts.price.model,
            "currency": facts.price.currency,
        },
        reason=reason,
    )
