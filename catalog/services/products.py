"""Products beside the catalog document: archive, restore, remove one that was never used."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import NotFound
from billing_site.kernel.locks import acquire_lock
from billing_site.platform.services import events
from catalog.models import Product
from catalog.queries.references import require_unused
from catalog.queries.revisions import find_active_revision

_ARCHIVE: Final = "Archive it: its plans are no longer on offer, and running subscriptions go on."


@transaction.atomic
def archive_product(*, product_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> Product:
    """
    Take a product and its plans off the offer and return it. Running subscriptions go on; repeating changes nothing.

    A catalog document that names it brings it back when it is published.
    :raises NotFound: if there is no such product.
    """
    return _set_active(product_id, False, at=at, actor=actor, reason=reason)


@transaction.atomic
def restore_product(*, product_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> Product:
    """
    Bring an archived product back and return it; repeating it changes nothing.

    :raises NotFound: if there is no such product.
    """
    return _set_active(product_id, True, at=at, actor=actor, reason=reason)


@transaction.atomic
def delete_product(*, product_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> None:
    """
    Remove a product that never had a plan.

    :raises ObjectInUse: naming what uses it.
    :raises NotFound: if there is no such product.
    """
    product = _lock_product(product_id)
    revision = find_active_revision(org_id=product.org_id)
    named = revision is not None and any(
        product.key == (entry.get("id") or entry.get("lookup_key")) for entry in revision.document["products"]
    )
    require_unused(product, instead=_ARCHIVE, also=["the published catalog"] if named else [])
    _emit("deleted", product, at=at, actor=actor, reason=reason)
    product.delete()


def _set_active(product_id: uuid.UUID, is_active: bool, *, at: datetime, actor: Actor, reason: str) -> Product:
    product = _lock_product(product_id)
    if product.is_active != is_active:
        product.is_active = is_active
        product.save(update_fields=["is_active", "updated_at"])
        what = "restored" if is_active else "archived"
        _emit(what, product, at=at, actor=actor, reason=reason, previous={"is_active": not is_active})
    return product


def _lock_product(product_id: uuid.UUID) -> Product:
    product = Product.objects.filter(pk=product_id).first()
    if product is not None:
        # The catalog's lock comes before its rows, as publishing takes them.
        acquire_lock("catalog", product.org_id)
        product = Product.objects.select_for_update().filter(pk=product_id).first()
    if product is None:
        raise NotFound("product")
    return product


def _emit(
    what: str,
    product: Product,
    *,
    at: datetime,
    actor: Actor,
    reason: str,
    previous: dict[str, Any] | None = None,
) -> None:
    names = ("org_id", "key", "name", "is_active")
    events.emit(
        f"product.{what}",
        subject=product,
        account_id=None,
        at=at,
        actor=actor,
        data={name: getattr(product, name) for name in names},
        previous=previous,
        reason=reason,
    )
