"""Payers with cards at the provider, and the proof that its charges and our payments are the same."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.db import connection

from accounts.models import Account, LedgerAccount, LedgerKind, PaymentMethod
from accounts.queries.proof import prove_ledger
from billing_site.kernel import clock
from billing_site.platform.models import Event
from billing_site.platform.services.events import verify_all
from invoicing.models import Invoice, PaymentAllocation, PaymentIntent, Refund
from invoicing.services.settling_sweep import settle_unanswered
from tests.faults.product_worker import ELEVEN_MINUTES
from tests.stripe_server import StripeServer
from tests.support import payments, world

PAYMENTS = "/v1/payment_intents"


def open_payer(handle: str = "acme", *, card: str = "visa") -> tuple[Account, PaymentMethod]:
    """Return an account with a card at the provider."""
    account = world.open_account(handle)
    return account, payments.attach(account, card, at=clock.now())


def make_due(handle: str = "acme", *, card: str = "visa") -> Invoice:
    """Return an open invoice of 10.00 of a new account with a card. The catalog must be there."""
    return payments.bill(open_payer(handle, card=card)[0])


def sweep() -> int:
    """Ask about payments that were never answered, as if eleven minutes had passed."""
    return settle_unanswered(at=clock.now() + ELEVEN_MINUTES)


def list_charged(stripe: StripeServer) -> dict[str, int]:
    """Return what the provider took, by our id of the payment; a payment that was charged twice is a failure."""
    intents = {intent["id"]: intent for intent in stripe.objects("payment_intent")}
    taken = [charge for charge in stripe.objects("charge") if charge["paid"] and charge["captured"]]
    names = [intents[charge["payment_intent"]]["metadata"]["billing_payment_intent_id"] for charge in taken]
    twice = {name: count for name, count in Counter(names).items() if count > 1}
    assert not twice, f"charged more than once: {twice}"
    return {name: charge["amount_captured"] for name, charge in zip(names, taken, strict=True)}


def list_returned(stripe: StripeServer) -> dict[str, int]:
    """Return what the provider gave back, by our id of the refund."""
    given = [refund for refund in stripe.objects("refund") if refund["status"] in ("succeeded", "pending")]
    names = [refund["metadata"]["billing_refund_id"] for refund in given]
    assert len(names) == len(set(names)), f"given back more than once: {names}"
    return {name: refund["amount"] for name, refund in zip(names, given, strict=True)}


def require_same_money(stripe: StripeServer, *, note: str = "") -> None:
    """
    Nothing is lost or doubled: the provider's charges and refunds are our payments and refunds, one by one and in sum.

    The ledger is proven and holds just that money; every invoice was charged once at most; nothing is left under way.
    """
    charged, returned = list_charged(stripe), list_returned(stripe)
    rows = PaymentIntent.objects.filter(status="succeeded")
    assert {row.public_id: row.amount_received for row in rows} == charged, note
    kept = {row.public_id: row.amount for row in Refund.objects.filter(provider_ref__gt="", status="succeeded")}
    assert kept == returned, note
    assert sum_ledger(LedgerKind.CASH) + sum_ledger(LedgerKind.FEES) == sum(charged.values()) - sum(kept.values()), note
    paying = Counter(
        PaymentAllocation.objects.filter(intent__status="succeeded").values_list("invoice__number_text", flat=True)
    )
    assert [name for name, count in paying.items() if count > 1] == [], note
    for invoice in Invoice.objects.exclude(status="draft"):
        assert invoice.amount_paid <= invoice.total, note
    assert not PaymentAllocation.objects.filter(is_open=True).exists(), note
    assert not PaymentIntent.objects.exclude(pending_call="").exists(), note
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert prove_ledger().fault is None, note
    assert [report.fault for report in verify_all() if report.fault is not None] == [], note


def sum_ledger(kind: str) -> int:
    """Return what a kind of account of the ledger holds, minor units of US dollars."""
    return sum(LedgerAccount.objects.filter(kind=kind, currency="usd").values_list("balance", flat=True))


def count_events(**filters: Any) -> Counter[str]:
    """Return how often each type of our own events happened."""
    return Counter(Event.objects.filter(**filters).values_list("type", flat=True))
