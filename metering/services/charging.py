"""
Calls whose cost the caller knows: taken from the prepaid balance and counted, both or neither.

Source: contract chapter Meters and usage (Charged usage).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db import transaction

from accounts.models import Account, LedgerEntry
from accounts.services.usage_charges import UsageCharge, charge_prepaid_usage
from accounts.terms.tiers import TierConfig
from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.ids import encode_id, new_uuid
from catalog.models import Meter
from catalog.services.meters import MeterExists, create_meter
from metering.queries.meters import CHARGED_METER, load_meters
from metering.services.touching import touch_accounts
from metering.stores import EventRow, delete_clients_before, insert_client, insert_events, project_dimensions

CLIENT_KEPT: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class ApiCall:
    """What the caller tells about the call it charges; None is what it does not know."""

    model: str | None = None
    provider: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    request_id: str | None = None
    premium: bool | None = None
    stream: bool | None = None
    status: str | None = None

    @property
    def tokens(self) -> int | None:
        """The total, added up where it was not given."""
        if self.total_tokens is not None:
            return self.total_tokens
        if self.prompt_tokens is None and self.completion_tokens is None:
            return None
        return (self.prompt_tokens or 0) + (self.completion_tokens or 0)

    @property
    def dimensions(self) -> dict[str, Any]:
        """Model and provider, where they are known."""
        return {name: value for name in ("model", "provider") if (value := getattr(self, name))}

    def describe(self) -> str:
        """Return the note on the withdrawal: `API usage: model-a (1234 tokens)`."""
        model = f": {self.model}" if self.model else ""
        return f"API usage{model}" + ("" if self.tokens is None else f" ({self.tokens} tokens)")

    def to_metadata(self) -> dict[str, Any]:
        """Return everything that is known."""
        known = {each.name: getattr(self, each.name) for each in fields(self)} | {"total_tokens": self.tokens}
        return {name: value for name, value in known.items() if value not in (None, "")}


@transaction.atomic
def charge_usage(
    *,
    account: Account,
    amount: int,
    currency: str,
    call: ApiCall,
    tier: TierConfig,
    at: datetime,
    actor: Actor,
    client_ip: str = "",
) -> UsageCharge:
    """
    Charge `amount` minor units for a call and count it on the meter `api-usage`, and return the charge.

    The balance may become negative; the tier's daily credit covers what prepaid money does not. The event carries the
    amount as its value and is never billed again. A `request_id` seen before answers the first charge and changes
    nothing. `client_ip` is kept for 30 days, apart from the books.
    :raises AmountNotPositive: for zero or less; :raises CurrencyUnsupported: for a currency not offered.
    :raises RequestIdReused: when the request id was charged to another account.
    """
    meter = _ensure_meter(account.org_id, at=at)
    charge = charge_prepaid_usage(
        account=account,
        amount=amount,
        currency=currency,
        key=f"usage:{call.request_id or encode_id(LedgerEntry.id_prefix, new_uuid())}",
        tier=tier,
        at=at,
        actor=actor,
        description=call.describe(),
        metadata=call.to_metadata(),
    )
    if not charge.created:
        return charge
    event = EventRow(
        account_id=account.pk,
        meter_id=meter.pk,
        # Not the request id: any other event on this meter may have that for its key.
        idempotency_key=charge.entry.public_id,
        value=Decimal(amount),
        timestamp=at,
        recorded_at=at,
        dimensions=call.dimensions,
        metadata={**call.to_metadata(), "currency": charge.currency, "transaction_id": charge.entry.public_id},
        charged=True,
        rolled_dimensions=project_dimensions(meter.dimensions, call.dimensions),
    )
    insert_events([event])
    touch_accounts([account.pk])
    if client_ip:
        insert_client(event_id=event.id, client_ip=client_ip, recorded_at=at)
    return charge


def purge_clients(*, at: datetime) -> int:
    """Delete the addresses of calls that are older than 30 days and return how many there were."""
    return delete_clients_before(at - CLIENT_KEPT)


def _ensure_meter(org_id: str, *, at: datetime) -> Meter:
    """Return the meter that an organization's charged calls are counted on, made when the first one comes."""
    found = _find_meter(org_id)
    if found is not None:
        return found
    try:
        return create_meter(
            org_id=org_id,
            name="Charged API usage",
            event_name=CHARGED_METER,
            unit="minor units",
            dimensions=("model", "provider"),
            at=at,
            actor=SYSTEM,
            reason="The first charged call of the organization.",
        )
    except MeterExists:  # by a call at the same moment
        found = _find_meter(org_id)
        if found is None:
            raise
        return found


def _find_meter(org_id: str) -> Meter | None:
    found = load_meters(org_ids=[org_id], references=[CHARGED_METER]).get(org_id=org_id, reference=CHARGED_METER)
    return None if found is None else found.meter
