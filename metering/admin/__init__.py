"""Admin pages of usage."""

from metering.admin.account_quota import AccountQuotaAdmin
from metering.admin.cost_alert import CostAlertAdmin
from metering.admin.quota_alert import QuotaAlertAdmin
from metering.admin.quota_reservation import QuotaReservationAdmin
from metering.admin.rejected_usage import RejectedUsageAdmin
from metering.admin.usage_event import UsageEventAdmin
from metering.admin.usage_export import UsageExportAdmin, UsageExportSurplusAdmin
from metering.admin.usage_feed import UsageFeedEventAdmin
from metering.admin.usage_import import UsageImportAdmin

__all__ = [
    "AccountQuotaAdmin",
    "CostAlertAdmin",
    "QuotaAlertAdmin",
    "QuotaReservationAdmin",
    "RejectedUsageAdmin",
    "UsageEventAdmin",
    "UsageExportAdmin",
    "UsageExportSurplusAdmin",
    "UsageFeedEventAdmin",
    "UsageImportAdmin",
]
