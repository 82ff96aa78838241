"""
The rows of payment methods: opened before the provider is asked, settled with its answer, changed, detached.

Every change holds the account's row, so that of its attached methods exactly one is the default. Asking the provider
is the use case above, where payments are. Source: contract chapter Payments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import transaction

from accounts.models import (
    RUNNING_STATUSES,
    Account,
    AccountStatus,
    PaymentMethod,
    PaymentMethodStatus,
    PaymentMethodType,
    Subscription,
)
from accounts.queries.payment_methods import describe_payment_method, has_paid_subscription
from accounts.queries.snapshots import ADDRESS_FIELDS, describe_subscription, find_changes
from accounts.services.account_locks import lock_account_row, lock_open_account
from accounts.terms.card_expiry import find_last_day
from billing_site.kernel import jobs
from billing_site.kernel.actors import Actor
from billing_site.kernel.countries import is_country
from billing_site.kernel.errors import DomainError, NotFound, ValidationFailed
from billing_site.platform.services import events

OWN_PROVIDER: Final = "internal"
"""Who keeps a method that needs no payment provider."""
ACCOUNT_CLOSED: Final = "account_closed"
ALREADY_ATTACHED: Final = "already_attached"
_SETTLED: Final = (
    *("status", "provider_ref", "name", "card", "bank_account", "is_default", "verified_at", "attached_at"),
    *("expires_on", "updated_at"),
)
STARTER_CREDIT_JOB: Final = "accounts.grant_starter_credit"
NEW_METHOD_JOB: Final = "invoicing.collect_after_new_method"
"""Rung when there is something new to charge; what is owed may be collected."""


class LastPaymentMethod(DomainError):
    code, title, status = "last_payment_method", "The only payment method of a paying account stays", 409


@dataclass(frozen=True, slots=True)
class NewPaymentMethod:
    """
    A method as it was sent. `provider_ref` is the token; card and bank account are display data.

    `request_key` and `request_hash` are digests that recognise a repeat of the request, or empty.
    """

    type: str = PaymentMethodType.CARD
    provider_type: str = ""
    provider_ref: str = ""
    card: Mapping[str, Any] = field(default_factory=dict)
    bank_account: Mapping[str, Any] = field(default_factory=dict)
    billing_address: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    request_key: str = ""
    request_hash: str = ""


@transaction.atomic
def open_payment_method(*, account: Account, new: NewPaymentMethod) -> PaymentMethod:
    """
    Write a pending method and return it.

    :raises ValidationFailed: for an address that cannot be, or a method that the account has already.
    :raises InvalidState: when the account is closed.
    """
    owner = lock_open_account(account.pk)
    if new.type == PaymentMethodType.BALANCE and _list_attached(owner.pk).filter(type=new.type).exists():
        raise ValidationFailed.of("/type", ALREADY_ATTACHED, "The prepaid balance is a payment method already.")
    if _has_ref(owner.pk, new.provider_type, new.provider_ref):
        raise ValidationFailed.of("/provider_ref", ALREADY_ATTACHED, "This payment method is attached already.")
    return PaymentMethod.objects.create(
        account=owner,
        type=new.type,
        provider_type=new.provider_type,
        provider_ref=new.provider_ref,
        name=name_method(new.type, new.card, new.bank_account),
        card=dict(new.card),
        bank_account=dict(new.bank_account),
        expires_on=find_last_day(new.card),
        billing_address=clean_address(new.billing_address),
        metadata=dict(new.metadata),
        request_key=new.request_key,
        request_hash=new.request_hash,
        livemode=owner.livemode,
    )


@transaction.atomic
def settle_attached(
    *,
    method_id: UUID,
    at: datetime,
    actor: Actor,
    provider_ref: str = "",
    card: Mapping[str, Any] | None = None,
    bank_account: Mapping[str, Any] | None = None,
    is_verified: bool = False,
    reason: str = "",
) -> PaymentMethod:
    """
    Attach a pending method, or refuse it where the account may not have it any more, and return it as it stands.

    The first one of an account becomes its default. Display data that is given replaces what was sent. The first one
    that `is_verified` rings for the starter credit. A method that is settled already is returned unchanged.
    """
    account, method = _lock_method(method_id)
    if method.status != PaymentMethodStatus.PENDING:
        return method
    ref = provider_ref or method.provider_ref
    if account.status != AccountStatus.ACTIVE:
        return _refuse(method, ACCOUNT_CLOSED, ref=ref, released_at=None)
    if _has_ref(account.pk, method.provider_type, ref):
        return _refuse(method, ALREADY_ATTACHED, ref=ref, released_at=at)
    method.provider_ref = ref
    _show(method, card, bank_account)
    method.is_default = not _list_attached(account.pk).exists()
    method.verified_at = at if is_verified else None
    method.status, method.attached_at = PaymentMethodStatus.ATTACHED, at
    method.save(update_fields=_SETTLED)
    _emit("attached", method, at=at, actor=actor, reason=reason)
    if method.needs_provider:
        jobs.enqueue(NEW_METHOD_JOB, account_id=str(account.pk))
    verified = PaymentMethod.objects.filter(account_id=account.pk, verified_at__isnull=False)
    if is_verified and not verified.exclude(pk=method.pk).exists():
        jobs.enqueue(STARTER_CREDIT_JOB, account_id=str(account.pk))
    return method


@transaction.atomic
def settle_refused(*, method_id: UUID, decline_reason: str, at: datetime, stored_ref: str = "") -> PaymentMethod:
    """
    Refuse a pending method and return it; one that is settled already is returned unchanged.

    `stored_ref` is the provider's name of it, where it keeps the method for nothing now.
    """
    _, method = _lock_method(method_id)
    if method.status != PaymentMethodStatus.PENDING:
        return method
    return _refuse(
        method, decline_reason, ref=stored_ref or method.provider_ref, released_at=None if stored_ref else at
    )


@transaction.atomic
def update_payment_method(
    *, method_id: UUID, changes: Mapping[str, Any], at: datetime, actor: Actor, reason: str = ""
) -> PaymentMethod:
    """
    Change parts of `billing_address`, or replace `metadata`, and return the method; no difference writes nothing.

    :raises NotFound: when it is not attached. :raises ValidationFailed: for an address that cannot be.
    """
    if unknown := sorted(changes.keys() - {"billing_address", "metadata"}):
        raise TypeError(f"a payment method has no {', '.join(unknown)} to change")
    _, method = _lock_attached(method_id)
    before = describe_payment_method(method)
    if "billing_address" in changes:
        method.billing_address = clean_address({**method.billing_address, **changes["billing_address"]})
    if "metadata" in changes:
        method.metadata = dict(changes["metadata"])
    previous = find_changes(before, describe_payment_method(method))
    if previous:
        method.save(update_fields=["billing_address", "metadata", "updated_at"])
        _emit("updated", method, at=at, actor=actor, reason=reason, previous=previous)
    return method


@transaction.atomic
def update_display_data(
    *,
    method_id: UUID,
    card: Mapping[str, Any] | None = None,
    bank_account: Mapping[str, Any] | None = None,
    at: datetime,
    actor: Actor,
    reason: str = "",
) -> PaymentMethod:
    """
    Replace what is shown of a method by what its provider has now, and return it; no difference writes nothing.

    What is not given, or empty, stays.
    :raises NotFound: when it is not attached.
    """
    _, method = _lock_attached(method_id)
    before = describe_payment_method(method)
    _show(method, card, bank_account)
    previous = find_changes(before, describe_payment_method(method))
    if previous:
        method.save(update_fields=["name", "card", "bank_account", "expires_on", "updated_at"])
        _emit("updated", method, at=at, actor=actor, reason=reason, previous=previous)
    return method


@transaction.atomic
def set_default_payment_method(*, method_id: UUID, at: datetime, actor: Actor, reason: str = "") -> PaymentMethod:
    """
    Make an attached method the one used for renewals and return it; what is being collected keeps its method.

    :raises NotFound: when it is not attached.
    """
    _, method = _lock_attached(method_id)
    if not method.is_default:
        _make_default(method, at=at, actor=actor, reason=reason)
    return method


@transaction.atomic
def detach_row(
    *,
    method_id: UUID,
    at: datetime,
    actor: Actor,
    new_default_id: UUID | None = None,
    force: bool = False,
    reason: str = "",
) -> PaymentMethod:
    """
    Detach a method and return it; subscriptions that used it go back to the account's default.

    When the default goes, the method `new_default_id`, else the newest that is left, becomes it. With `force` the only
    method of a paying account goes too.
    :raises NotFound: when it, or the new default, is not attached to the account.
    :raises LastPaymentMethod: when it is the only one and a paid subscription runs.
    """
    account, method = _lock_attached(method_id)
    left = list(_list_attached(account.pk).exclude(pk=method.pk).order_by("-id"))
    heir = next((each for each in left if each.pk == new_default_id), None)
    if new_default_id is not None and heir is None:
        raise NotFound("payment_method", "The account has no such payment method to make the default.")
    if not left and not force and has_paid_subscription(account.pk):
        raise LastPaymentMethod("A paid subscription runs on this account: attach another payment method first.")
    was_default = method.is_default
    method.status, method.is_default, method.detached_at = PaymentMethodStatus.DETACHED, False, at
    method.released_at = None if method.needs_provider else at
    method.save(update_fields=["status", "is_default", "detached_at", "released_at", "updated_at"])
    _emit("detached", method, at=at, actor=actor, reason=reason, previous={"is_default": was_default})
    _release_subscriptions(method, at=at, actor=actor, reason=reason)
    if was_default and left:
        _make_default(heir or left[0], at=at, actor=actor, reason=reason, before=method)
    elif heir is not None and not heir.is_default:
        _make_default(heir, at=at, actor=actor, reason=reason)
    return method


def clean_address(parts: Mapping[str, str]) -> dict[str, str]:
    """
    Return an address with all its parts, trimmed, the country in upper case; nothing when every part is empty.

    :raises ValidationFailed: for a country that does not exist.
    """
    address = {name: str(parts.get(name) or "").strip() for name in ADDRESS_FIELDS}
    address["country"] = address["country"].upper()
    if address["country"] and not is_country(address["country"]):
        raise ValidationFailed.of(
            "/billing_address/country", "invalid", "This is not an ISO 3166-1 alpha-2 country code."
        )
    return address if any(address.values()) else {}


def name_method(type: str, card: Mapping[str, Any], bank_account: Mapping[str, Any]) -> str:
    """Return how people tell a method from others: `Visa ending in 4242`."""
    if type == PaymentMethodType.BALANCE:
        return "Prepaid balance"
    shown = card if type == PaymentMethodType.CARD else bank_account
    label = str(card.get("brand") or "Card") if type == PaymentMethodType.CARD else ""
    label = label or str(bank_account.get("bank_name") or "Bank account")
    label = label[:1].upper() + label[1:]
    last4 = shown.get("last4")
    return f"{label} ending in {last4}" if last4 else label


def _show(method: PaymentMethod, card: Mapping[str, Any] | None, bank_account: Mapping[str, Any] | None = None) -> None:
    """Put display data on a row; what is not given stays."""
    method.card = dict(card) if card else method.card
    method.bank_account = dict(bank_account) if bank_account else method.bank_account
    method.name = name_method(method.type, method.card, method.bank_account)
    method.expires_on = find_last_day(method.card)


def _list_attached(account_id: UUID) -> Any:
    return PaymentMethod.objects.filter(account_id=account_id, status=PaymentMethodStatus.ATTACHED)


def _has_ref(account_id: UUID, provider_type: str, ref: str) -> bool:
    return bool(ref) and _list_attached(account_id).filter(provider_type=provider_type, provider_ref=ref).exists()


def _lock_method(method_id: UUID) -> tuple[Account, PaymentMethod]:
    account_id = PaymentMethod.objects.filter(pk=method_id).values_list("account_id", flat=True).first()
    if account_id is None:
        raise NotFound("payment_method")
    lock_account_row(account_id)
    method = PaymentMethod.objects.select_for_update(of=("self",)).select_related("account").get(pk=method_id)
    return method.account, method


def _lock_attached(method_id: UUID) -> tuple[Account, PaymentMethod]:
    account, method = _lock_method(method_id)
    if not method.is_attached:
        raise NotFound("payment_method")
    return account, method


def _refuse(method: PaymentMethod, decline_reason: str, *, ref: str, released_at: datetime | None) -> PaymentMethod:
    method.status, method.decline_reason = PaymentMethodStatus.REFUSED, decline_reason
    method.provider_ref, method.released_at = ref, released_at
    method.save(update_fields=["status", "decline_reason", "provider_ref", "released_at", "updated_at"])
    return method


def _make_default(
    method: PaymentMethod, *, at: datetime, actor: Actor, reason: str, before: PaymentMethod | None = None
) -> None:
    """Give the account another default; `before` is the one that has just gone."""
    old = before or PaymentMethod.objects.filter(account_id=method.account_id, is_default=True).first()
    if before is None:
        # First, because two defaults are refused at once; that there is one is looked at in the end.
        PaymentMethod.objects.filter(account_id=method.account_id, is_default=True).update(is_default=False)
    method.is_default = True
    method.save(update_fields=["is_default", "updated_at"])
    previous = {"payment_method_id": None if old is None else old.public_id}
    _emit("default_changed", method, at=at, actor=actor, reason=reason, previous=previous)
    if method.needs_provider:
        jobs.enqueue(NEW_METHOD_JOB, account_id=str(method.account_id))


def _release_subscriptions(method: PaymentMethod, *, at: datetime, actor: Actor, reason: str) -> None:
    """Let running subscriptions that name the method use the account's default again."""
    users = Subscription.objects.filter(default_payment_method=method, status__in=RUNNING_STATUSES)
    for subscription in users.select_related("plan_version__plan").select_for_update(of=("self",)).order_by("id"):
        before = describe_subscription(subscription)
        subscription.default_payment_method = None
        subscription.save(update_fields=["default_payment_method", "updated_at"])
        after = describe_subscription(subscription)
        events.emit(
            "subscription.updated",
            subject=subscription,
            account_id=subscription.account_id,
            at=at,
            actor=actor,
            data=after,
            previous=find_changes(before, after),
            reason=reason,
        )


def _emit(
    what: str,
    method: PaymentMethod,
    *,
    at: datetime,
    actor: Actor,
    reason: str,
    previous: Mapping[str, Any] | None = None,
) -> None:
    events.emit(
        f"payment_method.{what}",
        subject=method,
        account_id=method.account_id,
        at=at,
        actor=actor,
        data=describe_payment_method(method),
        previous=previous,
        reason=reason,
    )
