"""The states of differences between us and a provider."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from invoicing.models import Drift, ReconciliationRun
from invoicing.models.reconciliation import DRIFT_TRANSITIONS
from invoicing.services.drifts import accept_drift, record_findings
from invoicing.services.provider_comparison import Finding
from invoicing.services.provider_reconciliation import start_reconciliation
from tests.support import world
from tests.support.states import StateTable

_AT: Final = world.NOVEMBER + timedelta(days=14)
_BY: Final[dict[str, Any]] = {"at": _AT, "actor": world.TESTER}


def _find(received: int) -> None:
    """See the difference, with another amount each time, so that one that was accepted has changed."""
    run = ReconciliationRun.objects.first() or start_reconciliation(at=_AT)
    finding = Finding("amount", "payment", "pay_1", "pi_1", theirs={"received": received})
    record_findings(run=run, object_type="payment", refs=["pay_1"], findings=[finding], at=_AT)


def _lose(_row: Drift) -> object:
    run = ReconciliationRun.objects.get()
    return record_findings(run=run, object_type="payment", refs=["pay_1"], findings=[], at=_AT)


def _accept(row: Drift) -> object:
    return accept_drift(drift_id=row.pk, reason="rounded there", **_BY)


def _arrange(state: str, _to: str) -> Drift:
    _find(1)
    drift = Drift.objects.get()
    if state != "open":
        DRIFTS.moves[state](drift)
    drift.refresh_from_db()
    return drift


def _hold(before: str, after: str) -> str:
    if before == after:
        return ""
    if (before, after) == ("open", "accepted"):  # PostgreSQL looks at constraints in the order of their names
        return "provider_drifts_accepted_has_reason"
    if "open" in (before, after):
        return "provider_drifts_settled_has_time"
    return ""


DRIFTS: Final = StateTable(
    model=Drift,
    transitions=DRIFT_TRANSITIONS,
    arrange=_arrange,
    moves={"open": lambda _row: _find(2), "repaired": _lose, "accepted": _accept},
    quiet=frozenset({("open", "open"), ("repaired", "repaired")}),
    held=_hold,
    allows=Drift.can_become,
)
