"""
Making, changing, moving and removing cost centers.

Every change holds the account's row, so that two moves cannot close a circle between them.
Source: contract chapter Cost centers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from accounts.models import Account, CostCenter
from accounts.queries.cost_centers import describe_cost_center, load_tree
from accounts.queries.currencies import require_currency
from accounts.queries.snapshots import find_changes
from accounts.services.account_locks import lock_account, lock_open_account
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, FieldError, NotFound, ValidationFailed
from billing_site.platform.services import events
from catalog.queries.references import list_references

MAX_DESCRIPTION: Final = 2_000
MAX_BUDGET: Final = 9_223_372_036_854_775_807
_CHANGEABLE: Final = frozenset({"name", "code", "description", "parent_id", "budget", "currency", "is_active"})


class CostCenterCodeTaken(DomainError):
    code, title, status = "cost_center_code_taken", "The account has a cost center with this code", 409


class CostCenterInUse(DomainError):
    """`uses` names what refers to it."""

    code, title, status = "cost_center_in_use", "It has children or usage", 409


@transaction.atomic
def create_cost_center(
    *,
    account: Account,
    name: str,
    code: str,
    at: datetime,
    actor: Actor,
    description: str = "",
    parent_id: UUID | None = None,
    budget: int | None = None,
    currency: str | None = None,
    is_active: bool = True,
    reason: str = "",
) -> CostCenter:
    """
    Add a cost center to an account and return it.

    `budget` is minor units of `currency` (default: the account's) per calendar month; `parent_id` one of its centers.
    :raises CostCenterCodeTaken: when the account has the code already, in any case.
    :raises ValidationFailed: with every field that is wrong, a parent of another account included.
    :raises CurrencyUnsupported: for a currency that is not offered. :raises InvalidState: for a closed account.
    """
    owner = lock_open_account(account.pk)
    center = CostCenter(account=owner, currency=owner.currency)
    given = {} if currency is None else {"currency": currency}
    values = {"name": name, "code": code, "description": description, "parent_id": parent_id, "budget": budget, **given}
    _apply(center, {**values, "is_active": is_active})
    _write(center, force_insert=True)
    _emit("created", center, at=at, actor=actor, reason=reason)
    return center


@transaction.atomic
def update_cost_center(
    *, center_id: UUID, changes: Mapping[str, Any], at: datetime, actor: Actor, reason: str = ""
) -> CostCenter:
    """
    Change what `changes` names and return the center; another `parent_id` moves it with all below it.

    Without a difference nothing is written.
    :raises NotFound: when there is no such center. :raises CostCenterCodeTaken: when another one has the code.
    :raises ValidationFailed: with every field that is wrong; a parent of another account, itself or one below it.
    :raises CurrencyUnsupported: for a currency that is not offered.
    """
    if unknown := sorted(changes.keys() - _CHANGEABLE):
        raise TypeError(f"a cost center has no {', '.join(unknown)}")
    center = _lock_center(center_id)
    before = describe_cost_center(center)
    _apply(center, changes)
    previous = find_changes(before, describe_cost_center(center))
    if not previous:
        return center
    _write(center)
    _emit("updated", center, at=at, actor=actor, reason=reason, previous=previous)
    return center


@transaction.atomic
def delete_cost_center(*, center_id: UUID, at: datetime, actor: Actor, reason: str = "") -> None:
    """
    Remove a center that nothing refers to.

    :raises NotFound: when there is no such center.
    :raises CostCenterInUse: naming its children, usage or whatever else refers to it.
    """
    center = _lock_center(center_id, for_removal=True)
    uses = list_references(center)
    if uses:
        children = list(center.children.order_by("name", "code").values_list("code", flat=True)[:5])
        below = f" Below it: {', '.join(children)}." if children else ""
        detail = f"“{center}” is in use by {', '.join(uses)}: deactivate it instead.{below}"
        raise CostCenterInUse(detail, uses=uses)
    _emit("deleted", center, at=at, actor=actor, reason=reason)
    center.delete()


def hold_cost_centers(center_ids: Iterable[UUID]) -> set[UUID]:
    """
    Keep centers from being removed until the transaction ends, and return those that are still there.

    Waits for nothing but a removal that is under way; changes of a center go on beside it. One query.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM cost_centers WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE", [sorted(set(center_ids))]
        )
        return {id_ for (id_,) in cursor.fetchall()}


