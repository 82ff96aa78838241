"""
The starter credit: given once per account, for ever.

It is a promotional prepaid deposit; the unique key of its ledger entry is what stops a second one.
Source: contract chapter Credits (Starter credit); ADR 0019.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.db import transaction

from accounts.models import Account, LedgerEntry
from accounts.services.deposits import deposit
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError

AMOUNT: Final = 500
CURRENCY: Final = "usd"
EXPIRY_DAYS: Final = 30
TAG: Final = "starter-credit"


class PaymentMethodRequired(DomainError):
    code, title, status = "payment_method_required", "A verified payment method must be on file first", 403


class StarterCreditAlreadyGranted(DomainError):
    code, title, status = "starter_credit_already_granted", "The starter credit was granted before", 409


@transaction.atomic
def grant_starter_credit(
    *, account: Account, at: datetime, actor: Actor, is_verified: bool, trigger: str
) -> LedgerEntry:
    """
    Deposit 500 minor units usd that end after 30 days, and return the entry. `trigger` is what asked for it.

    :raises PaymentMethodRequired: unless the account `is_verified` to be someone who can pay.
    :raises StarterCreditAlreadyGranted: when it had it before, spent or ended or not.
    :raises InvalidState: when the account is closed.
    """
    if not is_verified:
        raise PaymentMethodRequired("The starter credit needs a verified payment method on file.")
    # The account's lock, taken before looking; the deposit takes it again and reads the account.
    list(Account.objects.select_for_update(no_key=True).filter(pk=account.pk).values_list("pk", flat=True))
    key = f"{TAG}:{account.public_id}"
    if LedgerEntry.objects.filter(key=key).exists():
        raise StarterCreditAlreadyGranted("The account had its starter credit before.")
    return deposit(
        account=account,
        amount=AMOUNT,
        currency=CURRENCY,
        at=at,
        actor=actor,
        notes="Starter credit",
        tags=TAG,
        expires_in=EXPIRY_DAYS,
        metadata={"credit_type": "starter", "expiry_days": EXPIRY_DAYS, "trigger": trigger},
        key=key,
    )
