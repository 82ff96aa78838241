"""
Limits of one account: making, changing and removing them.

Counters belong to the meter and the window, not to the limit: an edit keeps them. Source: contract chapter Quotas.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from accounts.models import Account
from accounts.queries.snapshots import find_changes
from accounts.services.account_locks import lock_account, lock_open_account
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, FieldError, NotFound, ValidationFailed
from billing_site.platform.services import events
from catalog.documents.vocabulary import IDENTIFIER, WINDOW_ALIASES
from catalog.models import Plan
from catalog.pricing.breakdown import to_text
from catalog.queries.revisions import list_owners
from metering.models import AccountQuota
from metering.rating import UnitNotConvertible, convert_quantity
from metering.services.resource_meters import resolve_resource
from metering.services.touching import touch_accounts

MAX_RECIPIENTS: Final = 20
UNLIMITED: Final = Decimal(-1)
_MAX: Final = Decimal(10) ** 26  # numeric(38, 12)
_CHANGEABLE: Final = frozenset(
    {
        "limit",
        "resource_name",
        "unit",
        "window",
        "warning_percent",
        "is_hard",
        "overage_price",
        "upgrade_plan_key",
        "feature",
        "alert_recipients",
        "is_active",
    }
)


class QuotaExists(DomainError):
    """Member `quota_id` names the one that is there."""

    code, title, status = "quota_exists", "The account has a quota for this resource and window", 409


@transaction.atomic
def create_quota(
    *,
    account: Account,
    resource_type: str,
    limit: Decimal | None,
    at: datetime,
    actor: Actor,
    window: str = "billing_period",
    unit: str = "",
    reason: str = "",
    **more: Any,
) -> AccountQuota:
    """
    Give an account a limit of its own and return it.

    `limit` is in `unit` (default: that of the resource); None or -1 is unlimited. `resource_type` is a fixed resource
    type, a service name or a meter's event name; the meter of a fixed type is made when nothing counts on it yet.
    `more` are further columns of `AccountQuota`.
    :raises QuotaExists: when the account has one for the same meter and window.
    :raises ValidationFailed: with every field that is wrong. :raises InvalidState: for a closed account.
    """
    # The catalog's lock, which making a meter takes, comes before the account's.
    meter, implied = resolve_resource(org_id=account.org_id, name=resource_type, at=at, actor=actor)
    owner = lock_open_account(account.pk)
    quota = AccountQuota(account=owner, meter=meter, resource_type=resource_type.strip(), unit=implied)
    _apply(quota, {**more, "limit": limit, "window": window, **({"unit": unit} if unit else {})})
    _write(quota, force_insert=True)
    touch_accounts([owner.pk])
    _emit("created", quota, at=at, actor=actor, reason=reason)
    return quota


@transaction.atomic
def update_quota(
    *, quota_id: UUID, changes: Mapping[str, Any], at: datetime, actor: Actor, reason: str = ""
) -> AccountQuota:
    """
    Change what `changes` names and return the quota; a new `unit` restates the limit. What was counted is kept.

    Without a difference nothing is written.
    :raises NotFound: when there is no such quota. :raises QuotaExists: when another one has the new window.
    :raises ValidationFailed: with every field that is wrong.
    """
    quota = _lock_quota(quota_id)
    before = describe_quota(quota)
    _apply(quota, changes)
    previous = find_changes(before, describe_quota(quota))
    if not previous:
        return quota
    _write(quota)
    touch_accounts([quota.account_id])
    _emit("updated", quota, at=at, actor=actor, reason=reason, previous=previous)
    return quota


@transaction.atomic
def delete_quota(*, quota_id: UUID, at: datetime, actor: Actor, reason: str = "") -> None:
    """
    Remove a limit; those of the plan apply again.

    :raises NotFound: when there is no such quota.
    """
    quota = _lock_quota(quota_id)
    _emit("deleted", quota, at=at, actor=actor, reason=reason)
    quota.delete()


def describe_quota(quota: AccountQuota) -> dict[str, Any]:
    """Return what an event stores of a quota. The limit is in `unit`."""
    return {
        "id": quota.public_id,
        "resource_type": quota.resource_type,
        "resource_name": quota.resource_name,
        "meter_event_name": quota.meter.event_name,
        "feature": quota.feature,
        "window": quota.window,
        "quota_limit": None if quota.stated_limit is None else to_text(quota.stated_limit),
        "unit": quota.unit,
        "warning_threshold_percent": to_text(quota.warning_percent),
        "enforce_hard_limit": quota.is_hard,
        "overage_price": None if quota.overage_price is None else to_text(quota.overage_price),
        "upgrade_plan_id": quota.upgrade_plan_key or None,
        "alert_recipients": quota.alert_recipients,
        "is_active": quota.is_active,
    }


def _lock_quota(quota_id: UUID) -> AccountQuota:
    account_id = AccountQuota.objects.filter(pk=quota_id).values_list("account_id", flat=True).first()
    if account_id is None:
        raise NotFound("account_quota")
    lock_account(account_id)
    rows = AccountQuota.objects.select_for_update(of=("self",)).select_related("account", "meter")
    quota = rows.filter(pk=quota_id).first()
    if quota is None:
        raise NotFound("account_quota")
    return quota


def _apply(quota: AccountQuota, values: Mapping[str, Any]) -> None:
    """Set columns after checking them all; the account is locked."""
    if unknown := sorted(values.keys() - _CHANGEABLE):
        raise TypeError(f"a quota has no {', '.join(unknown)}")
    findings: list[FieldError] = []
    for name, check in _CHECKS.items():
        if name in values:
            try:
                check(quota, values[name])
            except _Wrong as wrong:
                findings.append(FieldError(f"/{_NAMES.get(name, name)}", wrong.code, str(wrong)))
    if not findings and ("limit" in values or "unit" in values):
        findings += _measure_limit(quota)
    if findings:
        raise ValidationFailed(findings[0].detail, errors=findings)


class _Wrong(Exception):
    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def _set_limit(quota: AccountQuota, value: Decimal | None) -> None:
    if value == UNLIMITED:
        value = None
    if value is not None and not 0 <= value < _MAX:
        raise _Wrong("out_of_range", "A limit is zero or more; -1 or null is unlimited.")
    quota.stated_limit = value


def _set_window(quota: AccountQuota, value: str) -> None:
    window = WINDOW_ALIASES.get(value.strip().lower())
    if window is None:
        raise _Wrong("invalid_choice", f"There is no window {value[:50]!r}.")
    quota.window = window


def _set_text(quota: AccountQuota, name: str, value: str, limit: int) -> None:
    text = value.strip()
    if len(text) > limit:
        raise _Wrong("max_length", f"At most {limit} characters.")
    if not text.isprintable():
        raise _Wrong("invalid", "Printable characters only.")
    setattr(quota, name, text)


def _set_unit(quota: AccountQuota, value: str) -> None:
    _set_text(quota, "unit", value or quota.meter.unit, 50)


def _set_feature(quota: AccountQuota, value: str) -> None:
    if value and not IDENTIFIER.fullmatch(value):
        raise _Wrong("invalid", "A feature is 1 to 100 letters, digits, “_”, “.”, “:” or “-”.")
    quota.feature = value


def _set_warning(quota: AccountQuota, value: Decimal) -> None:
    if not 0 < value <= 100:
        raise _Wrong("out_of_range", "A percentage above 0, at most 100.")
    quota.warning_percent = value


def _set_overage(quota: AccountQuota, value: Decimal | None) -> None:
    if value is not None and not 0 <= value < _MAX:
        raise _Wrong("out_of_range", "A price is zero or more minor units.")
    quota.overage_price = value


def _set_upgrade(quota: AccountQuota, value: str) -> None:
    owners = list_owners(org_id=quota.account.org_id)
    if value and not Plan.objects.filter(org_id__in=owners, key=value, is_active=True).exists():
        raise _Wrong("plan_not_found", f"There is no active plan {value[:100]!r}.")
    quota.upgrade_plan_key = value


def _set_recipients(quota: AccountQuota, value: list[str]) -> None:
    addresses = list(dict.fromkeys(address.strip().lower() for address in value))
    if len(addresses) > MAX_RECIPIENTS:
        raise _Wrong("too_many", f"At most {MAX_RECIPIENTS} addresses.")
    for address in addresses:
        try:
            validate_email(address)
        except ValidationError as error:
            raise _Wrong("invalid", f"{address[:100]!r} is no mail address.") from error
    quota.alert_recipients = addresses


_CHECKS: Final[dict[str, Any]] = {
    "limit": _set_limit,
    "unit": _set_unit,
    "window": _set_window,
    "resource_name": lambda quota, value: _set_text(quota, "resource_name", value, 255),
    "feature": _set_feature,
    "warning_percent": _set_warning,
    "is_hard": lambda quota, value: setattr(quota, "is_hard", value),
    "overage_price": _set_overage,
    "upgrade_plan_key": _set_upgrade,
    "alert_recipients": _set_recipients,
    "is_active": lambda quota, value: setattr(quota, "is_active", value),
}
# What callers call the columns.
_NAMES: Final = {
    "limit": "quota_limit",
    "warning_percent": "warning_threshold_percent",
    "is_hard": "enforce_hard_limit",
    "upgrade_plan_key": "upgrade_plan_id",
}


def _measure_limit(quota: AccountQuota) -> list[FieldError]:
    """Say the limit in the meter's unit, which decides."""
    stated, meter = quota.stated_limit, quota.meter
    try:
        converted = convert_quantity(stated or Decimal(0), unit=quota.unit, target=meter.unit)
    except UnitNotConvertible as error:
        return [FieldError("/unit", "unit_not_convertible", f"{error}, the unit of {meter.event_name}.")]
    if converted >= _MAX:
        return [FieldError("/quota_limit", "out_of_range", "The limit is too large.")]
    quota.limit = None if stated is None else converted
    return []


def _write(quota: AccountQuota, *, force_insert: bool = False) -> None:
    try:
        with transaction.atomic():
            quota.save(force_insert=force_insert)
    except IntegrityError as error:
        if "account_quotas_one_per_window" not in str(error):
            raise
        place: dict[str, Any] = {"account": quota.account, "meter": quota.meter, "window": quota.window}
        found = AccountQuota.objects.get(**place)
        detail = f"There is a quota of {quota.meter.event_name} per {quota.window} already ({found.public_id})."
        raise QuotaExists(detail, quota_id=found.public_id) from error


def _emit(
    what: str,
    quota: AccountQuota,
    *,
    at: datetime,
    actor: Actor,
    reason: str,
    previous: Mapping[str, Any] | None = None,
) -> None:
    events.emit(
        f"quota.{what}",
        subject=quota,
        account_id=quota.account_id,
        at=at,
        actor=actor,
        data=describe_quota(quota),
        previous=previous,
        reason=reason,
    )
