"""Who used what is billed: the quantities of cost centers, for many lines at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from accounts.models import CostCenter
from invoicing.calculation.centers import CenterFacts
from metering.stores import CenterQuantity, CenterRequest, sum_centers


def load_center_facts(requests: Sequence[CenterRequest]) -> list[tuple[CenterFacts, ...]]:
    """
    Return what each center used, for each request in the same order: by code, usage without a center last.

    Nothing where no event names a center. Two queries, none without requests.
    """
    sums = sum_centers(requests)
    named = {found.center_id for group in sums for found in group if found.center_id is not None}
    centers = CostCenter.objects.in_bulk(named) if named else {}
    return [_describe(group, centers) if any(found.center_id for found in group) else () for group in sums]


def _describe(group: Sequence[CenterQuantity], centers: Mapping[UUID, CostCenter]) -> tuple[CenterFacts, ...]:
    described = []
    for found in group:
        center = None if found.center_id is None else centers[found.center_id]
        identity = ("", "", "") if center is None else (center.public_id, center.code, center.name)
        described.append(CenterFacts(*identity, found.quantity))
    return tuple(sorted(described, key=lambda each: (not each.id, each.code.lower())))
