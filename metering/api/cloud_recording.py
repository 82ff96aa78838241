"""From CloudEvents to recorded usage, on the doors of one account and of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from accounts.models import Account
from billing_site.kernel.actors import Actor, Principal
from billing_site.kernel.errors import FieldError
from catalog.models import Aggregation
from metering.api.cloud_events import CloudUsage, read_cloud_events
from metering.api.inputs import ReadEvents
from metering.api.recording import Door, record_events
from metering.queries.accounts import find_accounts
from metering.queries.meters import load_meters
from metering.services.ingest import NewUsageEvent, RecordedUsage

DOOR: Final = Door(
    {
        "meter": "type",
        "quantity": "data/quantity",
        "idempotency_key": "id",
        "timestamp": "time",
        "dimensions": "data",
        **{
            name: f"data/{name}"
            for name in ("unit", "resource_id", "resource_type", "actor_id", "cost_center", "metadata")
        },
    }
)
_ONE_EACH: Final = (Aggregation.COUNT, Aggregation.UNIQUE)


def record_of_account(
    data: object, meta: Mapping[str, Any], *, account: Account, maximum: int, at: datetime, actor: Actor
) -> list[RecordedUsage]:
    """
    Record CloudEvents of one account; a `subject`, where there is one, has to name it.

    :raises ParseError, ValidationFailed, BatchTooLarge, MeterNotFound: as reading and recording do.
    """
    read = read_cloud_events(data, meta, maximum=maximum)
    names = {account.public_id, account.external_id.lower() if account.external_id else ""}
    accounts: list[Account | None] = []
    for index, event in enumerate(read.events):
        if event is not None and event.subject and event.subject not in names:
            detail = "The event is about another account than the address."
            read.findings.append(FieldError(f"/events/{index}/subject", "account_ambiguous", detail))
        accounts.append(account)
    return _record(read, accounts, at=at, actor=actor)


def record_of_subjects(
    data: object, meta: Mapping[str, Any], *, principal: Principal, maximum: int, at: datetime, actor: Actor
) -> list[RecordedUsage]:
    """
    Record CloudEvents of the accounts that their `subject` names.

    :raises ParseError, ValidationFailed, BatchTooLarge, MeterNotFound: as reading and recording do.
    """
    read = read_cloud_events(data, meta, maximum=maximum)
    found = find_accounts(principal, {event.subject for event in read.events if event is not None and event.subject})
    accounts: list[Account | None] = []
    for index, event in enumerate(read.events):
        account = found.get(event.subject) if event is not None else None
        if event is not None and account is None:
            code, detail = "required", "The subject names the account."
            if event.subject:
                code, detail = "not_found", "No such account, or not visible to you."
            read.findings.append(FieldError(f"/events/{index}/subject", code, detail))
        accounts.append(account)
    return _record(read, accounts, at=at, actor=actor)


def _record(
    read: ReadEvents[CloudUsage], accounts: Sequence[Account | None], *, at: datetime, actor: Actor
) -> list[RecordedUsage]:
    implied = _imply_quantities(read, accounts)
    events = [
        None if event is None or account is None else _to_event(event, account, implied.get(index))
        for index, (event, account) in enumerate(zip(read.events, accounts, strict=True))
    ]
    return record_events(events, read.findings, door=DOOR, root=read.root, at=at, actor=actor)


def _imply_quantities(read: ReadEvents[CloudUsage], accounts: Sequence[Account | None]) -> dict[int, Decimal]:
    """
    Return the quantity of events that say none, by position: one, on meters that count events or who used them.

    Elsewhere it is missing, and `read` gets a finding. One query, if there are such events.
    """
    silent = {
        index: (account.org_id, event.meter)
        for index, (event, account) in enumerate(zip(read.events, accounts, strict=True))
        if event is not None and event.quantity is None and account is not None
    }
    if not silent:
        return {}
    organizations, names = zip(*silent.values(), strict=True)
    book = load_meters(org_ids=set(organizations), references=set(names))
    for index, (org_id, name) in silent.items():
        found = book.get(org_id=org_id, reference=name)
        if found is not None and found.meter.aggregation not in _ONE_EACH:
            pointer = f"/events/{index}/data/quantity"
            read.findings.append(FieldError(pointer, "required", "This meter adds up quantities: say how much."))
    return dict.fromkeys(silent, Decimal(1))


def _to_event(event: CloudUsage, account: Account, implied: Decimal | None) -> NewUsageEvent:
    return NewUsageEvent(
        account,
        event.meter,
        event.quantity if event.quantity is not None else implied or Decimal(0),
        event.unit,
        event.timestamp,
        event.key,
        event.resource_id,
        event.resource_type,
        event.actor_id,
        event.dimensions,
        event.metadata,
        event.cost_center,
    )
