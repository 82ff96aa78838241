"""Sellers: one per organization, made from the settings on first need."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.db import transaction

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import ValidationFailed
from billing_site.platform.services import events
from invoicing.models import Seller

_SNAPSHOT: Final = (
    "name",
    "line1",
    "line2",
    "city",
    "state",
    "postal_code",
    "country",
    "email",
    "tax_id",
    "footer",
)
# The settings with a few words to choose from.
_POLICIES: Final = (
    "rounding",
    "proration_unit",
    "proration_basis",
    "alignment",
    "interval_change",
    "pause_credit",
    "cancel_unused",
)
_EDITABLE: Final = frozenset(
    {*_SNAPSHOT, "invoice_prefix", "due_days", "payment_gated", "voiding_allowed", "mails_invoices", *_POLICIES}
)


def ensure_sellers(org_ids: Iterable[str]) -> dict[str, Seller]:
    """Return the seller of each organization, creating missing ones from `BILLING_COMPANY_*`. Two queries at most."""
    wanted = set(org_ids)
    found = {seller.org_id: seller for seller in Seller.objects.filter(org_id__in=wanted)}
    if missing := sorted(wanted - found.keys()):
        company = settings.BILLING_COMPANY
        Seller.objects.bulk_create(
            [
                Seller(
                    org_id=org_id,
                    invoice_prefix=settings.BILLING_INVOICE_PREFIX,
                    due_days=settings.BILLING_INVOICE_DUE_DAYS,
                    **company,
                )
                for org_id in missing
            ],
            ignore_conflicts=True,
        )
        found |= {seller.org_id: seller for seller in Seller.objects.filter(org_id__in=missing)}
    return found


def snapshot_seller(seller: Seller) -> dict[str, str]:
    """Return what an invoice keeps of its seller."""
    return {column: getattr(seller, column) for column in _SNAPSHOT}


@transaction.atomic
def update_seller(*, seller_id: uuid.UUID, changes: Mapping[str, Any], at: datetime, actor: Actor) -> Seller:
    """
    Change what later invoices say of the seller, and the policies they follow; issued ones keep their snapshot.

    A new policy holds for what begins, changes or ends from now on: a running subscription keeps the alignment it has.
    :raises ValidationFailed: for a column that is not the seller's to change, an empty name or prefix, or a policy
        that there is not.
    """
    seller = Seller.objects.select_for_update().get(id=seller_id)
    if unknown := sorted(changes.keys() - _EDITABLE):
        raise ValidationFailed.of(f"/{unknown[0]}", "unknown", f"{unknown[0]} cannot be changed.")
    for name in ("name", "invoice_prefix"):
        if name in changes and not str(changes[name]).strip():
            raise ValidationFailed.of(f"/{name}", "required", "This cannot be empty.")
    for name in _POLICIES:
        if name in changes:
            _check_policy(name, changes[name])
    before = {name: getattr(seller, name) for name in changes}
    for name, value in changes.items():
        setattr(seller, name, value)
    seller.save(update_fields=[*changes, "updated_at"])
    events.emit(
        "seller.updated",
        subject=seller,
        account_id=None,
        at=at,
        actor=actor,
        data=snapshot_seller(seller) | {name: getattr(seller, name) for name in changes},
        previous=before,
    )
    return seller


def _check_policy(name: str, value: object) -> None:
    known = [choice for choice, _ in getattr(Seller._meta.get_field(name), "choices", None) or ()]
    if value not in known:
        raise ValidationFailed.of(f"/{name}", "choice_unknown", f"{value!r:.60} is not one of: {', '.join(known)}.")
