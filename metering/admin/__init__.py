"""Admin pages of usage."""

from metering.admin.rejected_usage import RejectedUsageAdmin
from metering.admin.usage_event import UsageEventAdmin

__all__ = ["RejectedUsageAdmin", "UsageEventAdmin"]
