"""Logos of sellers: stored once per picture, shown on what is issued from then on."""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime

from django.db import transaction

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import NotFound, ValidationFailed
from billing_site.platform.services import events
from invoicing.documents.logos import LogoRefused, check_logo
from invoicing.models import Seller, SellerLogo


@transaction.atomic
def change_logo(
    *, seller_id: uuid.UUID, content: bytes | None, at: datetime, actor: Actor, reason: str = ""
) -> SellerLogo | None:
    """
    Put a picture on the seller's later documents and return it; None takes it away.

    Issued documents keep the one they had.
    :raises NotFound: if there is no such seller.
    :raises ValidationFailed: for what is no PNG or SVG picture; see `documents.logos`.
    """
    seller = Seller.objects.select_for_update().filter(id=seller_id).first()
    if seller is None:
        raise NotFound("seller")
    before = seller.logo
    seller.logo = None if content is None else _store(seller, content, at=at)
    if seller.logo_id == (before.id if before is not None else None):
        return seller.logo
    seller.save(update_fields=["logo", "updated_at"])
    events.emit(
        "seller.logo_changed",
        subject=seller,
        account_id=None,
        at=at,
        actor=actor,
        data={"logo": seller.logo.sha256 if seller.logo is not None else ""},
        previous={"logo": before.sha256 if before is not None else ""},
        reason=reason,
    )
    return seller.logo


def _store(seller: Seller, content: bytes, *, at: datetime) -> SellerLogo:
    try:
        kind = check_logo(content)
    except LogoRefused as refusal:
        raise ValidationFailed.of("/logo", "invalid", str(refusal)) from refusal
    digest = hashlib.sha256(content).hexdigest()
    known = SellerLogo.objects.filter(seller=seller, sha256=digest).first()
    return known or SellerLogo.objects.create(seller=seller, format=kind, content=content, sha256=digest, created_at=at)
