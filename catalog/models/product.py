"""Products, meters and features: what a catalog document names and plans refer to."""

from __future__ import annotations

from django.db import models

from billing_site.platform.models.base import Identified, Timestamped


class CatalogObject(Identified, Timestamped):
    """Something a catalog document of one organization names. Never deleted, only made inactive."""

    org_id = models.CharField(max_length=100)
    is_active = models.BooleanField(default=True)

    class Meta:
        abstract = True


class Product(CatalogObject):
    id_prefix = "prod"

    key = models.CharField(max_length=100)
    name = models.CharField(max_length=255)
    description = models.TextField(blank=True)
    lookup_key = models.CharField(max_length=250)
    metadata = models.JSONField(default=dict, blank=True)

    class Meta:
        db_table = "products"
        ordering = ["key"]
        constraints = [models.UniqueConstraint(fields=["org_id", "key"], name="products_key_once")]

    def __str__(self) -> str:
        return self.name


class Aggregation(models.TextChoices):
    SUM = "sum"
    COUNT = "count"
    LAST = "last"
    MAX = "max"
    UNIQUE = "unique"


class ManagedBy(models.TextChoices):
    DOCUMENT = "document"
    API = "api", "API"


class Meter(CatalogObject):
    """
    What is counted. `event_name` is what callers send; quantities are `numeric(38,12)`.

    A meter comes from the catalog document, which also retires it, or was made on its own through the API. `currency`
    is what its maker named, if anything: prices and rules have their own.
    """

    id_prefix = "mtr"

    event_name = models.CharField(max_length=100)
    display_name = models.CharField(max_length=255)
    unit = models.CharField(max_length=50)
    aggregation = models.CharField(max_length=10, choices=Aggregation, default=Aggregation.SUM)
    dimensions = models.JSONField(default=list, blank=True)
    lookup_key = models.CharField(max_length=250)
    provider_settings = models.JSONField(default=dict, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    managed_by = models.CharField(max_length=8, choices=ManagedBy, default=ManagedBy.DOCUMENT)

    class Meta:
        db_table = "meters"
        ordering = ["event_name"]
        constraints = [models.UniqueConstraint(fields=["org_id", "event_name"], name="meters_event_name_once")]

    def __str__(self) -> str:
        return self.display_name


class Feature(CatalogObject):
    """A scope such as `llm:proxy` that a plan grants."""

    id_prefix = "feat"

    key = models.CharField(max_length=100)

    class Meta:
        db_table = "features"
        ordering = ["key"]
        constraints = [models.UniqueConstraint(fields=["org_id", "key"], name="features_key_once")]

    def __str__(self) -> str:
        return self.key
