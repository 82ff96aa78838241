"""Plans, their immutable versions, prices and quota rules."""

from __future__ import annotations

import pgtrigger
from django.db import models
from django.db.models import Q

from billing_site.platform.models.base import Identified
from billing_site.platform.models.triggers import StrictTrigger, append_only_triggers
from catalog.models.product import CatalogObject, Feature, Meter, Product
from catalog.models.revision import CatalogRevision

_SEALED = """
IF EXISTS (
    SELECT FROM plan_versions AS own
    JOIN plans ON plans.id = own.plan_id
    JOIN plan_versions AS sold ON sold.id = plans.current_version_id
    WHERE own.id = NEW.plan_version_id AND sold.version >= own.version
) THEN
    RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
        MESSAGE = format('%s of a published plan version are sealed: INSERT refused', TG_TABLE_NAME),
        TABLE = '{table}', CONSTRAINT = '{table}_sealed';
END IF;
RETURN NEW;
"""


def sealed_triggers(table: str) -> list[pgtrigger.Trigger]:
    """
    Return triggers for the parts of a plan version: append-only, and nothing is added once the version is on sale.

    A version goes on sale when its plan's `current_version` names it, which publishing does last.
    """
    return [
        *append_only_triggers(table),
        StrictTrigger(
            name="sealed_rows",
            when=pgtrigger.Before,
            operation=pgtrigger.Insert,
            level=pgtrigger.Row,
            func=_SEALED.replace("{table}", table),
        ),
    ]


class ProrationUnit(models.TextChoices):
    DAY = "day", "by day"
    SECOND = "second", "by second"
    NONE = "none", "full periods only"


class ProrationBasis(models.TextChoices):
    ACTUAL = "actual", "its real length"
    FIXED_30 = "fixed_30", "30 days a month"


class Plan(CatalogObject):
    """The name under which versions are sold. Subscriptions pin a version, never the plan."""

    id_prefix = "plan"

    key = models.CharField(max_length=100)
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="plans")
    current_version = models.ForeignKey(
        "PlanVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        db_table = "plans"
        ordering = ["key"]
        constraints = [models.UniqueConstraint(fields=["org_id", "key"], name="plans_key_once")]

    def __str__(self) -> str:
        return self.key


class PlanVersion(Identified):
    """
    What a plan was from one publication on. Immutable, with its prices and quota rules.

    `proration` and `proration_basis` are blank where the seller's hold.
    """

    id_prefix = "plv"

    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="versions")
    version = models.PositiveIntegerField()
    revision = models.ForeignKey(CatalogRevision, on_delete=models.PROTECT, related_name="plan_versions")
    name = models.CharField(max_length=255)
    description = models.TextField(blank=True)
    category = models.CharField(max_length=100, blank=True)
    feature_texts = models.JSONField(default=list, blank=True)
    features = models.ManyToManyField(Feature, through="PlanVersionFeature", related_name="plan_versions", blank=True)
    trial_period_days = models.PositiveIntegerField(null=True, blank=True)
    proration = models.CharField(max_length=6, choices=ProrationUnit, blank=True)
    proration_basis = models.CharField(max_length=8, choices=ProrationBasis, blank=True)
    price_per_seat = models.BooleanField(default=False)
    limits = models.JSONField(default=dict, blank=True)
    contact_sales = models.BooleanField(default=False)
    popular = models.BooleanField(default=False)
    content_hash = models.CharField(max_length=64)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "plan_versions"
        ordering = ["plan", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["plan", "version"], name="plan_versions_number_once"),
            models.CheckConstraint(
                condition=Q(proration__in=["", *ProrationUnit.values]), name="plan_versions_proration_known"
            ),
            models.CheckConstraint(
                condition=Q(proration_basis__in=["", *ProrationBasis.values]), name="plan_versions_basis_known"
            ),
        ]
        triggers = append_only_triggers("plan_versions")

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"


class PlanVersionFeature(models.Model):
    """That a plan version grants a feature; as immutable as the version. `position` keeps the document's order."""

    plan_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, related_name="feature_links")
    feature = models.ForeignKey(Feature, on_delete=models.PROTECT, related_name="version_links")
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        db_table = "plan_version_features"
        ordering = ["position", "id"]
        constraints = [models.UniqueConstraint(fields=["plan_version", "feature"], name="plan_version_features_once")]
        triggers = sealed_triggers("plan_version_features")

    def __str__(self) -> str:
        return f"{self.plan_version_id} {self.feature_id}"


