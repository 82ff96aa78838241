"""Who sells, and the counters that number its documents."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from accounts.models import Alignment
from billing_site.platform.models.base import Identified, Timestamped
from catalog.models import ProrationBasis, ProrationUnit


class RoundingRule(models.TextChoices):
    HALF_UP = "half_up", "half away from zero"
    HALF_EVEN = "half_even", "half to even"


class IntervalChange(models.TextChoices):
    KEEP_ANCHOR = "keep_anchor", "keeps its billing day"
    RESTART = "restart", "starts again on the day of the change"


class PauseCredit(models.TextChoices):
    UNUSED_DAYS = "unused_days", "unused days are credited"
    NONE = "none", "nothing is credited"


class UnusedTime(models.TextChoices):
    FORFEIT = "forfeit", "is kept"
    CREDIT = "credit", "is credited"
    REFUND = "refund", "is refunded"


class Seller(Identified, Timestamped):
    """
    A legal entity that issues invoices for one organization, and the policies that its bills follow.

    `proration_unit` and `proration_basis` hold for plans that do not say their own; the other policies where a request
    does not. Source: policies, rules 1 and 7 to 13; ADR 0025.
    """

    id_prefix = "sel"

    org_id = models.CharField(max_length=100, unique=True)
    name = models.CharField(max_length=255)
    line1 = models.CharField(max_length=255, blank=True)
    line2 = models.CharField(max_length=255, blank=True)
    city = models.CharField(max_length=100, blank=True)
    state = models.CharField(max_length=100, blank=True)
    postal_code = models.CharField(max_length=20, blank=True)
    country = models.CharField(max_length=2, blank=True)
    email = models.EmailField(blank=True)
    tax_id = models.CharField(max_length=50, blank=True)
    invoice_prefix = models.CharField(max_length=20, default="INV")
    due_days = models.PositiveSmallIntegerField(default=7)
    rounding = models.CharField(max_length=9, choices=RoundingRule, default=RoundingRule.HALF_UP)
    proration_unit = models.CharField(max_length=6, choices=ProrationUnit, default=ProrationUnit.DAY)
    proration_basis = models.CharField(max_length=8, choices=ProrationBasis, default=ProrationBasis.ACTUAL)
    alignment = models.CharField(max_length=11, choices=Alignment, default=Alignment.ANNIVERSARY)
    interval_change = models.CharField(max_length=11, choices=IntervalChange, default=IntervalChange.KEEP_ANCHOR)
    pause_credit = models.CharField(max_length=11, choices=PauseCredit, default=PauseCredit.UNUSED_DAYS)
    cancel_unused = models.CharField(max_length=7, choices=UnusedTime, default=UnusedTime.FORFEIT)
    payment_gated = models.BooleanField(
        default=False,
        verbose_name="Starts wait for payment",
        help_text="A subscription with a fee in advance is on only when its first invoice is paid.",
    )
    voiding_allowed = models.BooleanField(
        default=True,
        verbose_name="Issued invoices may be voided",
        help_text="Where the law does not know it, an issued invoice is corrected by a credit note and a new one.",
    )
    mails_invoices = models.BooleanField(
        default=False,
        verbose_name="Invoices are mailed",
        help_text="To the account's address when an invoice is issued, and when it is paid.",
    )
    footer = models.TextField(blank=True)

    class Meta:
        db_table = "sellers"
        ordering = ["org_id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    proration_unit__in=ProrationUnit.values,
                    proration_basis__in=ProrationBasis.values,
                    alignment__in=Alignment.values,
                    interval_change__in=IntervalChange.values,
                    pause_credit__in=PauseCredit.values,
                    cancel_unused__in=UnusedTime.values,
                ),
                name="sellers_policies_known",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class NumberCounter(models.Model):
    """The last number given in one series of one seller and mode; locked while numbers are taken: no gaps."""

    seller = models.ForeignKey(Seller, on_delete=models.PROTECT, related_name="counters")
    series = models.CharField(max_length=20)
    livemode = models.BooleanField(default=False)
    last_number = models.BigIntegerField(default=0)

    class Meta:
        db_table = "number_counters"
        constraints = [
            models.UniqueConstraint(fields=["seller", "series", "livemode"], name="number_counters_once"),
            models.CheckConstraint(condition=Q(last_number__gte=0), name="number_counters_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.series} {self.last_number}"
