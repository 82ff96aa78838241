"""Plans on offer, with their version, prices, quotas and features, in a constant number of queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import CharField, F, OuterRef, Prefetch, QuerySet
from django.db.models.functions import Cast, JSONObject

from billing_site.kernel.errors import DomainError
from catalog.models import Plan, PlanVersion, PlanVersionFeature, Price, QuotaRule
from catalog.pricing.engine import price_quantity
from catalog.pricing.terms import ZERO, PriceOptions, PriceTerms
from catalog.queries.revisions import find_catalog_org


class PlanNotFound(DomainError):
    code, title, status = "plan_not_found", "No such plan on offer", 404


def get_sellable_plan(*, org_id: str, key: str) -> PlanVersion:
    """
    Return the version of plan `key` that new subscriptions get, with plan, product and prices (and their meters).

    Looks in the catalog of the organization, or in that of `default` when it has none. Keys are case-sensitive.
    :raises PlanNotFound: if the active catalog does not have it, or its product is archived.
    """
    owner = find_catalog_org(org_id=org_id)
    on_offer = {"plan__is_active": True, "plan__product__is_active": True}
    version = (
        PlanVersion.objects.filter(plan__org_id=owner, plan__key=key, **on_offer)
        .filter(pk__in=Plan.objects.filter(org_id=owner, key=key).values("current_version"))
        .select_related("plan__product", "revision")
        .prefetch_related(Prefetch("prices", Price.objects.select_related("meter")))
        .defer("revision__document")
        .first()
    )
    if version is None:
        raise PlanNotFound(f"The catalog has no plan {key[:100]!r}.")
    return version


@dataclass(frozen=True, slots=True)
class ListedPrice:
    """A price as a plan list shows it. Amounts are exact minor units; `options` is in the form of the document."""

    currency: str
    unit_amount: Decimal | None
    options: Mapping[str, Any]
    model: str
    meter: str | None
    unit: str | None
    interval: str
    interval_count: int
    billing_timing: str
    lookup_key: str

    @property
    def is_metered(self) -> bool:
        return self.meter is not None

    def compute_unit_fee(self) -> Decimal:
        """Return what one subscribed unit costs per interval: exact minor units. For fees."""
        terms = PriceTerms(
            price_id="",
            model=self.model,
            currency=self.currency,
            unit_amount=ZERO if self.unit_amount is None else self.unit_amount,
            meter=self.meter,
            unit=self.unit,
            interval=self.interval,
            interval_count=self.interval_count,
            billing_timing=self.billing_timing,
            lookup_key=self.lookup_key,
            options=PriceOptions.from_dict(self.options),
        )
        return price_quantity(terms, Decimal(1)).amount_decimal


@dataclass(frozen=True, slots=True)
class ListedQuota:
    """A quota as a plan list shows it. `overage_price` is exact minor units per unit."""

    feature: str
    meter_event_name: str
    window: str
    limit: int
    enforcement: str
    overage_price: Decimal | None
    upgrade_plan_id: str


@dataclass(frozen=True, slots=True)
class ListedPlan:
    """A plan with everything a plan list shows, read in one query."""

    plan: Plan
    version: PlanVersion
    prices: tuple[ListedPrice, ...] = ()
    quotas: tuple[ListedQuota, ...] = ()
    features: tuple[str, ...] = field(default=())

    @property
    def is_on_offer(self) -> bool:
        return self.plan.is_active and self.plan.product.is_active


def list_plans(*, catalog_org: str, include_inactive: bool = False) -> QuerySet[Plan]:
    """
    Return the plans of one catalog, each ready for `read_listed_plan`. One query, however many there are.

    `catalog_org` is the organization whose catalog it is; see `find_catalog_org`.
    """
    plans = Plan.objects.filter(org_id=catalog_org, current_version__isnull=False)
    if not include_inactive:
        plans = plans.filter(is_active=True, product__is_active=True)
    of_version = {"plan_version": OuterRef("current_version")}
    prices = Price.objects.filter(**of_version).order_by("id")
    quotas = QuotaRule.objects.filter(**of_version).order_by("feature__key", "window", "id")
    features = PlanVersionFeature.objects.filter(**of_version).order_by("position", "id")
    return plans.select_related("product", "current_version").annotate(
        listed_prices=ArraySubquery(prices.values(entry=_PRICE)),
        listed_quotas=ArraySubquery(quotas.values(entry=_QUOTA)),
        listed_features=ArraySubquery(features.values("feature__key")),
    )


def read_listed_plan(plan: Plan) -> ListedPlan:
    """Return what a plan list shows of a plan that `list_plans` found."""
    if plan.current_version is None:
        raise TypeError("a plan is listed with its version")
    found: Any = plan
    return ListedPlan(
        plan=plan,
        version=plan.current_version,
        prices=tuple(
            ListedPrice(**{**entry, "unit_amount": _read_decimal(entry["unit_amount"])})
            for entry in found.listed_prices
        ),
        quotas=tuple(
            ListedQuota(
                **{
                    **entry,
                    "limit": int(Decimal(entry["limit"])),
                    "overage_price": _read_decimal(entry["overage_price"]),
                }
            )
            for entry in found.listed_quotas
        ),
        features=tuple(found.listed_features),
    )


def get_plan(*, org_id: str, key: str) -> ListedPlan:
    """
    Return a plan on offer by key, with everything a plan list shows.

    :raises PlanNotFound: if the active catalog does not have it, or its product is archived.
    """
    plan = list_plans(catalog_org=find_catalog_org(org_id=org_id)).filter(key=key).first()
    if plan is None:
        raise PlanNotFound(f"The catalog has no plan {key[:100]!r}.")
    return read_listed_plan(plan)


def _as_text(name: str) -> Cast:
    """A number in JSON would come back as a binary fraction; text keeps every digit."""
    return Cast(name, CharField())


def _read_decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


_PRICE = JSONObject(
    currency="currency",
    unit_amount=_as_text("unit_amount"),
    options="options",
    model="model",
    meter="meter__event_name",
    unit="meter__unit",
    interval="interval",
    interval_count="interval_count",
    billing_timing="billing_timing",
    lookup_key="lookup_key",
)
_QUOTA = JSONObject(
    feature="feature__key",
    meter_event_name="meter__event_name",
    window="window",
    limit=_as_text("limit"),
    enforcement="enforcement",
    overage_price=_as_text("overage_price"),
    upgrade_plan_id=F("upgrade_plan_key"),
)
