"""Revenue that is earned day by day: what each line still defers, and the entries that released it."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from accounts.models import LedgerEntry
from accounts.models.ledger_triggers import kept_triggers
from billing_site.platform.models.base import Identified
from billing_site.platform.models.triggers import append_only_triggers
from invoicing.calculation.recognition import ServicePeriod, recognize_until
from invoicing.models.invoice import Invoice
from invoicing.models.seller import Seller


class RevenueRelease(Identified):
    """
    The revenue that one day brought one seller in one currency and mode: minor units moved out of what was deferred.

    What a release before it did not know of is in it, too. Without an entry the parts of all lines cancelled out.
    """

    id_prefix = "rvr"

    seller = models.ForeignKey(Seller, on_delete=models.PROTECT, related_name="+")
    currency = models.CharField(max_length=3)
    livemode = models.BooleanField(default=False)
    day = models.DateField()
    amount = models.BigIntegerField()
    schedules = models.PositiveIntegerField()
    entry = models.OneToOneField(LedgerEntry, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()

    class Meta:
        db_table = "revenue_releases"
        ordering = ["-day"]
        constraints = [
            models.UniqueConstraint(fields=["seller", "currency", "livemode", "day"], name="revenue_releases_day_once"),
            models.CheckConstraint(
                condition=Q(amount=0, entry__isnull=True) | (~Q(amount=0) & Q(entry__isnull=False)),
                name="revenue_releases_amount_booked",
            ),
        ]
        triggers = append_only_triggers("revenue_releases")

    def __str__(self) -> str:
        return f"{self.day} {self.amount} {self.currency}"


class RevenueSchedule(Identified):
    """
    How a line of an issued document becomes revenue: `amount`, net minor units, evenly over `[first_day, end_day)`.

    The days are local days of the account. What lies before `deferred_from` was revenue when the document was issued;
    the rest was deferred, and is released up to `recognized_until` (exclusive). `recognized` is the sum of both.
    `source` is the key of the ledger entry that deferred it: that of the invoice, or of a document that takes a part
    of it back, whose amount has the other sign. `first_release` is the release that looked at it first.
    Source: ADR 0044.
    """

    id_prefix = "rvs"

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="revenue_schedules")
    position = models.PositiveIntegerField()
    source = models.CharField(max_length=120)
    seller = models.ForeignKey(Seller, on_delete=models.PROTECT, related_name="+", db_index=False)
    currency = models.CharField(max_length=3)
    livemode = models.BooleanField(default=False)
    amount = models.BigIntegerField()
    first_day = models.DateField()
    end_day = models.DateField()
    deferred_from = models.DateField()
    recognized_until = models.DateField()
    recognized = models.BigIntegerField()
    is_open = models.BooleanField(default=True)
    taken_back_at = models.DateTimeField(null=True, blank=True)
    first_release = models.ForeignKey(
        RevenueRelease, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )

    class Meta:
        db_table = "revenue_schedules"
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["source", "position"], name="revenue_schedules_line_once"),
            models.CheckConstraint(
                condition=Q(first_day__lt=F("end_day"))
                & Q(deferred_from__gte=F("first_day"))
                & Q(deferred_from__lt=F("end_day"))
                & Q(recognized_until__gte=F("deferred_from"))
                & Q(recognized_until__lte=F("end_day")),
                name="revenue_schedules_days_in_order",
            ),
            models.CheckConstraint(
                condition=Q(is_open=True, taken_back_at__isnull=True, recognized_until__lt=F("end_day"))
                | Q(is_open=False, taken_back_at__isnull=False)
                | Q(is_open=False, recognized_until=F("end_day"), recognized=F("amount")),
                name="revenue_schedules_open_or_done",
            ),
            models.CheckConstraint(condition=~Q(amount=0), name="revenue_schedules_amount_not_zero"),
        ]
        indexes = [
            # What a day releases. No column that a release moves is in it, so rows are updated in place.
            models.Index(
                fields=["seller", "currency", "livemode"], condition=Q(is_open=True), name="revenue_schedules_open"
            ),
        ]
        triggers = kept_triggers(
            "revenue_schedules",
            "id",
            "invoice_id",
            "position",
            "source",
            "seller_id",
            "currency",
            "livemode",
            "amount",
            "first_day",
            "end_day",
            "deferred_from",
        )

    def __str__(self) -> str:
        return f"{self.amount} {self.currency} over {self.first_day} to {self.end_day}"

    @property
    def service(self) -> ServicePeriod:
        return ServicePeriod(self.first_day, self.end_day)

    @property
    def at_issue(self) -> int:
        """What was revenue at once."""
        return recognize_until(self.amount, self.service, self.deferred_from)

    @property
    def deferred(self) -> int:
        """What is not released yet; nothing of a document that was taken back."""
        return 0 if self.taken_back_at is not None else self.amount - self.recognized
