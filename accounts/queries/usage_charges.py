"""Charged usage of an account, as the money it took."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Prefetch, QuerySet

from accounts.models import Account, LedgerEntry, LedgerKind, Posting


def list_usage_charges(*, account: Account, currency: str | None = None) -> QuerySet[LedgerEntry]:
    """Return the withdrawals of charged usage, each with its prepaid leg as `taken`; `currency`: only those."""
    legs = Posting.objects.filter(ledger_account__kind=LedgerKind.PREPAID)
    entries = LedgerEntry.objects.filter(account=account, type="usage")
    if currency is not None:
        entries = entries.filter(Exists(legs.filter(entry=OuterRef("pk"), currency=currency)))
    return entries.prefetch_related(Prefetch("postings", queryset=legs, to_attr="taken"))
