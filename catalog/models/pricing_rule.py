"""Pricing rules: what a meter costs outside the prices of a plan."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from billing_site.platform.models.base import Identified, Timestamped
from catalog.models.product import Meter
from catalog.models.promises import kept_promise_triggers


class RuleModel(models.TextChoices):
    PER_UNIT = "per_unit"
    TIERED = "tiered"
    VOLUME = "volume"


class PricingRule(Identified, Timestamped):
    """
    The price of a meter for the plan `plan_key`, or for every plan when that is empty.

    `unit_price` is exact minor units per unit of the meter. `tiers` is a list of `{"up_to", "price", "flat"}`: decimal
    texts, `up_to` the inclusive cumulative bound and null in the last one, `flat` whole minor units. In force from
    `valid_from` until `closed_at`; a rule is never changed and never removed, so periods keep the price they had.
    Source: contract chapter Pricing.
    """

    id_prefix = "rule"

    org_id = models.CharField(max_length=100)
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="pricing_rules")
    plan_key = models.CharField(max_length=100, blank=True)
    model = models.CharField(max_length=8, choices=RuleModel, default=RuleModel.PER_UNIT)
    currency = models.CharField(max_length=3)
    unit_price = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    tiers = models.JSONField(default=list, blank=True)
    valid_from = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "pricing_rules"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["org_id", "meter", "plan_key", "currency"],
                condition=Q(closed_at__isnull=True),
                name="pricing_rules_one_open",
            ),
            models.CheckConstraint(condition=~Q(currency=""), name="pricing_rules_currency_given"),
            models.CheckConstraint(
                condition=Q(unit_price__isnull=True) | Q(unit_price__gte=0), name="pricing_rules_price_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(model="per_unit", unit_price__isnull=False, tiers=[])
                | (Q(model__in=("tiered", "volume"), unit_price__isnull=True) & ~Q(tiers=[])),
                name="pricing_rules_price_fits_model",
            ),
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True) | Q(closed_at__gte=F("valid_from")),
                name="pricing_rules_closed_after_start",
            ),
        ]
        indexes = [models.Index(fields=["org_id", "-id"], name="pricing_rules_org_newest")]  # the rules in force
        triggers = kept_promise_triggers("pricing_rules", may_change=("closed_at",), once="OLD.closed_at IS NOT NULL")

    def __str__(self) -> str:
        return f"{self.meter.event_name} for {self.plan_key or 'every plan'} in {self.currency.upper()}"

    @property
    def is_open(self) -> bool:
        return self.closed_at is None
