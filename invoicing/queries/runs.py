"""Runs as their doors answer them."""

from __future__ import annotations

from dataclasses import dataclass

from accounts.models import Account
from invoicing.models import BillingRun, OutcomeStatus, RunOutcome


@dataclass(frozen=True, slots=True)
class RunResult:
    """What became of one subscription of a run, with public ids."""

    account_id: str
    subscription_id: str
    invoice_id: str | None
    success: bool
    error: str | None


def list_results(run: BillingRun) -> list[RunResult]:
    """Return the settled rows of a run in the order they were due; rows still pending are left out. One query."""
    rows = (
        RunOutcome.objects.filter(run=run)
        .exclude(status=OutcomeStatus.PENDING)
        .select_related("account", "subscription", "last_invoice")
        .order_by("id")
    )
    return [
        RunResult(
            account_id=row.account.public_id,
            subscription_id=row.subscription.public_id,
            invoice_id=row.last_invoice.public_id if row.last_invoice is not None else None,
            success=row.status != OutcomeStatus.FAILED,
            error=f"{row.error_code}: {row.error_detail}" if row.status == OutcomeStatus.FAILED else None,
        )
        for row in rows
    ]


def get_org_names(org_ids: list[str]) -> dict[str, str]:
    """Return a name for each organization: the newest one its accounts carry, else empty."""
    names = Account.objects.filter(org_id__in=org_ids).exclude(org_name="").order_by("id")
    return dict.fromkeys(org_ids, "") | dict(names.values_list("org_id", "org_name"))
