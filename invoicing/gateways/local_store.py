"""What the local provider remembers: an object per thing it did, and one answer per idempotency key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from billing_site.kernel import clock
from invoicing.gateways.port import ObjectUnknown
from invoicing.models import LocalProviderObject


def make_ref(prefix: str, key: str) -> str:
    """Return the name of the object that a call with `key` makes: the same key, the same name."""
    return f"{prefix}_local_{hashlib.sha256(key.encode()).hexdigest()[:24]}"


def find_call(key: str) -> LocalProviderObject | None:
    """Return the object that a call with this key made or changed, or None for a new call."""
    call = LocalProviderObject.objects.filter(key=key).first()
    if call is None or call.kind != "call":
        return call
    return find(call.parent)


def find(ref: str) -> LocalProviderObject | None:
    """Return an object by its name, or None."""
    return LocalProviderObject.objects.filter(ref=ref).first()


def get(ref: str, kind: str) -> LocalProviderObject:
    """Return an object by its name. :raises ObjectUnknown: for none of this kind."""
    found = LocalProviderObject.objects.filter(ref=ref, kind=kind).first()
    if found is None:
        raise ObjectUnknown(f"The local provider has no {kind} {ref!r}.")
    return found


def add(
    *,
    kind: str,
    ref: str,
    key: str = "",
    data: Mapping[str, Any],
    parent: str = "",
    reference: str = "",
    due_at: datetime | None = None,
) -> LocalProviderObject:
    """Remember a new object; of two calls with one key at once, both get the first one's."""
    made = LocalProviderObject(
        kind=kind, ref=ref, key=key, parent=parent, reference=reference, data=dict(data), due_at=due_at
    )
    try:
        with transaction.atomic():
            made.save(force_insert=True)
    except IntegrityError:
        first = find_call(key) if key else find(ref)
        if first is None:
            raise
        return first
    return made


def change(ref: str, kind: str, key: str, apply: Callable[[dict[str, Any]], None]) -> LocalProviderObject:
    """
    Change an object under its lock, once per key, and return it.

    :raises ObjectUnknown: for none of this kind.
    """
    with transaction.atomic():
        found = LocalProviderObject.objects.select_for_update().filter(ref=ref, kind=kind).first()
        if found is None:
            raise ObjectUnknown(f"The local provider has no {kind} {ref!r}.")
        if key and LocalProviderObject.objects.filter(key=key).exists():
            return found
        apply(found.data)
        found.save(update_fields=["data", "due_at", "updated_at"])
        if key:
            add(kind="call", ref=make_ref("call", key), key=key, parent=ref, data={})
    return found


def list_made(kind: str, *, since: datetime, until: datetime) -> Iterator[LocalProviderObject]:
    """Yield objects of a kind made in [since, until), newest first."""
    rows = LocalProviderObject.objects.filter(kind=kind).order_by("-id")
    for row in rows.iterator(chunk_size=500):
        if since <= read_time(row) < until:
            yield row


def now() -> datetime:
    """Return the provider's own time: it stands outside, so it has a clock."""
    return clock.now()


def read_time(row: LocalProviderObject) -> datetime:
    """Return when the provider made an object, by its clock."""
    text = row.data.get("created_at")
    return datetime.fromisoformat(text) if text else row.created_at
