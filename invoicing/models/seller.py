"""Who sells, and the counters that number its documents."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from billing_site.platform.models.base import Identified, Timestamped


class RoundingRule(models.TextChoices):
    HALF_UP = "half_up", "half away from zero"
    HALF_EVEN = "half_even", "half to even"


class Seller(Identified, Timestamped):
    """A legal entity that issues invoices for one organization."""

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
    footer = models.TextField(blank=True)

    class Meta:
        db_table = "sellers"
        ordering = ["org_id"]

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
