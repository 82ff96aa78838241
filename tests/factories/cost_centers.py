"""Cost centers, made through the service."""

from __future__ import annotations

from typing import Any

from accounts.models import Account, CostCenter
from accounts.services.cost_centers import create_cost_center
from tests.factories.accounts import ACTOR, AT


def make_cost_center(
    account: Account, code: str = "ops", *, parent: CostCenter | None = None, **values: Any
) -> CostCenter:
    """Add a center to an account, at the top or below `parent`."""
    values = {"name": code.title(), "at": AT, "actor": ACTOR, **values}
    return create_cost_center(account=account, code=code, parent_id=None if parent is None else parent.pk, **values)


def make_branch(account: Account, *codes: str) -> list[CostCenter]:
    """Add centers each below the one before."""
    centers: list[CostCenter] = []
    for code in codes:
        centers.append(make_cost_center(account, code, parent=centers[-1] if centers else None))
    return centers
