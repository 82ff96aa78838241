"""Opening an account and changing its profile. Source: contract chapter Accounts and tokens."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.models import (
    Account,
    AccountStatus,
    LedgerAccount,
    LedgerEntry,
    LedgerKind,
    Member,
    MemberRole,
    TestClock,
)
from accounts.models.ledger import LEDGER_TYPES
from accounts.models.subscription import RUNNING_STATUSES
from accounts.queries.prices import is_free
from accounts.queries.snapshots import PROFILE_FIELDS, describe_account, find_changes
from accounts.services.account_locks import lock_account
from accounts.services.profiles import clean_profile, derive_org_id
from accounts.services.subscriptions import create_subscription
from billing_site.kernel.actors import Actor, Principal
from billing_site.kernel.errors import DomainError, FieldError, InvalidState, ValidationFailed
from billing_site.platform.services import events
from catalog.models import PlanVersion

_OWN_POTS = (LedgerKind.PREPAID, LedgerKind.INVOICE_CREDIT, LedgerKind.RECEIVABLE)
_CHANGEABLE = frozenset({*PROFILE_FIELDS, "test_clock"})


class ExternalIdTaken(DomainError):
    code, title, status = "external_id_taken", "Another account has this handle", 409


@transaction.atomic
def create_account(
    *,
    name: str,
    at: datetime,
    actor: Actor,
    external_id: str | None = None,
    org_id: str | None = None,
    owner_user_id: str | None = None,
    with_default_plan: bool = True,
    reason: str = "",
    **profile: Any,
) -> Account:
    """
    Open an account and return it: with its owner, its ledger accounts and the default plan, if that is free.

    `profile` are further columns of the account (address parts by their names). The owner is `owner_user_id`, else the
    bearer of a token whose subject is the external id. `org_id` defaults to the external id's part before the slash.
    :raises ExternalIdTaken: when another account has this handle, in any case.
    :raises ValidationFailed: for a value that cannot be stored; :raises CurrencyUnsupported: for the currency.
    """
    _refuse_unknown(profile)
    values = clean_profile({"name": name, "external_id": external_id, "currency": "usd", **profile})
    values |= clean_profile({"org_id": org_id if org_id else derive_org_id(values["external_id"])})
    _require_clock_allowed(values.get("test_clock"))
    account = Account(**values, livemode=settings.BILLING_LIVEMODE)
    _write(account, force_insert=True)
    owner = (owner_user_id or "").strip() or account.external_id
    if owner:
        Member.objects.create(account=account, user_id=owner, role=MemberRole.OWNER, added_at=at, email=account.email)
    LedgerAccount.objects.bulk_create(
        LedgerAccount(kind=kind, type=LEDGER_TYPES[kind], account=account, currency=account.currency)
        for kind in _OWN_POTS
    )
    events.emit(
        "account.created",
        subject=account,
        account_id=account.pk,
        at=at,
        actor=actor,
        data=describe_account(account),
        reason=reason,
    )
    if with_default_plan:
        _subscribe_to_default_plan(account, at=at, actor=actor)
    return account


@transaction.atomic
def update_account(
    *, account_id: UUID, changes: Mapping[str, Any], at: datetime, actor: Actor, reason: str = ""
) -> Account:
    """
    Change columns of the profile and return the account; without a difference nothing is written.

    The event keeps the changed fields as they were. The currency is fixed once money was booked; it and the time zone
    are while a subscription runs in them, and an account with a running subscription cannot be closed.
    :raises ValidationFailed: for a value that cannot be stored, or a currency or zone that is fixed.
    :raises InvalidState: when closing is not possible.
    """
    _refuse_unknown(changes)
    account = lock_account(account_id)
    before = describe_account(account)
    values = clean_profile(changes, account=account)
    _require_terms_kept(account, values)
    if values.get("status") == AccountStatus.CLOSED and account.status != AccountStatus.CLOSED:
        _require_closable(account)
    _require_clock_allowed(values.get("test_clock"))
    for name, value in values.items():
        setattr(account, name, value)
    after = describe_account(account)
    previous = find_changes(before, after)
    if not previous:
        return account
    _write(account)
    events.emit(
        "account.updated",
        subject=account,
        account_id=account.pk,
        at=at,
        actor=actor,
        data=after,
        previous=previous,
        reason=reason,
    )
    return account


def _refuse_unknown(values: Mapping[str, Any]) -> None:
    unknown = sorted(values.keys() - _CHANGEABLE)
    if unknown:
        raise TypeError(f"an account has no {', '.join(unknown)}")


def _write(account: Account, *, force_insert: bool = False) -> None:
    try:
        with transaction.atomic():
            account.save(force_insert=force_insert)
    except IntegrityError as error:
        if "accounts_external_id_once" not in str(error):
            raise
        raise ExternalIdTaken(f"The handle {account.external_id!r} belongs to another account.") from error


def _require_clock_allowed(clock: TestClock | None) -> None:
    if clock is not None and settings.BILLING_LIVEMODE:
        raise ValidationFailed.of("/test_clock", "livemode", "Test clocks exist in test mode only.")


def _require_terms_kept(account: Account, values: Mapping[str, Any]) -> None:
    """Refuse another currency or time zone while something depends on the present one, and say what does."""
    fixed = [
        name for name in ("currency", "timezone") if values.get(name, getattr(account, name)) != getattr(account, name)
    ]
    findings = [finding for name in fixed if (finding := _find_dependent(account, name)) is not None]
    if findings:
        raise ValidationFailed(findings[0].detail, errors=findings)


def _find_dependent(account: Account, name: str) -> FieldError | None:
    """Return what keeps the account's currency or time zone as it is: a running subscription, or booked money."""
    present: str = getattr(account, name)
    shown = present.upper() if name == "currency" else present
    rows = account.subscriptions.filter(status__in=RUNNING_STATUSES, **{name: present})
    running = rows.select_related("plan_version").order_by("id").first()
    if running is not None:
        plan = f"{running.plan_version.name} ({running.public_id})"
        what = "is billed in" if name == "currency" else "has the days of"
        return FieldError(f"/{name}", "fixed", f"The running subscription {plan} {what} {shown}: end it first.")
    if name == "currency" and (LedgerEntry.objects.filter(account=account).exists() or account.subscriptions.exists()):
        return FieldError("/currency", "fixed", f"Money was booked in {shown}: the currency cannot change.")
    return None


