"""Tables of usage."""

from metering.models.charge_client import ChargeClient
from metering.models.cost_alert import AlertScope, AlertStatus, CostAlert, CostAlertFiring, ThresholdType
from metering.models.quota import AccountQuota
from metering.models.quota_alert import AlertLevel, QuotaAlert
from metering.models.quota_reservation import QuotaReservation, ReservationStatus
from metering.models.rejected_usage import RejectedUsageCount, RejectedUsageRequest
from metering.models.usage_archive import ArchivedUsageDay, ArchivedUsageTotal
from metering.models.usage_correction import UsageCorrection
from metering.models.usage_event import UsageEvent
from metering.models.usage_export import (
    ExportSource,
    ExportStatus,
    UsageExport,
    UsageExportCursor,
    UsageExportSurplus,
)
from metering.models.usage_feed import FeedOutcome, UsageFeedEvent, UsageFeedReading
from metering.models.usage_import import (
    UsageFileFormat,
    UsageImport,
    UsageImportChunk,
    UsageImportError,
    UsageImportPhase,
    UsageImportStatus,
)
from metering.models.usage_key import UsageKey, UsageKeyGeneration
from metering.models.usage_totals import NO_CENTER, UsageCounter, UsageMember, UsageRollup

__all__ = [
    "NO_CENTER",
    "AccountQuota",
    "AlertLevel",
    "AlertScope",
    "AlertStatus",
    "ArchivedUsageDay",
    "ArchivedUsageTotal",
    "ChargeClient",
    "CostAlert",
    "CostAlertFiring",
    "ExportSource",
    "ExportStatus",
    "FeedOutcome",
    "QuotaAlert",
    "QuotaReservation",
    "RejectedUsageCount",
    "RejectedUsageRequest",
    "ReservationStatus",
    "ThresholdType",
    "UsageCorrection",
    "UsageCounter",
    "UsageEvent",
    "UsageExport",
    "UsageExportCursor",
    "UsageExportSurplus",
    "UsageFeedEvent",
    "UsageFeedReading",
    "UsageFileFormat",
    "UsageImport",
    "UsageImportChunk",
    "UsageImportError",
    "UsageImportPhase",
    "UsageImportStatus",
    "UsageKey",
    "UsageKeyGeneration",
    "UsageMember",
    "UsageRollup",
]
