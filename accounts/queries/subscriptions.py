"""Subscriptions of accounts, with what rendering them needs."""

from __future__ import annotations

from uuid import UUID

from django.db.models import OuterRef, Prefetch, Q, QuerySet, Subquery

from accounts.models import UNFINISHED_SCHEDULES, Account, Subscription, SubscriptionItem, SubscriptionSchedule
from accounts.queries.access import WRITING_ROLES, require_role, visible_accounts
from accounts.queries.discounts import list_in_force
from billing_site.kernel.actors import Principal
from billing_site.kernel.errors import DomainError, NotFound
from catalog.models import Product

# What counts as the running subscription of an account: it gives access or will again.
CURRENT_STATUSES = ("trialing", "active", "past_due", "paused")


class SubscriptionNotFound(DomainError):
    code, title, status = "subscription_not_found", "No such subscription for this account", 404


def list_subscriptions(
    accounts: QuerySet[Account], *, status: str | None = None, plan_key: str | None = None
) -> QuerySet[Subscription]:
    """Return the subscriptions of `accounts`, ended ones included."""
    found = with_details(Subscription.objects.filter(account__in=accounts.order_by()))
    if status is not None:
        found = found.filter(status=status)
    if plan_key is not None:
        found = found.filter(plan_version__plan__key=plan_key)
    return found


def get_current_subscription(*, account: Account, product: str | None = None) -> Subscription:
    """
    Return the newest running subscription, optionally of one product (public id or key).

    :raises SubscriptionNotFound: when none is trialing, active, past due or paused.
    """
    found = with_details(Subscription.objects.filter(account=account, status__in=CURRENT_STATUSES))
    if product:
        key: UUID | None = Product.parse_id(product)
        found = found.filter(Q(product_id=key) if key is not None else Q(product__key=product.strip()))
    newest = found.order_by("-id").first()
    if newest is None:
        raise SubscriptionNotFound("No subscription is running for this account.")
    return newest


def find_subscription(principal: Principal, reference: str, *, write: bool = False) -> Subscription:
    """
    Return a subscription the caller may see, by public id, with its account and clock.

    :raises NotFound: when there is none, or the caller does not see it.
    :raises AccountForbidden: with `write`, when a public caller may only read.
    """
    key = Subscription.parse_id(reference)
    visible = Subscription.objects.filter(account__in=visible_accounts(principal).order_by())
    found = None if key is None else visible.filter(pk=key).select_related("account__test_clock").first()
    if found is None:
        raise NotFound("subscription")
    if write:
        require_role(principal, found.account, WRITING_ROLES)
    return found


def list_subscription_items(principal: Principal) -> QuerySet[SubscriptionItem]:
    """Return the items in force of all subscriptions the caller may see, with plan, price and meter."""
    items = SubscriptionItem.objects.filter(
        ended_at__isnull=True, subscription__account__in=visible_accounts(principal).order_by()
    )
    return items.select_related(
        "subscription__plan_version__plan",
        "subscription__account__test_clock",
        "price__plan_version__plan",
        "meter",
    )


def find_subscription_item(principal: Principal, reference: str, *, write: bool = False) -> SubscriptionItem:
    """
    Return an item in force, by public id, with its subscription, account and clock.

    :raises NotFound: when there is none, or the caller does not see it.
    :raises AccountForbidden: with `write`, when a public caller may only read.
    """
    key = SubscriptionItem.parse_id(reference)
    found = None if key is None else list_subscription_items(principal).filter(pk=key).first()
    if found is None:
        raise NotFound("subscription_item")
    if write:
        require_role(principal, found.subscription.account, WRITING_ROLES)
    return found


def with_details(subscriptions: QuerySet[Subscription]) -> QuerySet[Subscription]:
    """Load account, plan, product, discount, items in force with prices, and which unfinished schedule there is."""
    items = SubscriptionItem.objects.filter(ended_at__isnull=True).select_related("price", "meter")
    schedules = SubscriptionSchedule.objects.filter(subscription=OuterRef("pk"), status__in=UNFINISHED_SCHEDULES)
    return (
        subscriptions.select_related("account", "product", "plan_version__plan", "pending_plan_version__plan")
        .prefetch_related(
            Prefetch("items", queryset=items, to_attr="current_items"),
            Prefetch("discounts", queryset=list_in_force(), to_attr="current_discounts"),
        )
        .annotate(schedule_key=Subquery(schedules.order_by().values("id")[:1]))
    )
