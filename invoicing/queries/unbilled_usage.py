"""Since when usage may still have to be billed: what is older than that may leave the database."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Min, Q
from django.db.models.functions import Coalesce, Least

from accounts.models import RUNNING_STATUSES, Subscription, SubscriptionItem
from accounts.models.subscription import ProviderType
from invoicing.models import InvoiceLine, InvoiceStatus


def find_first_unbilled_use() -> datetime | None:
    """
    Return the earliest moment whose usage a subscription that is billed here, or a draft, has not invoiced; None: none.

    A running subscription has invoiced everything before its current period, or before `usage_from` of a renewal ahead
    of time; one that ended has invoiced everything.
    """
    is_open = Q(status__in=RUNNING_STATUSES) | Q(next_billing_at__isnull=False)
    billed = Subscription.objects.filter(is_open, provider_type=ProviderType.INTERNAL, billed_by_provider=False)
    periods = billed.aggregate(first=Min(Least("current_period_start", Coalesce("usage_from", "current_period_start"))))
    items = SubscriptionItem.objects.filter(subscription__in=billed).aggregate(first=Min("unbilled_from"))
    drafts = InvoiceLine.objects.filter(invoice__status=InvoiceStatus.DRAFT).aggregate(first=Min("period_start"))
    return min((found["first"] for found in (periods, items, drafts) if found["first"] is not None), default=None)
