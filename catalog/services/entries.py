"""Writing the rows behind a published document, with a number of queries that does not grow with it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from catalog.documents.content import CatalogContent, PlanEntry
from catalog.models import (
    CatalogRevision,
    Feature,
    ManagedBy,
    Meter,
    Plan,
    PlanVersion,
    PlanVersionFeature,
    Price,
    Product,
    QuotaRule,
)

_BATCH = 1_000
_Row = TypeVar("_Row", Product, Meter, Feature, Plan)


def store_content(
    content: CatalogContent, *, revision: CatalogRevision, at: datetime, kept_meters: Collection[str] = ()
) -> None:
    """
    Bring the organization's products, meters, features and plans to what a new revision says.

    `kept_meters` are event names that stay as they are when the revision does not name them.
    Runs in the transaction and under the lock of publishing.
    """
    org_id = revision.org_id
    products = _sync_rows(Product, "key", _read_products(content), org_id=org_id, at=at)
    meters = _sync_rows(Meter, "event_name", _read_meters(content), org_id=org_id, at=at, kept=kept_meters)
    named: dict[str, dict[str, Any]] = {feature: {} for plan in content.plans for feature in plan.features}
    features = _sync_rows(Feature, "key", named, org_id=org_id, at=at)
    wanted = {plan.id: {"product_id": products[plan.product_id].pk} for plan in content.plans}
    plans = _sync_rows(Plan, "key", wanted, org_id=org_id, at=at)
    _add_versions(content.plans, plans, meters, features, revision=revision, at=at)


def _read_products(content: CatalogContent) -> dict[str, dict[str, Any]]:
    return {
        product.id: {
            "name": product.name,
            "description": product.description,
            "lookup_key": product.lookup_key,
            "metadata": dict(product.metadata),
        }
        for product in content.products
    }


def _read_meters(content: CatalogContent) -> dict[str, dict[str, Any]]:
    return {
        meter.event_name: {
            "display_name": meter.display_name,
            "unit": meter.unit,
            "aggregation": meter.aggregation_type,
            "dimensions": list(meter.dimensions),
            "lookup_key": meter.lookup_key,
            "provider_settings": dict(meter.provider_settings),
            "managed_by": ManagedBy.DOCUMENT,
        }
        for meter in content.meters
    }


def _sync_rows(
    model: type[_Row],
    key: str,
    wanted: Mapping[str, Mapping[str, Any]],
    *,
    org_id: str,
    at: datetime,
    kept: Collection[str] = (),
) -> dict[str, _Row]:
    """Create what is new, update what differs, retire the rest but `kept`; return the named rows by key."""
    existing = {getattr(row, key): row for row in model.objects.filter(org_id=org_id)}
    created, changed = [], []
    for name, values in wanted.items():
        row = existing.get(name)
        if row is None:
            created.append(model(**{"org_id": org_id, key: name, **values}))
        elif _assign(row, {**values, "is_active": True}):
            changed.append(row)
    dropped = [row for name, row in existing.items() if name not in wanted and name not in kept]
    changed += [row for row in dropped if _assign(row, {"is_active": False})]
    model.objects.bulk_create(created, batch_size=_BATCH)
    if changed:
        for row in changed:
            row.updated_at = at
        columns = {"is_active", "updated_at", *(name for values in wanted.values() for name in values)}
        model.objects.bulk_update(changed, sorted(columns), batch_size=_BATCH)
    rows = {**existing, **{getattr(row, key): row for row in created}}
    return {name: rows[name] for name in wanted}


def _assign(row: Any, values: Mapping[str, Any]) -> bool:
    """Set attributes and tell whether one of them changed."""
    changed = False
    for name, value in values.items():
        if getattr(row, name) != value:
            setattr(row, name, value)
            changed = True
    return changed


def _add_versions(
    entries: Iterable[PlanEntry],
    plans: Mapping[str, Plan],
    meters: Mapping[str, Meter],
    features: Mapping[str, Feature],
    *,
    revision: CatalogRevision,
    at: datetime,
) -> None:
    """Give every plan whose content changed a new version with its prices, quotas and features."""
    current = PlanVersion.objects.in_bulk([plan.current_version_id for plan in plans.values()])
    added: list[tuple[PlanEntry, PlanVersion]] = []
    for entry in entries:
        plan = plans[entry.id]
        last = current.get(plan.current_version_id) if plan.current_version_id else None
        content_hash = entry.compute_content_hash()
        if last is None or last.content_hash != content_hash:
            number = last.version + 1 if last else 1
            added.append((entry, build_version(entry, plan, number, content_hash, revision=revision, at=at)))
    if not added:
        return
    PlanVersion.objects.bulk_create([version for _, version in added], batch_size=_BATCH)
    PlanVersionFeature.objects.bulk_create(
        [
            PlanVersionFeature(plan_version=version, feature=features[name], position=position)
            for entry, version in added
            for position, name in enumerate(entry.features)
        ],
        batch_size=_BATCH,
    )
    Price.objects.bulk_create(
        [price for entry, version in added for price in build_prices(entry, version, meters)], batch_size=_BATCH
    )
    QuotaRule.objects.bulk_create(
        [rule for entry, version in added for rule in build_quotas(entry, version, meters, features)],
        batch_size=_BATCH,
    )
    # Last: naming a version as current seals it.
    for _, version in added:
        version.plan.current_version = version
    Plan.objects.bulk_update([version.plan for _, version in added], ["current_version"], batch_size=_BATCH)


def build_version(
    entry: PlanEntry, plan: Plan, number: int, content_hash: str, *, revision: CatalogRevision, at: datetime
) -> PlanVersion:
    """Return the version a plan entry describes, not stored."""
    return PlanVersion(
        plan=plan,
        version=number,
        revision=revision,
        name=entry.name,
        description=entry.description,
        category=entry.category,
        feature_texts=list(entry.feature_texts),
        trial_period_days=entry.trial_period_days,
        proration=entry.proration,
        proration_basis=entry.proration_basis,
        price_per_seat=entry.price_per_seat,
        limits=dict(entry.limits),
        contact_sales=entry.contact_sales,
        popular=entry.popular,
        content_hash=content_hash,
        created_at=at,
    )


def build_prices(entry: PlanEntry, version: PlanVersion, meters: Mapping[str, Meter]) -> list[Price]:
    """Return the prices of a version, not stored."""
    return [
        Price(
            plan_version=version,
            currency=price.currency,
            interval=price.interval,
            interval_count=price.interval_count,
            billing_timing=price.billing_timing,
            model=price.model,
            unit_amount=price.unit_amount,
            options=price.options.as_dict(),
            meter=meters[price.meter] if price.meter else None,
            lookup_key=price.lookup_key,
        )
        for price in entry.prices
    ]


def build_quotas(
    entry: PlanEntry, version: PlanVersion, meters: Mapping[str, Meter], features: Mapping[str, Feature]
) -> list[QuotaRule]:
    """Return the quota rules of a version, not stored."""
    return [
        QuotaRule(
            plan_version=version,
            feature=features[quota.feature],
            meter=meters[quota.meter_event_name],
            window=quota.window,
            limit=Decimal(quota.limit),
            enforcement=quota.enforcement,
            overage_price=quota.overage_price,
            upgrade_plan_key=quota.upgrade_plan_id,
        )
        for quota in entry.quotas
    ]
