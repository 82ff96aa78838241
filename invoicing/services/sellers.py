"""
Sellers: the legal entities that issue an organization's documents, and which of them bills which account.

The default of an organization is made from the settings on first need. Source: contract chapter Invoices; ADR 0045.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.models import Account
from accounts.services.account_locks import lock_account
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, NotFound, ValidationFailed
from billing_site.platform.services import events
from invoicing.models import NumberCounter, Seller, SellerAssignment
from invoicing.queries.sellers import Sellers, find_sellers, get_sellers
from invoicing.services.seller_profiles import PRINTED, clean_seller


class PrefixTaken(DomainError):
    code, title, status = "prefix_taken", "Another seller of the organization numbers its documents so", 409


class SellerMismatch(DomainError):
    code, title, status = "seller_mismatch", "The seller belongs to another organization than the account", 409


def ensure_sellers(accounts: Iterable[Account]) -> Sellers:
    """
    Return the sellers that bill the accounts, creating missing defaults from `BILLING_COMPANY_*`.

    One query for all of them; two more where an organization has none yet.
    """
    wanted = list(accounts)
    found = find_sellers(wanted)
    if missing := sorted({account.org_id for account in wanted} - found.defaults.keys()):
        _create_defaults(missing)
        found = find_sellers(wanted)
    return found


def ensure_default_seller(org_id: str) -> Seller:
    """Return the default seller of an organization, creating it where there is none."""
    return ensure_sellers([Account(org_id=org_id)]).defaults[org_id]


def _create_defaults(org_ids: Iterable[str]) -> None:
    prefix = settings.BILLING_INVOICE_PREFIX
    Seller.objects.bulk_create(
        [
            Seller(
                org_id=org_id,
                invoice_prefix=prefix,
                credit_note_prefix="CN" if prefix != "CN" else "CR",
                due_days=settings.BILLING_INVOICE_DUE_DAYS,
                **settings.BILLING_COMPANY,
            )
            for org_id in org_ids
        ],
        ignore_conflicts=True,
    )


def snapshot_seller(seller: Seller) -> dict[str, Any]:
    """Return what a document keeps of its seller."""
    logo = {"logo": str(seller.logo_id)} if seller.logo_id else {}
    return {column: getattr(seller, column) for column in PRINTED} | logo


@transaction.atomic
def create_seller(*, org_id: str, values: Mapping[str, Any], at: datetime, actor: Actor, reason: str = "") -> Seller:
    """
    Add a legal entity to an organization; the first one is its default.

    :raises ValidationFailed: for a column that is not a seller's or cannot hold its value, or no name.
    :raises PrefixTaken: if another seller of the organization uses one of the prefixes, or once did.
    """
    org = org_id.strip().lower()
    if not org or len(org) > 100 or "/" in org:
        raise ValidationFailed.of("/org_id", "invalid", "An organization is a name without a slash.")
    is_first = not Seller.objects.filter(org_id=org, is_default=True).exists()
    seller = Seller(org_id=org, is_default=is_first, **clean_seller({"name": "", **values}))
    _store(seller, ("invoice_prefix", "credit_note_prefix"), force_insert=True)
    _tell("seller.created", seller, at=at, actor=actor, reason=reason)
    return seller


@transaction.atomic
def update_seller(
    *, seller_id: uuid.UUID, changes: Mapping[str, Any], at: datetime, actor: Actor, reason: str = ""
) -> Seller:
    """
    Change what later documents say of the seller, and the policies they follow; issued ones keep their snapshot.

    A new policy holds for what begins, changes or ends from now on: a running subscription keeps the alignment it has.
    A new prefix begins a new series at 1.
    :raises ValidationFailed: for a column that is not the seller's to change, or cannot hold its value.
    :raises PrefixTaken: if another seller of the organization uses the prefix, or once did.
    """
    seller = _lock(seller_id)
    values = clean_seller(changes)
    before = {name: getattr(seller, name) for name in values}
    for name, value in values.items():
        setattr(seller, name, value)
    _store(seller, [name for name in ("invoice_prefix", "credit_note_prefix") if values.get(name) != before.get(name)])
    _tell("seller.updated", seller, at=at, actor=actor, reason=reason, changes=values, previous=before)
    return seller


@transaction.atomic
def make_default_seller(*, seller_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> Seller:
    """
    Let a seller bill every account of its organization that was given to none.

    :raises NotFound: if there is no such seller.
    """
    org_id = Seller.objects.filter(id=seller_id).values_list("org_id", flat=True).first()
    rows = {each.id: each for each in Seller.objects.select_for_update().filter(org_id=org_id).order_by("id")}
    if seller_id not in rows:
        raise NotFound("seller")
    seller = rows[seller_id]
    if seller.is_default:
        return seller
    former = next((each.public_id for each in rows.values() if each.is_default), "")
    Seller.objects.filter(org_id=org_id, is_default=True).update(is_default=False)
    seller.is_default = True
    seller.save(update_fields=["is_default", "updated_at"])
    changes = {"is_default": True}
    _tell(
        "seller.updated",
        seller,
        at=at,
        actor=actor,
        reason=reason,
        changes=changes,
        previous={"is_default": False, "former_default": former},
    )
    return seller


@transaction.atomic
def assign_seller(
    *, account_id: uuid.UUID, seller_id: uuid.UUID | None, at: datetime, actor: Actor, reason: str = ""
) -> Seller:
    """
    Let a seller bill an account from now on and return it; None gives the account back to its organization's default.

    What is issued stays with the seller that issued it; drafts keep theirs.
    :raises NotFound: if there is no such seller.
    :raises SellerMismatch: if it belongs to another organization.
    """
    account = lock_account(account_id)
    before = get_sellers([account]).of(account)
    if seller_id is None:
        SellerAssignment.objects.filter(account=account).delete()
        seller = ensure_sellers([account]).of(account)
    else:
        found = Seller.objects.filter(id=seller_id).first()
        if found is None:
            raise NotFound("seller")
        if found.org_id != account.org_id:
            raise SellerMismatch(f"{found.name} sells for {found.org_id}, not for {account.org_id}.")
        seller = found
        SellerAssignment.objects.update_or_create(account=account, defaults={"seller": seller, "assigned_at": at})
    if seller.id != before.id:
        events.emit(
            "account.seller_changed",
            subject=account,
            account_id=account.id,
            at=at,
            actor=actor,
            data={"seller": seller.public_id, "seller_name": seller.name},
            previous={"seller": before.public_id, "seller_name": before.name},
            reason=reason,
        )
    return seller


def _lock(seller_id: uuid.UUID) -> Seller:
    return Seller.objects.select_for_update().get(id=seller_id)


def _store(seller: Seller, new_prefixes: Iterable[str], *, force_insert: bool = False) -> None:
    """Write the row; what another seller of the organization numbers or has numbered with is not free."""
    for name in new_prefixes:
        prefix = getattr(seller, name)
        used = NumberCounter.objects.filter(seller__org_id=seller.org_id).exclude(seller=seller)
        if used.filter(series=prefix).exists() or used.filter(series__regex=rf"^{prefix}-\d{{4}}$").exists():
            raise PrefixTaken(f"Documents of another seller of {seller.org_id} have the prefix {prefix}.")
    try:
        with transaction.atomic():
            seller.save(force_insert=force_insert)
    except IntegrityError as error:
        if "_prefix" not in str(error):
            raise
        raise PrefixTaken(
            f"{seller.invoice_prefix} and {seller.credit_note_prefix} must differ, and no other seller of"
            f" {seller.org_id} may have them."
        ) from error


def _tell(
    type: str,
    seller: Seller,
    *,
    at: datetime,
    actor: Actor,
    reason: str,
    changes: Mapping[str, Any] | None = None,
    previous: Mapping[str, Any] | None = None,
) -> None:
    events.emit(
        type,
        subject=seller,
        account_id=None,
        at=at,
        actor=actor,
        data=snapshot_seller(seller) | dict(changes or {}),
        previous=dict(previous or {}),
        reason=reason,
    )
