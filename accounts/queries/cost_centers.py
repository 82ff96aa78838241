"""
The cost centers of an account: as a list, as a tree, one by its id.

Source: contract chapter Cost centers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Lower

from accounts.models import Account, CostCenter
from accounts.queries.access import WRITING_ROLES, require_role, visible_accounts
from billing_site.kernel.actors import Principal
from billing_site.kernel.errors import NotFound


@dataclass(frozen=True, slots=True)
class CostCenterNode:
    """A center in its tree; a root has depth 0."""

    center: CostCenter
    depth: int


@dataclass(frozen=True, slots=True)
class CostCenterTree:
    """Centers of one account, each before those below it; siblings by name, then code."""

    nodes: tuple[CostCenterNode, ...]

    def list_subtree(self, center_id: UUID) -> list[CostCenter]:
        """Return a center and everything below it; nothing when it is not in the tree."""
        found: list[CostCenter] = []
        floor: int | None = None
        for node in self.nodes:
            if floor is not None and node.depth <= floor:
                break
            if node.center.pk == center_id:
                floor = node.depth
            if floor is not None:
                found.append(node.center)
        return found


def load_tree(account_id: UUID) -> CostCenterTree:
    """Return the account's tree. One query, however deep it is."""
    return build_tree(CostCenter.objects.filter(account_id=account_id))


def build_tree(centers: Iterable[CostCenter]) -> CostCenterTree:
    """Return centers of one account in the order of their tree; one whose parent is not given stands as a root."""
    given = sorted(centers, key=lambda center: (center.name.lower(), center.code.lower()), reverse=True)
    known = {center.pk for center in given}
    below: dict[UUID | None, list[CostCenter]] = {}
    for center in given:
        below.setdefault(center.parent_id if center.parent_id in known else None, []).append(center)
    nodes: list[CostCenterNode] = []
    waiting = [CostCenterNode(center, 0) for center in below.get(None, ())]
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        waiting += [CostCenterNode(child, node.depth + 1) for child in below.get(node.center.pk, ())]
    return CostCenterTree(tuple(nodes))


def list_cost_centers(
    *, account: Account, active: bool | None = None, parent_id: UUID | None = None
) -> QuerySet[CostCenter]:
    """Return the centers of an account; `parent_id`: only those directly below it."""
    centers = CostCenter.objects.filter(account=account).select_related("account", "parent")
    if active is not None:
        centers = centers.filter(is_active=active)
    return centers if parent_id is None else centers.filter(parent_id=parent_id)


def get_cost_center(principal: Principal, reference: str, *, write: bool = False) -> CostCenter:
    """
    Return a center by its id.

    :raises NotFound: when there is none, or the caller does not see its account.
    :raises AccountForbidden: with `write`, when a public caller only reads on that account.
    """
    key = CostCenter.parse_id(reference)
    accounts = visible_accounts(principal).order_by()
    rows = CostCenter.objects.filter(account__in=accounts).select_related("account__test_clock", "parent")
    center = None if key is None else rows.filter(pk=key).first()
    if center is None:
        raise NotFound("cost_center")
    if write:
        require_role(principal, center.account, WRITING_ROLES)
    return center


class CostCenterBook:
    """Centers of some accounts by id and code, as usage names them."""

    def __init__(self, centers: Iterable[CostCenter] = ()) -> None:
        self._centers: dict[tuple[UUID, UUID | str], CostCenter] = {}
        for center in centers:
            self._centers[center.account_id, center.pk] = center
            self._centers[center.account_id, center.code.lower()] = center

    def get(self, account_id: UUID, name: str) -> CostCenter | None:
        """Return the account's center with this id or code (in any case), retired or not, or None."""
        text = name.strip()
        return self._centers.get((account_id, CostCenter.parse_id(text) or text.lower()))


def load_named_centers(names: Mapping[UUID, Collection[str]]) -> CostCenterBook:
    """Return the centers that accounts may mean by `names`, ids or codes by account. One query, none without names."""
    if not names:
        return CostCenterBook()
    texts = {text.strip() for given in names.values() for text in given}
    keys = {text: key for text in texts if (key := CostCenter.parse_id(text)) is not None}
    codes = [Lower(Value(text)) for text in sorted(texts - keys.keys())]
    centers = CostCenter.objects.filter(account_id__in=names.keys()).alias(lower_code=Lower("code"))
    return CostCenterBook(centers.filter(Q(pk__in=keys.values()) | Q(lower_code__in=codes)).order_by())


def describe_cost_center(center: CostCenter) -> dict[str, Any]:
    """Return what an event stores: the center after the change, with public ids."""
    return {
        "id": center.public_id,
        "name": center.name,
        "code": center.code,
        "description": center.description,
        "parent_id": None if center.parent is None else center.parent.public_id,
        "budget": center.budget,
        "currency": center.currency,
        "is_active": center.is_active,
    }
