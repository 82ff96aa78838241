"""Tables of usage."""

from metering.models.usage_event import UsageEvent

__all__ = ["UsageEvent"]
