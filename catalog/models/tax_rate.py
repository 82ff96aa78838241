"""Tax rates of countries and their states."""

from __future__ import annotations

from datetime import date

from django.db import models
from django.db.models import F, Q

from billing_site.platform.models.base import Identified, Timestamped
from catalog.models.promises import kept_promise_triggers


class TaxRate(Identified, Timestamped):
    """
    A share of the price that a place asks for, by date.

    `rate` is a fraction (0.19 is 19 %). `state` is empty for a whole country. It holds on the days from `valid_from`
    to `valid_to`, both included, null meaning without end; ending it early sets `ended_on`, the first day on which it
    no longer holds. Nothing else ever changes: invoices were computed with it.
    Source: contract chapter Tax.
    """

    id_prefix = "txr"

    org_id = models.CharField(max_length=100)
    name = models.CharField(max_length=255)
    code = models.CharField(max_length=50, blank=True)
    rate = models.DecimalField(max_digits=13, decimal_places=12)
    country = models.CharField(max_length=2)
    state = models.CharField(max_length=100, blank=True)
    inclusive = models.BooleanField(default=False)
    combinable = models.BooleanField(default=True)
    is_default = models.BooleanField(default=False)
    valid_from = models.DateField(null=True, blank=True)
    valid_to = models.DateField(null=True, blank=True)
    ended_on = models.DateField(null=True, blank=True)

    class Meta:
        db_table = "tax_rates"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(rate__gte=0, rate__lte=1), name="tax_rates_rate_is_fraction"),
            models.CheckConstraint(condition=Q(country__regex=r"^[A-Z]{2}$"), name="tax_rates_country_code"),
            models.CheckConstraint(condition=~Q(name=""), name="tax_rates_name_given"),
            models.CheckConstraint(
                condition=Q(valid_from__isnull=True) | Q(valid_to__isnull=True) | Q(valid_from__lte=F("valid_to")),
                name="tax_rates_valid_in_order",
            ),
        ]
        indexes = [models.Index(fields=["org_id", "country"], name="tax_rates_place")]  # the rates of a place
        triggers = kept_promise_triggers(
            "tax_rates", may_change=("ended_on",), once="OLD.ended_on IS NOT NULL", deletable="true"
        )

    def __str__(self) -> str:
        return self.name

    @property
    def jurisdiction(self) -> str:
        """The place as documents name it: `US-CA`, `DE`."""
        return f"{self.country}-{self.state}" if self.state else self.country

    def holds_on(self, day: date) -> bool:
        """Tell whether the rate is valid on a day of the place."""
        begun = self.valid_from is None or self.valid_from <= day
        over = (self.valid_to is not None and self.valid_to < day) or (
            self.ended_on is not None and self.ended_on <= day
        )
        return begun and not over
