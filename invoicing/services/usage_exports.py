"""
Telling the payment provider what it bills: the calls between two transactions.

Source: contract chapters Usage feed, Provider synchronisation; ADR 0035.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from accounts.models import Account
from billing_site.kernel.actors import Actor
from invoicing.gateways.port import (
    NoProcessorAvailable,
    PaymentGateway,
    ProviderUnavailable,
    UsageRejected,
    UsageReport,
)
from invoicing.gateways.registry import get_gateway
from metering.models import UsageExport
from metering.services.usage_exports import (
    Claim,
    NewUsageExport,
    RequestedExport,
    claim_exports,
    request_export,
    settle_exported,
    settle_failed,
)

__all__ = ["ExportAnswer", "export_usage", "send_due_exports"]

WITH_TOTAL: Final = "It was counted before and is told to the provider with the total of its hour."
_CUSTOMER_KEY: Final = "customer_mapping_event_payload_key"
_VALUE_KEY: Final = "value_settings_event_payload_key"
ExportWord = Literal["exported", "failed", "duplicate"]
GetGateway = Callable[[UsageExport], PaymentGateway]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ExportAnswer:
    """What was asked for, as it stands now. `duplicate`: it was told, or is to be told, before this request."""

    requested: RequestedExport
    export: UsageExport | None
    status: ExportWord

    @property
    def is_exported(self) -> bool:
        return self.export is not None and self.export.is_exported

    @property
    def provider(self) -> str:
        """Who is told."""
        return self.requested.provider

    @property
    def reason(self) -> str:
        """Why it is not told yet; nothing when it is."""
        if self.export is None:
            return WITH_TOTAL
        return self.export.reason or ("" if self.is_exported else "It is being sent.")


def _find_gateway(export: UsageExport) -> PaymentGateway:
    return get_gateway(export.provider, livemode=export.livemode)


def export_usage(
    *,
    account: Account,
    new: NewUsageExport,
    at: datetime,
    actor: Actor,
    now: datetime | None = None,
    find_gateway: GetGateway = _find_gateway,
) -> ExportAnswer:
    """
    Count a metric once and tell the provider, and return what came of it.

    Call it outside a transaction: the provider is asked between two. A report that fails is kept and tried again, by
    the sweep or by a repeat of the request. `at` is the account's present, `now` that of the sender, where they differ.
    Refusals are those of `request_export`.
    """
    now = now or at
    requested = request_export(account=account, new=new, at=at, actor=actor, now=now)
    if requested.export is None:
        return ExportAnswer(requested, None, "duplicate")
    if requested.created:
        claims = [Claim(requested.export, was_uncertain=False)]
    elif requested.export.is_exported:
        return ExportAnswer(requested, requested.export, "exported" if requested.is_repeat else "duplicate")
    else:
        claims = claim_exports(at=now, limit=1, export_id=requested.export.pk)
    settled = _send(claims[0], at=now, find_gateway=find_gateway) if claims else _reload(requested.export)
    if settled.is_exported:
        return ExportAnswer(requested, settled, "exported")
    return ExportAnswer(requested, settled, "failed" if settled.reason_code else "duplicate")


def send_due_exports(*, at: datetime, limit: int, batch: int = 10, find_gateway: GetGateway = _find_gateway) -> int:
    """
    Tell the provider up to `limit` quantities that are due, and return how many it took.

    Call it outside a transaction. Any number of processes may do this at the same time; one that dies leaves what it
    had claimed to the next after ten minutes.
    """
    told = tried = 0
    while tried < limit:
        claims = claim_exports(at=at, limit=min(batch, limit - tried))
        if not claims:
            break
        tried += len(claims)
        told += sum(_send(claim, at=at, find_gateway=find_gateway).is_exported for claim in claims)
    return told


def _send(claim: Claim, *, at: datetime, find_gateway: GetGateway) -> UsageExport:
    """Tell one claimed quantity and record the answer."""
    export = claim.export
    try:
        reference = find_gateway(export).report_usage(report=_make_report(export), key=export.identifier)
    except UsageRejected as refusal:
        return _fail(claim, refusal.code, str(refusal), at=at, is_certain=True, is_final=refusal.is_final)
    except NoProcessorAvailable as refusal:
        return _fail(claim, refusal.code, refusal.detail, at=at, is_certain=True)
    except ProviderUnavailable as refusal:
        return _fail(claim, refusal.code, refusal.detail, at=at, is_certain=False)
    except Exception:
        logger.exception("usage export %s failed unexpectedly", export.public_id)
        return _fail(claim, "internal_error", "Unexpected failure; the log has the details.", at=at, is_certain=False)
    return settle_exported(export_id=export.pk, provider_event_id=reference, at=at)


def _fail(
    claim: Claim, code: str, detail: str, *, at: datetime, is_certain: bool, is_final: bool = False
) -> UsageExport:
    logger.warning("usage export %s not told: %s", claim.export.public_id, code)
    return settle_failed(claim=claim, code=code, detail=detail, at=at, is_certain=is_certain, is_final=is_final)


def _make_report(export: UsageExport) -> UsageReport:
    settings = export.meter.provider_settings
    return UsageReport(
        event_name=export.meter.event_name,
        customer_ref=export.account.provider_customer_id,
        value=export.quantity,
        timestamp=export.timestamp,
        customer_key=settings.get(_CUSTOMER_KEY, ""),
        value_key=settings.get(_VALUE_KEY, ""),
    )


def _reload(export: UsageExport) -> UsageExport:
    return UsageExport.objects.select_related("account", "meter").get(pk=export.pk)
