"""What a document would sell, as rows that are not stored: for previews that price with them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from catalog.documents.content import CatalogContent, PlanEntry
from catalog.models import CatalogRevision, Feature, Meter, Plan, PlanVersion, Price, QuotaRule
from catalog.services.entries import build_prices, build_quotas, build_version
from catalog.services.publishing import PublishPreview


@dataclass(frozen=True, slots=True)
class ProposedVersion:
    """A version that publishing would add to a plan on sale. Nothing of it is stored."""

    plan: Plan
    entry: PlanEntry
    version: PlanVersion
    prices: list[Price]
    quotas: list[QuotaRule]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What publishing would do to the plans there are: versions it adds, plans it takes off sale."""

    changed: list[ProposedVersion]
    removed: list[Plan]


def propose_versions(*, org_id: str, preview: PublishPreview, at: datetime) -> Proposal:
    """Return the versions that publishing would add to plans with a version on sale. Three queries."""
    content = preview.content
    plans = {
        plan.key: plan
        for plan in Plan.objects.filter(org_id=org_id, is_active=True, current_version__isnull=False).select_related(
            "product", "current_version"
        )
    }
    entries = {entry.id: entry for entry in content.plans}
    meters = _build_meters(org_id, content)
    features = {each.key: each for each in Feature.objects.filter(org_id=org_id)}
    for name in {feature for entry in content.plans for feature in entry.features} - features.keys():
        features[name] = Feature(org_id=org_id, key=name)
    revision = CatalogRevision(org_id=org_id)
    changed = []
    for key, plan in plans.items():
        entry, current = entries.get(key), plan.current_version
        if entry is None or current is None:
            continue
        content_hash = entry.compute_content_hash()
        if content_hash == current.content_hash:
            continue
        version = build_version(entry, plan, current.version + 1, content_hash, revision=revision, at=at)
        prices = build_prices(entry, version, meters)
        changed.append(ProposedVersion(plan, entry, version, prices, build_quotas(entry, version, meters, features)))
    return Proposal(changed, [plan for key, plan in plans.items() if key not in entries])


def _build_meters(org_id: str, content: CatalogContent) -> dict[str, Meter]:
    """Return the stored meters that the document names, new ones beside them."""
    meters = {meter.event_name: meter for meter in Meter.objects.filter(org_id=org_id)}
    for entry in content.meters:
        if entry.event_name not in meters:
            meters[entry.event_name] = Meter(
                org_id=org_id,
                event_name=entry.event_name,
                display_name=entry.display_name,
                unit=entry.unit,
                aggregation=entry.aggregation_type,
            )
    return meters
