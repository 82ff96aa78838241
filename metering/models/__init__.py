"""Tables of usage."""

from metering.models.charge_client import ChargeClient
from metering.models.cost_alert import AlertScope, AlertStatus, CostAlert, CostAlertFiring, ThresholdType
from metering.models.quota import AccountQuota
from metering.models.rejected_usage import RejectedUsageCount, RejectedUsageRequest
from metering.models.usage_event import UsageEvent

__all__ = [
    "AccountQuota",
    "AlertScope",
    "AlertStatus",
    "ChargeClient",
    "CostAlert",
    "CostAlertFiring",
    "RejectedUsageCount",
    "RejectedUsageRequest",
    "ThresholdType",
    "UsageEvent",
]
