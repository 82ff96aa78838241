"""A payment provider that counts usage as Stripe's meters do: an identifier counts once, within a day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from django.db import connection

from invoicing.gateways.local import LocalGateway
from invoicing.gateways.port import UsageReport


@dataclass
class MeterProvider(LocalGateway):
    """
    Keeps what it was told.

    `before` is called before a quantity is counted and may refuse it; `after` when it is counted and not yet answered.
    """

    before: Callable[[UsageReport], None] | None = None
    after: Callable[[UsageReport], None] | None = None
    is_watching: bool = False
    counted: dict[str, UsageReport] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def report_usage(self, *, report: UsageReport, key: str) -> str:
        assert not (self.is_watching and connection.in_atomic_block), "the provider is asked inside a transaction"
        self.calls.append(key)
        if self.before is not None:
            self.before(report)
        self.counted.setdefault(key, report)
        if self.after is not None:
            self.after(report)
        return super().report_usage(report=report, key=key)

    @property
    def total(self) -> Decimal:
        """What a bill of everything it counted would be over."""
        return sum((report.value for report in self.counted.values()), Decimal(0))

    def list_told(self) -> list[tuple[str, str, int]]:
        """Return (meter, time, value) of what it counted, in order of time."""
        reports = sorted(self.counted.values(), key=lambda report: (report.timestamp, report.event_name))
        return [(each.event_name, f"{each.timestamp:%d %H:%M}", int(each.value)) for each in reports]
