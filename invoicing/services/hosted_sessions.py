"""
Hosted pages: a checkout that sets up payment and may begin a subscription, and a portal.

A checkout is completed once, by whoever hears first: the provider's event, or the local page. Only its word that the
method is saved begins anything. Source: contract chapters Payments, Webhooks in; ADR 0054.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.db import transaction

from accounts.models import (
    RUNNING_STATUSES,
    Account,
    PaymentMethod,
    Subscription,
)
from accounts.queries.prices import is_free
from accounts.services.account_locks import lock_open_account
from accounts.services.payment_methods import set_default_payment_method
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError
from billing_site.platform.services import events
from billing_site.platform.services.keyed_requests import RequestMark, find_repeated, remember
from catalog.models import PlanVersion
from catalog.queries.plans import PlanNotFound, get_sellable_plan, list_plans, read_listed_plan
from catalog.queries.prices import list_prices_of_versions
from catalog.queries.revisions import find_catalog_org
from invoicing.gateways.orders import CheckoutOrder, HostedPage, SetupState
from invoicing.gateways.port import NoProcessorAvailable, OrderRejected, PaymentGateway
from invoicing.gateways.registry import get_gateway
from invoicing.models import HostedKind, HostedSession
from invoicing.queries.provider_customers import find_provider_customer
from invoicing.services.cancellations import cancel_subscription
from invoicing.services.changes import ChangeRequest, change_subscription
from invoicing.services.provider_customers import (
    check_provider_customer,
    ensure_provider_customer,
    link_provider_customer,
)
from invoicing.services.saved_methods import save_method
from invoicing.services.subscriptions import start_subscription

DONE_PATH: Final = "/pay/done"
logger = logging.getLogger(__name__)


class ReturnUrlNotAllowed(DomainError):
    code, title, status = "return_url_not_allowed", "People are not sent back to this address", 400


class ProviderCustomerMissing(DomainError):
    """Member `next_action` says what to do."""

    code, title, status = "provider_customer_missing", "Payment was never set up", 409


@dataclass(frozen=True, slots=True)
class CheckoutWish:
    """What a checkout is for. `plan_key` wins over `feature`; neither: only a method is saved."""

    plan_key: str = ""
    feature: str = ""
    interval: str = "month"
    return_url: str = ""
    customer_ref: str = ""
    self_service: bool = True


def open_checkout(
    *,
    account: Account,
    wish: CheckoutWish,
    own_origin: str,
    at: datetime,
    actor: Actor,
    mark: RequestMark | None = None,
    gateway: PaymentGateway | None = None,
) -> HostedPage:
    """
    Return a page on which the account sets up payment, and subscribes to a plan. Call it outside a transaction.

    `own_origin` is that of this site, such as https://billing.example.com.
    :raises ReturnUrlNotAllowed: for an origin that is not allowed. :raises PlanNotFound: for a plan not on sale.
    :raises ProviderCustomerMismatch: for a customer that is not the account's.
    :raises ProviderUnavailable: when the provider does not answer; asking again is harmless.
    """
    return_url = check_return_url(wish.return_url, own_origin=own_origin)
    version = choose_plan(account, wish)
    asked = gateway or get_gateway(livemode=account.livemode)
    if wish.customer_ref:
        check_provider_customer(account=account, provider_type=asked.name, ref=wish.customer_ref)
    customer = ensure_provider_customer(account=account, gateway=asked, at=at, actor=actor)
    session = _open_session(
        HostedSession(
            account=account,
            kind=HostedKind.CHECKOUT,
            provider_type=asked.name,
            customer_ref=customer.ref,
            plan_key="" if version is None else version.plan.key,
            interval=wish.interval if version is not None else "",
            feature=wish.feature[:255],
            return_url=return_url,
            self_service=wish.self_service,
            livemode=account.livemode,
        ),
        mark or RequestMark(),
        at=at,
    )
    features = sorted(version.features.values_list("key", flat=True)) if version is not None else []
    order = CheckoutOrder(
        reference=session.public_id,
        account_id=account.public_id,
        customer_ref=session.customer_ref,
        success_url=session.return_url,
        cancel_url=session.return_url,
        currency=account.currency,
        metadata={
            "billing_plan_id": session.plan_key,
            "billing_interval": session.interval,
            "billing_features": _join(features),
            "billing_feature": session.feature,
        },
    )
    try:
        page = asked.open_checkout(order=order, key=f"{session.public_id}:open")
    except OrderRejected as refusal:
        raise NoProcessorAvailable(f"The provider opens no page: {refusal}") from None
    _keep_page(session, page)
    return page


def open_portal(
    *,
    account: Account,
    return_url: str,
    own_origin: str,
    at: datetime,
    mark: RequestMark | None = None,
    gateway: PaymentGateway | None = None,
) -> HostedPage:
    """
    Return a page on which the account manages what it pays with. Call it outside a transaction.

    :raises ProviderCustomerMissing: when payment was never set up. :raises ReturnUrlNotAllowed: as `open_checkout`.
    :raises ProviderUnavailable: when the provider does not answer.
    """
    allowed = check_return_url(return_url, own_origin=own_origin)
    asked = gateway or get_gateway(livemode=account.livemode)
    customer = find_provider_customer(account_id=account.pk, provider_type=asked.name)
    if customer is None:
        raise ProviderCustomerMissing("Set up payment first.", next_action="setup_billing")
    session = _open_session(
        HostedSession(
            account=account,
            kind=HostedKind.PORTAL,
            provider_type=asked.name,
            customer_ref=customer.ref,
            return_url=allowed,
            livemode=account.livemode,
        ),
        mark or RequestMark(),
        at=at,
    )
    try:
        page = asked.open_portal(
            customer_ref=session.customer_ref, return_url=session.return_url, key=f"{session.public_id}:open"
        )
    except OrderRejected as refusal:
        raise NoProcessorAvailable(f"The provider opens no page: {refusal}") from None
    _keep_page(session, page)
    return page


@transaction.atomic
def complete_checkout(
    *, page: HostedPage, setup: SetupState | None, provider_type: str, at: datetime, actor: Actor
) -> HostedSession | None:
    """
    Take over a checkout that its payer completed, once, and return its session; None for a page not opened here.

    Links the customer, keeps the method that `setup` saved, and begins the subscription, or gives a running one the
    plan and the method. What cannot begin is said in `outcome`; the method is kept all the same. A page that is not
    complete changes nothing.
    :raises ProviderCustomerMismatch: when the page's customer is another account's.
    """
    found = HostedSession.objects.filter(provider_type=provider_type, provider_ref=page.ref, kind=HostedKind.CHECKOUT)
    known = found.values_list("pk", "account_id").first()
    if known is None:
        return None
    account = lock_open_account(known[1])
    session = HostedSession.objects.select_for_update().get(pk=known[0])
    if session.completed_at is not None or page.status != "complete":
        return session
    if page.customer_ref:
        link_provider_customer(
            account_id=account.pk, provider_type=provider_type, ref=page.customer_ref, at=at, actor=actor
        )
    method = None
    if setup is not None and setup.status == "succeeded" and setup.method_ref:
        method = save_method(
            account=account, provider_type=provider_type, state=setup, at=at, actor=actor, reason=str(session)
        )
        if not method.is_default:
            set_default_payment_method(method_id=method.pk, at=at, actor=actor, reason=str(session))
    session.completed_at, session.payment_method = at, method
    if session.plan_key:
        session.subscription, session.outcome = _subscribe(account, session, method, at=at, actor=actor)
    session.save(update_fields=["completed_at", "payment_method", "subscription", "outcome", "updated_at"])
    events.emit(
        "checkout.completed",
        subject=session,
        account_id=account.pk,
        at=at,
        actor=actor,
        data={
            "id": session.public_id,
            "plan_id": session.plan_key,
            "payment_method_id": None if method is None else method.public_id,
            "subscription_id": None if session.subscription is None else session.subscription.public_id,
            "outcome": session.outcome,
        },
    )
    return session


# ---- the page -------------------------------------------------------------------------------------------------------
def check_return_url(url: str, *, own_origin: str) -> str:
    """
    Return where people are sent back to; without an address, to a page of this site.

    :raises ReturnUrlNotAllowed: unless its origin is this site's or one of `BILLING_RETURN_URL_ORIGINS`.
    """
    if not url:
        return f"{own_origin}{DONE_PATH}"
    try:
        parts = urlsplit(url)
        named = f"{parts.scheme}://{parts.netloc}".lower()
    except ValueError:
        named = ""
    origins = {each.strip().rstrip("/").lower() for each in settings.BILLING_RETURN_URL_ORIGINS} | {own_origin.lower()}
    clean = url.isprintable() and "\\" not in url and " " not in url and len(url) <= 2000
    if not clean or named not in origins or "@" in named or not named.startswith(("https://", "http://")):
        raise ReturnUrlNotAllowed("Its origin is not one of BILLING_RETURN_URL_ORIGINS.")
    return url


def choose_plan(account: Account, wish: CheckoutWish) -> PlanVersion | None:
    """
    Return the plan that is named, or the cheapest on sale that offers the feature; None without either.

    Cheapest by the fee of one unit in the account's currency and the wished interval; ties by key.
    :raises PlanNotFound: when there is none.
    """
    if wish.plan_key:
        return get_sellable_plan(org_id=account.org_id, key=wish.plan_key)
    if not wish.feature:
        return None
    offers: list[tuple[Decimal, str, PlanVersion]] = []
    for plan in list_plans(catalog_org=find_catalog_org(org_id=account.org_id)):
        listed = read_listed_plan(plan)
        if wish.feature not in listed.features or listed.version.contact_sales:
            continue
        fees = [
            price.compute_unit_fee()
            for price in listed.prices
            if not price.is_metered and (price.currency, price.interval) == (account.currency, wish.interval)
        ]
        if fees:
            offers.append((min(fees), plan.key, listed.version))
    if not offers:
        raise PlanNotFound(f"No plan on sale offers {wish.feature[:100]!r}.")
    return min(offers, key=lambda offer: offer[:2])[2]


@transaction.atomic
def _open_session(session: HostedSession, mark: RequestMark, *, at: datetime) -> HostedSession:
    """Write a session, or return that of the first request with the same key."""
    first = find_repeated(mark)
    if first is not None:
        return HostedSession.objects.get(pk=str(HostedSession.parse_id(first)))
    lock_open_account(session.account_id)
    session.save(force_insert=True)
    remember(mark, subject_id=session.public_id, at=at)
    return session


def _keep_page(session: HostedSession, page: HostedPage) -> None:
    HostedSession.objects.filter(pk=session.pk, provider_ref="").update(
        provider_ref=page.ref, expires_at=page.expires_at
    )


def _join(features: list[str]) -> str:
    """Return features with commas, as many as one entry of a provider's metadata holds."""
    text = ""
    for feature in features:
        longer = f"{text},{feature}" if text else feature
        if len(longer) > 500:
            break
        text = longer
    return text


