"""
Invoices before the period ends, for usage that reaches the subscription's threshold.

The closing invoice deducts what they billed. Source: policies, rule 17; contract chapter Pricing (threshold); ADR 0040.
"""

from __future__ import annotations

import logging
import uuid
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from django.db import InterfaceError, OperationalError, transaction

from accounts.models import Subscription
from accounts.services.stored_money import lock_stored_money
from billing_site.kernel import jobs
from billing_site.kernel.actors import SYSTEM, Actor
from invoicing.models import Invoice
from invoicing.queries.billables import load_billables
from invoicing.queries.interim import draft_interim, find_past_threshold, list_with_threshold
from invoicing.services.billing import lock_subscriptions
from invoicing.services.drafting import DraftToWrite, write_drafts
from invoicing.services.issuing import issue_invoices
from invoicing.services.items import store_items
from invoicing.services.sellers import ensure_sellers
from metering.services.touching import BETWEEN_JOBS, TouchedAccounts

logger = logging.getLogger(__name__)
CHUNK: Final = 200
SWEEP_CHUNKS: Final = 100
CHECK: Final = "invoicing.check_thresholds"
BETWEEN_CHECKS: Final = 120 * BETWEEN_JOBS
_REASON: Final = "Usage has reached the billing threshold."

_checked: Final = TouchedAccounts(between_looks=BETWEEN_CHECKS)


def sweep_interim_invoices(*, at: datetime, actor: Actor = SYSTEM, org_id: str | None = None) -> list[Invoice]:
    """
    Invoice the usage so far of every subscription that has reached its threshold, and return the invoices.

    Looks without locks, then bills those that are past it. One that cannot be billed is logged and passed over.
    """
    issued: list[Invoice] = []
    after: uuid.UUID | None = None
    for _ in range(SWEEP_CHUNKS):
        ids = list_with_threshold(at=at, limit=CHUNK, after=after, org_id=org_id)
        if not ids:
            break
        after = ids[-1]
        issued += _bill_past(ids, at=at, actor=actor)
    return issued


def look_at_thresholds(*, account_ids: Collection[uuid.UUID], at: datetime) -> list[uuid.UUID]:
    """
    Have the subscriptions with a threshold of accounts whose usage has just changed checked, and return which.

    For the job that follows usage, after the commit: whoever records usage pays nothing for it. Each process of a
    worker sends a subscription at most once in two minutes; what is held back goes with a later one, or with the sweep.
    Two queries.
    """
    found = list_with_threshold(at=at, limit=CHUNK, account_ids=account_ids)
    ready = _checked.add(found) if found else []
    if ready:
        jobs.enqueue(CHECK, subscription_ids=[str(key) for key in ready])
    return ready


def forget_checked() -> None:
    """Begin anew, as a process that has just started."""
    _checked.clear()


def check_thresholds(*, subscription_ids: Collection[uuid.UUID], at: datetime, actor: Actor = SYSTEM) -> list[Invoice]:
    """
    Invoice those of some subscriptions that have reached their threshold, and return the invoices.

    One that cannot be billed is logged and passed over: the sweep looks at it again.
    """
    ids = list_with_threshold(at=at, limit=len(subscription_ids), subscription_ids=subscription_ids)
    return _bill_past(ids, at=at, actor=actor) if ids else []


def _bill_past(subscription_ids: Sequence[uuid.UUID], *, at: datetime, actor: Actor) -> list[Invoice]:
    """Look without locks, then bill those that are past their threshold."""
    try:
        past = find_past_threshold(subscription_ids=subscription_ids, at=at)
        return issue_interim_invoices(subscription_ids=past, at=at, actor=actor) if past else []
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        logger.warning("interim invoices: a batch failed, its subscriptions are billed one by one", exc_info=True)
        return [each for one in subscription_ids for each in _issue_alone(one, at=at, actor=actor)]


def _issue_alone(subscription_id: uuid.UUID, *, at: datetime, actor: Actor) -> list[Invoice]:
    try:
        return issue_interim_invoices(subscription_ids=[subscription_id], at=at, actor=actor)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        logger.exception("no interim invoice for subscription %s", subscription_id)
        return []


@transaction.atomic
def issue_interim_invoices(*, subscription_ids: Sequence[uuid.UUID], at: datetime, actor: Actor) -> list[Invoice]:
    """
    Issue an invoice for each subscription whose unbilled usage has reached its threshold, at its account's time.

    Fees, minimums and what waits are left for the closing invoice. The number of queries does not depend on how many
    there are.
    :raises IntegrityError: if the same usage is billed elsewhere at the same time (`…_billed_once`).
    """
    accounts = Subscription.objects.filter(id__in=subscription_ids).values("account_id")
    money = lock_stored_money(account_ids=accounts, at=at, actor=actor)
    subscriptions = lock_subscriptions(subscription_ids)
    sellers = ensure_sellers([each.account for each in subscriptions])
    billables = load_billables(subscriptions, sellers=sellers)
    times = {each.account_id: each.account.clock_time or at for each in subscriptions}
    pending: dict[datetime, list[DraftToWrite]] = defaultdict(list)
    for gathered, draft in draft_interim(subscriptions, billables, times):
        subscription = gathered.boundary.subscription
        account = subscription.account
        to_write = DraftToWrite(draft, subscription, account, sellers.of(account), gathered.items)
        pending[times[account.id]].append(to_write)
    store_items((), [draft for drafts in pending.values() for draft in drafts], billables)
    issued: list[Invoice] = []
    for now, drafts in sorted(pending.items()):
        written = [invoice for invoice, _ in write_drafts(drafts, run=None)]
        known = {invoice.id: each.draft for invoice, each in zip(written, drafts, strict=True)}
        issued += issue_invoices(written, at=now, actor=actor, money=money, drafts=known, reason=_REASON)
    return issued
