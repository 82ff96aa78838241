"""
What a billing run would issue, for a whole organization, written nowhere.

The engine and the facts are those of the run; each batch is a read-only transaction of its own, so that nothing is
locked and memory does not grow. Source: contract chapter Renewal and cycle; ADR 0043.
"""

from __future__ import annotations

import logging
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Final

from accounts.models import Account, Subscription
from billing_site.kernel.read_only import read_only
from invoicing.calculation.review import ReviewFinding, check_total
from invoicing.queries.due import list_due
from invoicing.queries.previews import PreviewedInvoice, PreviewedSubscription, preview_subscriptions
from invoicing.queries.reviews import HistoryKey, get_review_rules, load_issued_totals
from invoicing.queries.sellers import get_sellers

logger = logging.getLogger(__name__)
BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class WouldIssue:
    """An invoice that a run would make; with a `finding` it would be held for review."""

    previewed: PreviewedSubscription
    invoice: PreviewedInvoice
    finding: ReviewFinding | None = None


@dataclass(frozen=True, slots=True)
class WouldFail:
    """Subscriptions of one account that cannot be computed, and why."""

    account_id: str
    subscription_ids: tuple[str, ...]
    error: str


@dataclass(frozen=True, slots=True)
class DryBatch:
    """What one batch of due subscriptions would lead to. `total` counts those due in the whole organization."""

    subscriptions: int
    total: int
    invoices: Sequence[WouldIssue]
    failures: Sequence[WouldFail] = ()


def dry_run(
    *, org_id: str, as_of: datetime, account: Account | None = None, limit: int | None = None, size: int = BATCH
) -> Iterator[DryBatch]:
    """
    Yield what a run as of `as_of` would issue, batch by batch, in order of what is due first.

    All subscriptions of an account are in one batch, because they share what is stored. One that cannot be computed is
    told with its account and stops nobody.
    """
    due = list_due(as_of=as_of, org_id=org_id, account_id=account.pk if account else None, limit=limit)
    by_account: dict[uuid.UUID, list[uuid.UUID]] = defaultdict(list)
    for each in due.items:
        by_account[each.account_id].append(each.subscription_id)
    batch: list[list[uuid.UUID]] = []
    for ids in by_account.values():
        batch.append(ids)
        if sum(map(len, batch)) >= size:
            yield _compute(batch, as_of, len(due.items))
            batch = []
    if batch:
        yield _compute(batch, as_of, len(due.items))


def _compute(groups: Sequence[Sequence[uuid.UUID]], as_of: datetime, total: int) -> DryBatch:
    count = sum(map(len, groups))
    try:
        return DryBatch(count, total, _preview([each for group in groups for each in group], as_of))
    except Exception as error:
        if len(groups) == 1:
            return DryBatch(count, total, (), (_explain(groups[0], error),))
        logger.info("a batch of a dry run failed (%s), computing its accounts one by one", type(error).__name__)
    parts = [_compute([group], as_of, total) for group in groups]
    return DryBatch(
        count,
        total,
        [each for part in parts for each in part.invoices],
        [each for part in parts for each in part.failures],
    )


def _explain(subscription_ids: Sequence[uuid.UUID], error: Exception) -> WouldFail:
    with read_only():
        found = _load_names(subscription_ids)
    return WouldFail(found[0], found[1], f"{type(error).__name__}: {error}")


def _load_names(subscription_ids: Sequence[uuid.UUID]) -> tuple[str, tuple[str, ...]]:
    """Return the public ids of the account and of its subscriptions. One query."""
    rows = list(Subscription.objects.filter(pk__in=list(subscription_ids)).select_related("account").order_by("id"))
    return rows[0].account.public_id, tuple(row.public_id for row in rows)


def _preview(subscription_ids: Sequence[uuid.UUID], as_of: datetime) -> list[WouldIssue]:
    with read_only():
        previews = preview_subscriptions(subscription_ids=subscription_ids, as_of=as_of)
        sellers = get_sellers([each.subscription.account for each in previews])
        totals = load_issued_totals({_key(each) for each in previews})
    found: dict[uuid.UUID, list[WouldIssue]] = {each.subscription.pk: [] for each in previews}
    # Round by round, as a run does: what one round issues, the next one compares with.
    rounds = zip_longest(*([(each, invoice) for invoice in each.invoices] for each in previews))
    for made in rounds:
        for previewed, invoice in filter(None, made):
            key = _key(previewed)
            total = invoice.draft.total
            rules = get_review_rules(sellers.of(previewed.subscription.account))
            finding = check_total(total, currency=key.currency, history=totals.get(key, ()), rules=rules)
            found[previewed.subscription.pk].append(WouldIssue(previewed, invoice, finding))
        for previewed, invoice in filter(None, made):
            if found[previewed.subscription.pk][-1].finding is None:
                totals.setdefault(_key(previewed), []).insert(0, invoice.draft.total)
    return [each for listed in found.values() for each in listed]


def _key(previewed: PreviewedSubscription) -> HistoryKey:
    subscription = previewed.subscription
    return HistoryKey(subscription.account_id, subscription.currency, subscription.livemode)