def _lock_center(center_id: UUID, *, for_removal: bool = False) -> CostCenter:
    account_id = CostCenter.objects.filter(pk=center_id).values_list("account_id", flat=True).first()
    if account_id is None:
        raise NotFound("cost_center")
    lock_account(account_id)
    # Only a removal waits for usage that names the center.
    rows = CostCenter.objects.select_for_update(of=("self",), no_key=not for_removal)
    rows = rows.select_related("account", "parent")
    center = rows.filter(pk=center_id).first()
    if center is None:
        raise NotFound("cost_center")
    return center


def _apply(center: CostCenter, values: Mapping[str, Any]) -> None:
    """Set columns after checking them all; the account is locked."""
    findings: list[FieldError] = []
    for name, limit in (("name", 255), ("code", 100), ("description", MAX_DESCRIPTION)):
        if name in values:
            setattr(center, name, str(values[name] or "").strip())
            findings += _check_text(center, name, limit)
    if "budget" in values:
        center.budget = values["budget"]
        if center.budget is not None and not 0 <= center.budget <= MAX_BUDGET:
            findings.append(FieldError("/budget", "out_of_range", "A budget is zero or more minor units."))
    if "currency" in values:
        center.currency = require_currency(values["currency"])
    if "is_active" in values:
        center.is_active = values["is_active"]
    if "parent_id" in values:
        findings += _place(center, values["parent_id"])
    if findings:
        raise ValidationFailed(findings[0].detail, errors=findings)


def _check_text(center: CostCenter, name: str, limit: int) -> list[FieldError]:
    text: str = getattr(center, name)
    if not text and name != "description":
        return [FieldError(f"/{name}", "required", "This must not be blank.")]
    if len(text) > limit:
        return [FieldError(f"/{name}", "max_length", f"At most {limit:,} characters.")]
    if "\x00" in text or (name == "code" and not text.isprintable()):
        return [FieldError(f"/{name}", "invalid", "Printable characters only.")]
    if name == "code" and CostCenter.parse_id(text) is not None:
        return [FieldError("/code", "invalid", "This looks like an id given by this service.")]
    return []


def _place(center: CostCenter, parent_id: UUID | None) -> list[FieldError]:
    """Put the center below another one of its account, or at the top."""
    if parent_id == center.parent_id:
        return []
    if parent_id is None:
        center.parent = None
        return []
    tree = load_tree(center.account_id)
    parent = next((node.center for node in tree.nodes if node.center.pk == parent_id), None)
    if parent is None:
        return [FieldError("/parent_id", "not_found", "The account has no such cost center.")]
    if parent in tree.list_subtree(center.pk):
        detail = f"“{parent}” is below “{center}” or is itself: a center cannot stand below itself."
        return [FieldError("/parent_id", "cycle", detail)]
    center.parent = parent
    return []


def _write(center: CostCenter, *, force_insert: bool = False) -> None:
    try:
        with transaction.atomic():
            center.save(force_insert=force_insert)
    except IntegrityError as error:
        if "cost_centers_code_once_per_account" not in str(error):
            raise
        raise CostCenterCodeTaken(f"The account has a cost center {center.code!r} already.") from error


def _emit(
    what: str,
    center: CostCenter,
    *,
    at: datetime,
    actor: Actor,
    reason: str,
    previous: Mapping[str, Any] | None = None,
) -> None:
    events.emit(
        f"cost_center.{what}",
        subject=center,
        account_id=center.account_id,
        at=at,
        actor=actor,
        data=describe_cost_center(center),
        previous=previous,
        reason=reason,
    )
