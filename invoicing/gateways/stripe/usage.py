"""Usage that Stripe bills: events of its meters."""

from __future__ import annotations

from typing import Final

from invoicing.gateways.port import ObjectUnknown, OrderRejected, UsageRejected, UsageReport
from invoicing.gateways.stripe.client import Answer, CardRefused, StripeCaller
from invoicing.gateways.stripe.reading import read_object

_CUSTOMER_KEY: Final = "stripe_customer_id"
_VALUE_KEY: Final = "value"
_KNOWN: Final = "already exists with identifier"
# What no repeat can mend.
_FINAL: Final = frozenset({"archived_meter", "timestamp_too_far_in_past", "meter_archived"})


class Usage(StripeCaller):
    """See the port."""

    def report_usage(self, *, report: UsageReport, key: str) -> str:
        if not report.customer_ref:
            raise UsageRejected("customer_unknown", "Stripe bills usage of its customers; there is none to name.")
        params: Answer = {
            "event_name": report.event_name,
            "identifier": key,
            "timestamp": int(report.timestamp.timestamp()),
            "payload": {
                report.customer_key or _CUSTOMER_KEY: report.customer_ref,
                report.value_key or _VALUE_KEY: f"{report.value:f}",
            },
        }
        try:
            answer = self.write(self.api.billing.meter_events.create, key=f"usage:{key}", params=params)
        except OrderRejected as refusal:
            if _KNOWN in str(refusal):
                return key  # it was counted the first time
            raise UsageRejected(refusal.code, str(refusal), is_final=refusal.code in _FINAL) from None
        except (ObjectUnknown, CardRefused) as refusal:
            raise UsageRejected("meter_unknown", str(refusal)) from None
        return str(read_object(answer).get("identifier") or key)
