"""State tables of usage, as `tests.support.state_tables` has those of the rest."""

from __future__ import annotations

from typing import Any, Final

from metering.models import UsageExport
from metering.models.usage_export import EXPORT_TRANSITIONS
from metering.services.usage_exports import (
    Claim,
    NewUsageExport,
    request_export,
    retry_export,
    settle_exported,
    settle_failed,
)
from tests.factories.metering import AT, make_account, make_meter
from tests.support import world
from tests.support.states import StateTable

_BY: Final[dict[str, Any]] = {"at": AT, "actor": world.TESTER}


def _arrange_export(state: str, _to: str) -> UsageExport:
    account, meter = make_account(), make_meter("llm_tokens")
    new = NewUsageExport(event_id="e1", meter=meter.event_name, quantity=5)
    row = request_export(account=account, new=new, **_BY).export
    assert row is not None
    if state != "pending":
        EXPORTS.moves[state](row)
    return row


def _hold_export(before: str, after: str) -> str:
    if before == after:
        return ""
    if "exported" in (before, after):
        return "usage_exports_exported_has_time"
    return "usage_exports_failed_has_reason" if after == "failed" else "usage_exports_pending_is_due"


EXPORTS: Final = StateTable(
    model=UsageExport,
    transitions=EXPORT_TRANSITIONS,
    arrange=_arrange_export,
    moves={
        "pending": lambda row: retry_export(export_id=row.pk, reason="checked there", **_BY),
        "exported": lambda row: settle_exported(export_id=row.pk, provider_event_id="mev_1", at=AT),
        "failed": lambda row: settle_failed(
            claim=Claim(row, was_uncertain=False),
            code="customer_unknown",
            detail="no",
            at=AT,
            is_certain=True,
            is_final=True,
        ),
    },
    # What is said of a quantity that the provider has changes nothing.
    quiet=frozenset({("exported", "exported"), ("exported", "failed")}),
    held=_hold_export,
    allows=UsageExport.can_become,
)
