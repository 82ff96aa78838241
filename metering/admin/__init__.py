"""Admin pages of usage."""

from metering.admin.usage_event import UsageEventAdmin

__all__ = ["UsageEventAdmin"]
