"""
Invoice credit settles invoices, and nothing else of what the account has stored does.

For money that came to settle invoices: what is prepaid, and credit grants, are left alone. Source: contract chapters
Collection and Bank transfers; ADR 0053.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from accounts.models import Account
from accounts.queries.invoice_credit import get_invoice_credit
from accounts.services import ledger
from accounts.services.stored_money import StoredMoney, Wallet
from billing_site.kernel.actors import Actor
from invoicing.models import Invoice
from invoicing.queries.members import lock_subscriptions_of
from invoicing.services.balance_payments import PAYABLE_STATUSES, take_stored_money
from invoicing.services.invoices import lock_invoice


def settle_from_invoice_credit(
    *, account: Account, invoices: Iterable[Invoice], at: datetime, actor: Actor, reason: str = ""
) -> list[tuple[Invoice, int]]:
    """
    Let the invoice credit of a locked account pay invoices in the order given, and return what it paid of which.

    The invoices are in one currency; the last one may be paid in part. Each that nothing remains of is paid by
    `balance`, as everything is that invoice credit pays. Runs in the caller's transaction.
    """
    wanted = list(invoices)
    if not wanted:
        return []
    currency = wanted[0].currency
    lock_subscriptions_of([each.pk for each in wanted])
    ledger.lock_pots(account_id=account.pk, currency=currency)
    credit = get_invoice_credit(account_id=account.pk, currency=currency)
    money = StoredMoney([Wallet(account, at, invoice_credit={currency: credit})])
    paid = []
    for each in wanted:
        invoice = lock_invoice(each.pk)
        if invoice.status not in PAYABLE_STATUSES:
            continue
        if amount := take_stored_money(invoice, money=money, at=at, actor=actor, reason=reason):
            paid.append((invoice, amount))
    return paid