class PriceModel(models.TextChoices):
    FLAT = "flat"
    PER_UNIT = "per_unit"
    GRADUATED = "graduated"
    VOLUME = "volume"
    PACKAGE = "package"
    PERCENTAGE = "percentage"
    GRADUATED_PERCENTAGE = "graduated_percentage"
    STAIRSTEP = "stairstep"
    DYNAMIC = "dynamic"


# Models a fee may have: those that price the subscribed quantity.
FEE_MODELS = ("flat", "per_unit", "graduated", "volume", "package", "stairstep")
# Models whose price is one amount; the others keep theirs in `options`.
AMOUNT_MODELS = ("flat", "per_unit", "package")


class PriceInterval(models.TextChoices):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


class BillingTiming(models.TextChoices):
    ADVANCE = "advance"
    ARREARS = "arrears"


class Price(Identified):
    """
    A fee (no meter: for the whole interval, by subscribed quantity) or a usage price (meter: for what was counted).

    `unit_amount` is exact minor units with up to 12 decimals, null for models without one; `options` is everything else
    the model needs, in the form of `catalog.pricing.terms.PriceOptions`. Usage is always billed in arrears.
    """

    id_prefix = "price"

    plan_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, related_name="prices")
    currency = models.CharField(max_length=3)
    interval = models.CharField(max_length=5, choices=PriceInterval)
    interval_count = models.PositiveSmallIntegerField(default=1)
    billing_timing = models.CharField(max_length=7, choices=BillingTiming)
    model = models.CharField(max_length=20, choices=PriceModel)
    unit_amount = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    options = models.JSONField(default=dict, blank=True)
    meter = models.ForeignKey(Meter, null=True, blank=True, on_delete=models.PROTECT, related_name="prices")
    lookup_key = models.CharField(max_length=250)

    class Meta:
        db_table = "prices"
        ordering = ["currency", "interval", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["plan_version", "currency", "interval", "interval_count"],
                condition=Q(meter__isnull=True),
                name="prices_one_fee_per_interval",
            ),
            models.UniqueConstraint(
                fields=["plan_version", "currency", "interval", "interval_count", "meter"],
                condition=Q(meter__isnull=False),
                name="prices_one_per_meter_and_interval",
            ),
            models.CheckConstraint(condition=Q(unit_amount__gte=0), name="prices_unit_amount_not_negative"),
            models.CheckConstraint(condition=Q(interval_count__gte=1), name="prices_interval_count_positive"),
            models.CheckConstraint(
                condition=Q(meter__isnull=True, model__in=FEE_MODELS)
                | Q(meter__isnull=False, billing_timing="arrears"),
                name="prices_usage_in_arrears",
            ),
            models.CheckConstraint(
                condition=~Q(model__in=AMOUNT_MODELS) | Q(unit_amount__isnull=False), name="prices_amount_given"
            ),
        ]
        triggers = sealed_triggers("prices")

    def __str__(self) -> str:
        return self.lookup_key

    @property
    def is_metered(self) -> bool:
        return self.meter_id is not None


class QuotaWindow(models.TextChoices):
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    BILLING_PERIOD = "billing_period"
    TOTAL = "total"


class Enforcement(models.TextChoices):
    HARD = "hard"
    SOFT = "soft"


class QuotaRule(Identified):
    """How much of a meter a plan version allows in a window. No rule means unlimited."""

    id_prefix = "qr"

    plan_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, related_name="quota_rules")
    feature = models.ForeignKey(Feature, on_delete=models.PROTECT, related_name="quota_rules")
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="quota_rules")
    window = models.CharField(max_length=14, choices=QuotaWindow)
    limit = models.DecimalField(max_digits=38, decimal_places=12)
    enforcement = models.CharField(max_length=4, choices=Enforcement, default=Enforcement.HARD)
    overage_price = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    upgrade_plan_key = models.CharField(max_length=100, blank=True)

    class Meta:
        db_table = "quota_rules"
        ordering = ["feature", "window"]
        constraints = [
            models.UniqueConstraint(
                fields=["plan_version", "feature", "meter", "window"], name="quota_rules_one_per_window"
            ),
            models.CheckConstraint(condition=Q(limit__gt=0), name="quota_rules_limit_positive"),
        ]
        triggers = sealed_triggers("quota_rules")

    def __str__(self) -> str:
        return f"{self.feature_id} {self.limit.normalize():f} per {self.window}"
