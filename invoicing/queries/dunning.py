"""
What dunning asks before it decides: by which terms, with which method, and whether an invoice collects itself.

Source: contract chapters Collection and Dunning; ADR 0056.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet

from accounts.models import Account, PaymentMethod, PaymentMethodStatus, Subscription
from accounts.models.payment_method import PROVIDER_TYPES
from invoicing.calculation.dunning import Terms, read_terms
from invoicing.models import (
    OPEN_CASES,
    STEPPING_CASES,
    DunningAccount,
    DunningCampaign,
    DunningCase,
    DunningPlan,
    Invoice,
    PaymentAllocation,
    PaymentIntent,
)
from invoicing.queries.collection import choose_method
from invoicing.queries.members import list_billed_subscriptions


def get_default_terms() -> Terms:
    """Return the terms of the settings."""
    return read_terms(
        delays_hours=settings.BILLING_DUNNING_DELAYS_HOURS, end_state=settings.BILLING_DUNNING_END, name="Default"
    )


def find_campaign(account: Account, plan_ids: Sequence[uuid.UUID] = ()) -> DunningCampaign | None:
    """Return the campaign for an account: its own, else that of the first plan that has one; None: the default."""
    usable = DunningCampaign.objects.filter(is_active=True, org_id=account.org_id)
    own = DunningAccount.objects.filter(account=account, campaign__in=usable).select_related("campaign").first()
    if own is not None:
        return own.campaign
    links = DunningPlan.objects.filter(plan__in=plan_ids, campaign__in=usable).select_related("campaign")
    by_plan = {link.plan_id: link.campaign for link in links} if plan_ids else {}
    return next((by_plan[plan_id] for plan_id in plan_ids if plan_id in by_plan), None)


def find_terms(invoice: Invoice) -> tuple[DunningCampaign | None, Terms]:
    """Return the campaign by which an invoice is asked for, None for the default, and its terms as they are now."""
    keys = list_billed_subscriptions([invoice]).get(invoice.pk, [])
    plans = dict(Subscription.objects.filter(pk__in=keys).values_list("pk", "plan_version__plan_id")) if keys else {}
    campaign = find_campaign(invoice.account, [plans[key] for key in keys if key in plans])
    return campaign, get_default_terms() if campaign is None else campaign.terms


def list_subscriptions(invoice: Invoice) -> list[Subscription]:
    """Return the subscriptions that an invoice bills, with account and plans, in the order of its lines."""
    keys = list_billed_subscriptions([invoice]).get(invoice.pk, [])
    rows = Subscription.objects.select_related(
        "account__test_clock", "plan_version__plan", "pending_plan_version__plan", "default_payment_method"
    )
    found = {row.pk: row for row in rows.filter(pk__in=keys)} if keys else {}
    return [found[key] for key in keys if key in found]


def list_chargeable(account_id: uuid.UUID) -> QuerySet[PaymentMethod]:
    """Return the attached methods of an account that a provider can take money from."""
    return PaymentMethod.objects.filter(
        account_id=account_id, status=PaymentMethodStatus.ATTACHED, type__in=PROVIDER_TYPES
    )


def find_last_payment(invoice_id: uuid.UUID) -> PaymentIntent | None:
    """Return the newest payment through a provider that was to pay an invoice, with its method."""
    allocation = (
        PaymentAllocation.objects.filter(invoice_id=invoice_id)
        .select_related("intent__payment_method")
        .order_by("-intent_id")
        .first()
    )
    return None if allocation is None else allocation.intent


def find_open_case(invoice_id: uuid.UUID) -> DunningCase | None:
    """Return the open case of an invoice, or None."""
    return DunningCase.objects.filter(invoice_id=invoice_id, status__in=OPEN_CASES).first()


def list_failing(invoice_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Return which of these invoices have an open case."""
    rows = DunningCase.objects.filter(invoice__in=invoice_ids, status__in=OPEN_CASES)
    return set(rows.values_list("invoice_id", flat=True)) if invoice_ids else set()


def is_method_tried(invoice_id: uuid.UUID, method: PaymentMethod | None) -> bool:
    """Tell whether an invoice was charged to a method before, whatever came of it."""
    return PaymentAllocation.objects.filter(invoice=invoice_id, intent__payment_method=method).exists()


def find_untried_method(invoice: Invoice, *, since: datetime | None = None) -> PaymentMethod | None:
    """
    Return a method to which an open invoice is to be charged now, because it has not been yet, or None.

    In dunning that is what was attached since it began, or is charged by default now, whenever that was attached; for
    other invoices what was attached since they were issued (and since `since`). Each method is tried once of itself,
    and none while a person holds the dunning, or has ended it.
    """
    case = DunningCase.objects.filter(invoice=invoice).order_by("-id").first()
    if case is not None and case.status not in (*STEPPING_CASES, "paid"):
        return None
    in_dunning = case is not None and case.is_open
    begun = case.opened_at if case is not None and in_dunning else invoice.finalized_at
    if begun is None or (not in_dunning and invoice.next_attempt_at is not None):
        return None
    usual = choose_method(invoice)
    tried = PaymentAllocation.objects.filter(invoice=invoice, intent__payment_method=OuterRef("pk"))
    wanted = Q(attached_at__gte=begun if since is None or in_dunning else max(begun, since))
    if in_dunning and usual is not None:
        wanted |= Q(pk=usual.pk)
    found = list(list_chargeable(invoice.account_id).filter(wanted).exclude(Exists(tried)).order_by("-id"))
    return next((each for each in found if usual is not None and each.pk == usual.pk), found[0] if found else None)


def list_with_new_methods(*, since: datetime, account_id: uuid.UUID | None = None, limit: int) -> list[uuid.UUID]:
    """
    Return open invoices that `find_untried_method` may have something for, oldest first.

    Those that are not in dunning only where a method was attached since `since`.
    """
    tried = PaymentAllocation.objects.filter(invoice=OuterRef(OuterRef("pk")), intent__payment_method=OuterRef("pk"))
    methods = PaymentMethod.objects.filter(
        account=OuterRef("account"), status=PaymentMethodStatus.ATTACHED, type__in=PROVIDER_TYPES
    ).exclude(Exists(tried))
    cases = DunningCase.objects.filter(invoice=OuterRef("pk"), status__in=STEPPING_CASES)
    rows = Invoice.objects.filter(status="open").filter(
        Q(Exists(cases), Exists(methods))
        | Q(
            Exists(methods.filter(attached_at__gte=since).filter(attached_at__gte=OuterRef("finalized_at"))),
            next_attempt_at__isnull=True,
        )
    )
    if account_id is not None:
        rows = rows.filter(account=account_id)
    return list(rows.order_by("id").values_list("pk", flat=True)[:limit])
