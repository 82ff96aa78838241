"""Tables of usage."""

from metering.models.charge_client import ChargeClient
from metering.models.quota import AccountQuota
from metering.models.usage_event import UsageEvent

__all__ = ["AccountQuota", "ChargeClient", "UsageEvent"]