def _require_closable(account: Account) -> None:
    if account.subscriptions.filter(status__in=RUNNING_STATUSES).exists():
        raise InvalidState("The account has a running subscription: cancel it first.", current_status=account.status)


def _subscribe_to_default_plan(account: Account, *, at: datetime, actor: Actor) -> None:
    """Start the plan named by `BILLING_DEFAULT_PLAN`, if the catalog sells it, to everybody and for nothing."""
    key: str = settings.BILLING_DEFAULT_PLAN
    if not key:
        return
    version = _find_plan(account.org_id, key)
    if version is None or version.contact_sales or not is_free(version.prices.all()):
        return
    create_subscription(account=account, plan_key=key, at=at, actor=actor)


def _find_plan(org_id: str, key: str) -> PlanVersion | None:
    from catalog.queries.plans import PlanNotFound, get_sellable_plan

    try:
        return get_sellable_plan(org_id=org_id, key=key)
    except PlanNotFound:
        return None


def choose_handle(
    principal: Principal, *, external_id: str | None, org_id: str | None
) -> tuple[str | None, str | None]:
    """
    Return the external id and organization of an account that this caller opens.

    A public caller's handle defaults to its subject and stays in its subject's organization; a token with an `org`
    claim opens accounts in that one only. Otherwise nobody could be sure that a handle is free for its own bearer.
    :raises ValidationFailed: for a handle or an organization of others.
    """
    asked = (org_id or "").strip().lower()
    if principal.is_internal:
        if principal.org and asked not in ("", principal.org):
            raise ValidationFailed.of("/org_id", "forbidden", f"Your token is limited to {principal.org}.")
        return external_id, principal.org or asked or None
    own = derive_org_id(principal.subject)
    handle = external_id or principal.subject
    if derive_org_id(handle) != own:
        raise ValidationFailed.of("/external_id", "forbidden", "This handle belongs to another organization.")
    if asked not in ("", own):
        raise ValidationFailed.of("/org_id", "forbidden", "You cannot open an account in this organization.")
    return handle, own
