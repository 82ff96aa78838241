"""
The tier of a request, and what an account on it can spend right now.

Source: contract chapter Tiers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

from django.conf import settings
from django.db.models import Sum

from accounts.models import Account, LedgerKind, Posting
from accounts.queries.ledger import get_balance
from accounts.terms.tiers import DAILY_CURRENCY, TierConfig, choose_tier, compute_daily_remaining, read_tiers

# The deposits that daily credit makes when it covers what prepaid money did not.
DAILY_TAG: Final = "daily-credit"


def list_tiers() -> Mapping[str, TierConfig]:
    """
    Return the tiers of this site by name: the default table with `BILLING_TIERS` applied.

    :raises ValueError: when that setting cannot be read.
    """
    return read_tiers(settings.BILLING_TIERS)


def get_tier(*, account: Account, claim: object = None, override: str | None = None) -> TierConfig:
    """
    Return the tier of a request: `override` (internal callers only), the token's claim, the stored tier, else free.

    An unknown name means free.
    """
    return choose_tier(list_tiers(), override, claim if isinstance(claim, str) else None, account.tier)


@dataclass(frozen=True, slots=True)
class SpendableMoney:
    """What can be spent now, minor units of `currency`."""

    currency: str
    prepaid_available: int
    daily_remaining: int

    @property
    def effective_available(self) -> int:
        return self.prepaid_available + self.daily_remaining


def get_spendable(*, account: Account, tier: TierConfig, currency: str, at: datetime) -> SpendableMoney:
    """Return prepaid money and what is left of today's daily credit, which is in usd only and ends at 00:00 UTC."""
    balance = get_balance(account_id=account.pk, currency=currency)
    daily = 0
    if currency == DAILY_CURRENCY and tier.daily_credits_cents:
        daily = compute_daily_remaining(tier, used=sum_daily_credit(account=account, at=at))
    return SpendableMoney(currency, balance.available, daily)


def sum_daily_credit(*, account: Account, at: datetime) -> int:
    """
    Return the daily credit used on the UTC day of `at`, usd minor units.

    The whole day counts: of two calls at once, the later one may be booked first.
    """
    midnight = get_utc_midnight(at)
    postings = Posting.objects.filter(
        ledger_account__kind=LedgerKind.PREPAID,
        currency=DAILY_CURRENCY,
        entry__account=account,
        entry__tags=DAILY_TAG,
        entry__created_at__gte=midnight,
        entry__created_at__lt=midnight + timedelta(days=1),
    )
    return -(postings.aggregate(total=Sum("amount"))["total"] or 0)


def get_utc_midnight(at: datetime) -> datetime:
    """Return the 00:00 UTC that the day of `at` began with."""
    return datetime.combine(at.astimezone(UTC).date(), time(), UTC)
