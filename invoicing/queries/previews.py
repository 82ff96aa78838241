"""What a run would issue, computed by the same engine, written nowhere."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from accounts.models import BILLABLE_STATUSES, Subscription
from invoicing.calculation.draft import Draft, draft_invoice
from invoicing.models import Seller
from invoicing.queries.billables import load_billables
from invoicing.queries.facts import gather_facts, get_due_boundary, settle_boundary


@dataclass(frozen=True, slots=True)
class PreviewedSubscription:
    """The drafts that would be issued for one subscription, oldest first; drafts without lines are left out."""

    subscription: Subscription
    drafts: list[Draft]


def preview_subscriptions(*, subscription_ids: Iterable[uuid.UUID], as_of: datetime) -> list[PreviewedSubscription]:
    """Return what billing would issue as of `as_of`, in the order of ids. Reads only, takes no lock."""
    subscriptions = list(
        Subscription.objects.select_related("account__test_clock", "plan_version__plan", "pending_plan_version__plan")
        .filter(id__in=list(subscription_ids))
        .order_by("id")
    )
    previews = {each.id: PreviewedSubscription(each, []) for each in subscriptions}
    billables = load_billables(subscriptions)
    sellers = get_sellers({each.account.org_id for each in subscriptions})
    while due := [
        boundary
        for each in subscriptions
        if each.status in BILLABLE_STATUSES
        and (boundary := get_due_boundary(each, now=each.account.clock_time or as_of)) is not None
    ]:
        for each in gather_facts(due, billables=billables, sellers=sellers):
            draft = draft_invoice(each.facts)
            if draft.lines:
                previews[each.boundary.subscription.id].drafts.append(draft)
            billables.pass_boundary(each.boundary)
            settle_boundary(each.boundary)
    return list(previews.values())


def get_sellers(org_ids: set[str]) -> dict[str, Seller]:
    """Return the sellers of organizations, with the defaults for those that have none stored."""
    found = {seller.org_id: seller for seller in Seller.objects.filter(org_id__in=org_ids)}
    # An organization that never issued anything has no seller row yet; the defaults round the same way.
    return {org_id: found.get(org_id) or Seller(org_id=org_id) for org_id in org_ids}
