"""
Usage whose price the caller knows, taken from the prepaid balance when it happens.

The work has been done, so a charge is never refused for want of money: it takes what is there, then the tier's daily
credit, and leaves the rest as a debt. Source: contract chapters Ledger, Tiers and Meters and usage (Charged usage).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction

from accounts.models import Account, LedgerEntry, LedgerKind, Posting
from accounts.queries.currencies import require_currency
from accounts.queries.tiers import DAILY_TAG, get_utc_midnight, sum_daily_credit
from accounts.services.account_locks import lock_account
from accounts.services.ledger import NewEntry, PostingSpec
from accounts.services.prepaid import Parts, PrepaidBalance, PrepaidChange, lock_balance, require_amount
from accounts.services.spending import make_legs
from accounts.terms.tiers import DAILY_CURRENCY, TierConfig, compute_daily_remaining
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError

USAGE_TAG: Final = "api-usage"
_DAILY: Final = "daily_credit_used"


class RequestIdReused(DomainError):
    code, title, status = "idempotency_key_reused", "This request id was charged to another account", 422


@dataclass(frozen=True, slots=True)
class UsageCharge:
    """
    One charge as it is booked, minor units of `currency`, and whether this call booked it.

    `daily_credit_used` is the part that the tier's daily credit covered.
    """

    entry: LedgerEntry
    amount: int
    currency: str
    daily_credit_used: int
    created: bool


@transaction.atomic
def charge_prepaid_usage(
    *,
    account: Account,
    amount: int,
    currency: str,
    key: str,
    tier: TierConfig,
    at: datetime,
    actor: Actor,
    description: str = "",
    metadata: dict[str, Any] | None = None,
) -> UsageCharge:
    """
    Take `amount` minor units for usage from the prepaid balance, below zero where it must, and return the charge.

    Prepaid money goes first; what it does not reach is covered by what is left of the tier's daily credit (usd, UTC
    day), deposited and spent in the same breath. A `key` seen before answers the first charge and takes nothing.
    Locks the platform's pots: call it once in a transaction, as late as possible.
    :raises AmountNotPositive: for zero or less; :raises CurrencyUnsupported: for a currency not offered.
    :raises RequestIdReused: when the key charged another account.
    """
    require_amount(amount)
    currency = require_currency(currency)
    account = lock_account(account.pk)
    if (first := LedgerEntry.objects.filter(key=key).first()) is not None:
        return _answer_again(first, account)
    change, balance = PrepaidChange(), lock_balance(account, currency=currency, at=at)
    change.expire(balance)
    daily = _cover(account, tier, at, currency=currency, shortfall=amount - balance.available)
    parts = _deposit_daily(change, balance, daily, key=key) if daily else []
    entry = NewEntry(
        key=key,
        type="usage",
        account_id=account.pk,
        postings=make_legs(account.pk, amount, currency, into=LedgerKind.REVENUE),
        at=at,
        livemode=account.livemode,
        description=description,
        tags=USAGE_TAG,
        metadata={**(metadata or {}), **({_DAILY: daily} if daily else {})},
    )
    parts += balance.take(amount - daily)
    data = {"amount": amount, "currency": currency, "notes": description, "tags": USAGE_TAG, _DAILY: daily}
    change.add(entry, parts, event="usage.charged", data={**data, "metadata": entry.metadata})
    written = change.write(actor=actor)[key]
    if written.account_id != account.pk:
        raise RequestIdReused("The request id was charged to another account at the same moment.")
    return UsageCharge(written, amount, currency, daily, created=True)


def _answer_again(entry: LedgerEntry, account: Account) -> UsageCharge:
    if entry.account_id != account.pk:
        raise RequestIdReused("The request id was charged to another account; ids are unique over all of them.")
    leg = Posting.objects.get(entry=entry, ledger_account__kind=LedgerKind.PREPAID)
    return UsageCharge(entry, leg.amount, leg.currency, int(entry.metadata.get(_DAILY, 0)), created=False)


def _cover(account: Account, tier: TierConfig, at: datetime, *, currency: str, shortfall: int) -> int:
    """Return how much of a shortfall the daily credit covers."""
    if shortfall <= 0 or currency != DAILY_CURRENCY or not tier.daily_credits_cents:
        return 0
    return min(shortfall, compute_daily_remaining(tier, used=sum_daily_credit(account=account, at=at)))


def _deposit_daily(change: PrepaidChange, balance: PrepaidBalance, amount: int, *, key: str) -> Parts:
    """
    Plan the deposit that pairs with the charge, and return its lot as spent: it never pays an older debt.

    What a correction gives back to it lapses with the day, for daily credit never accumulates.
    """
    entry = NewEntry(
        key=f"{DAILY_TAG}:{key}",
        type="deposit",
        account_id=balance.account.pk,
        postings=[
            PostingSpec(LedgerKind.PROMOTIONS, None, balance.currency, amount),
            PostingSpec(LedgerKind.PREPAID, balance.account.pk, balance.currency, -amount),
        ],
        at=balance.at,
        livemode=balance.account.livemode,
        description="Daily credit",
        tags=DAILY_TAG,
        metadata={"charge": key},
        expires_at=get_utc_midnight(balance.at) + timedelta(days=1),
    )
    data = {
        "amount": amount,
        "currency": balance.currency,
        "notes": entry.description,
        "tags": DAILY_TAG,
        "promotional": True,
        "expires_at": entry.expires_at,
    }
    change.add(entry, [], event="balance.deposited", data=data)
    change.open_lot(entry, balance, amount=amount, remaining=amount, promotional=True)
    lot = change.opened[-1][1]
    lot.remaining = 0
    return [(lot, amount)]
