"""Accounts with cards of the local provider, and invoices of theirs that are open."""

from __future__ import annotations

from datetime import datetime

from accounts.models import Account, PaymentMethod
from accounts.services.payment_methods import NewPaymentMethod
from invoicing.models import Invoice
from invoicing.services.payment_methods import attach_payment_method
from tests.support import world
from tests.support.world import DECEMBER, NOVEMBER, TESTER


def attach(account: Account, card: str = "visa", *, at: datetime = NOVEMBER) -> PaymentMethod:
    """Attach a test card to an account."""
    new = NewPaymentMethod(provider_ref=f"tok_{card}")
    return attach_payment_method(account=account, new=new, at=at, actor=TESTER).method


def bill(account: Account, plan: str = "pro") -> Invoice:
    """Start a subscription and return its open invoice of November: the fee, 1000."""
    subscription = world.subscribe(account, plan)
    return Invoice.objects.get(subscription=subscription)


def renew(account: Account) -> Invoice:
    """Bill December of the account's subscription and return the invoice."""
    world.run_cycle(as_of=DECEMBER)
    invoice = Invoice.objects.filter(account=account).order_by("-id").first()
    assert invoice is not None
    return invoice