# ---- what is subscribed to ------------------------------------------------------------------------------------------
def _subscribe(
    account: Account, session: HostedSession, method: PaymentMethod | None, *, at: datetime, actor: Actor
) -> tuple[Subscription | None, str]:
    """Give the account the plan, and return its subscription and what came of it, one sentence."""
    try:
        with transaction.atomic():
            version = get_sellable_plan(org_id=account.org_id, key=session.plan_key)
            subscription = _begin_or_change(account, session, version, at=at, actor=actor)
    except DomainError as refusal:
        logger.warning("%s saved a method and began nothing: %s", session, refusal.code)
        return None, f"The method is kept; nothing began: {refusal.detail}"[:500]
    if method is not None and subscription.default_payment_method_id not in (None, method.pk):
        subscription.default_payment_method = method
        subscription.save(update_fields=["default_payment_method", "updated_at"])
    return subscription, f"Subscribed to {session.plan_key}: {subscription.status}."


def _begin_or_change(
    account: Account, session: HostedSession, version: PlanVersion, *, at: datetime, actor: Actor
) -> Subscription:
    running = Subscription.objects.filter(
        account=account, product_id=version.plan.product_id, status__in=RUNNING_STATUSES
    ).select_related("plan_version")
    current = running.order_by("-id").first()
    if current is not None and current.plan_version.plan_id == version.plan_id:
        return current  # it is there already; an unpaid invoice of it is collected with the new method
    if current is not None and not _costs(current.plan_version_id):
        cancel_subscription(
            subscription_id=current.pk, at=at, actor=actor, at_period_end=False, comment=f"replaced by {session}"
        )
        current = None
    if current is not None:
        request = ChangeRequest(plan_key=session.plan_key, interval=session.interval)
        return change_subscription(
            subscription_id=current.pk,
            request=request,
            at=at,
            actor=actor,
            reason=str(session),
            self_service=session.self_service,
        ).subscription
    subscription, _ = start_subscription(
        account=account,
        plan_key=session.plan_key,
        interval=session.interval,
        at=at,
        actor=actor,
        self_service=session.self_service,
    )
    return subscription


def _costs(version_id: UUID) -> bool:
    return not is_free(list_prices_of_versions([version_id]).get(version_id, []))
