"""
The starter credit: given once per account, for ever.

It is a promotional prepaid deposit; the unique key of its ledger entry is what stops a second one. It is claimed, or
given in the background when the first payment method was verified.
Source: contract chapter Credits (Starter credit); ADR 0019.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction

from accounts.models import Account, LedgerEntry
from accounts.queries.payment_methods import has_verified_method, list_owed_starter_credit
from accounts.services.account_locks import lock_account_row
from accounts.services.deposits import deposit
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, InvalidState

AMOUNT: Final = 500
CURRENCY: Final = "usd"
EXPIRY_DAYS: Final = 30
TAG: Final = "starter-credit"
VERIFIED: Final = "payment_method_verified"
"""The trigger of the grant in the background."""
SWEPT: Final = timedelta(days=7)


class PaymentMethodRequired(DomainError):
    code, title, status = "payment_method_required", "A verified payment method must be on file first", 403


class StarterCreditAlreadyGranted(DomainError):
    code, title, status = "starter_credit_already_granted", "The starter credit was granted before", 409


@transaction.atomic
def grant_starter_credit(*, account: Account, at: datetime, actor: Actor, trigger: str) -> LedgerEntry:
    """
    Deposit 500 minor units usd that end after 30 days, and return the entry. `trigger` is what asked for it.

    :raises PaymentMethodRequired: without a verified method, unless `BILLING_STARTER_CREDIT_NEEDS_METHOD` is off.
    :raises StarterCreditAlreadyGranted: when it had it before, spent or ended or not.
    :raises InvalidState: when the account is closed.
    """
    lock_account_row(account.pk)  # before looking; the deposit takes it again and reads the account
    if settings.BILLING_STARTER_CREDIT_NEEDS_METHOD and not has_verified_method(account.pk):
        raise PaymentMethodRequired("The starter credit needs a verified payment method on file.")
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


def grant_after_verification(*, account_id: UUID, at: datetime, actor: Actor) -> LedgerEntry | None:
    """
    Give the starter credit that the first verified method earns, and return the entry; None when nothing is owed.

    Nothing is owed to an account that had it, is closed, or has taken its method away since.
    """
    account = Account.objects.get(pk=account_id)
    try:
        return grant_starter_credit(account=account, at=at, actor=actor, trigger=VERIFIED)
    except (StarterCreditAlreadyGranted, PaymentMethodRequired, InvalidState):
        return None


def list_owed(*, at: datetime, limit: int) -> list[UUID]:
    """Return accounts whose method was verified in the week before `at` and whose credit was not given."""
    return list_owed_starter_credit(tag=TAG, since=at - SWEPT, limit=limit)
