"""Whose catalog a caller means."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery

from accounts.queries.access import visible_accounts
from billing_site.kernel.actors import Principal
from catalog.queries.revisions import DEFAULT_ORG, list_candidates


def find_org(principal: Principal) -> str:
    """
    Return the organization of the caller: the token's, or that of a public caller's accounts when it is one.

    Everybody else means `default`.
    """
    if principal.is_internal:
        return principal.org or DEFAULT_ORG
    organizations = list(_list_orgs(principal))
    return organizations[0] if len(organizations) == 1 else DEFAULT_ORG


@dataclass(frozen=True, slots=True)
class OfferedCatalog:
    """The published catalog a caller is shown. `state` changes with every answer that may be made from it."""

    owner: str
    state: str


def find_offered_catalog(principal: Principal) -> OfferedCatalog | None:
    """Return the catalog the caller's organization sells from, or None before the first publication. One query."""
    if principal.is_internal:
        org_id = principal.org or DEFAULT_ORG
        found: dict[str, Any] = {row.org_id: row for row in list_candidates(org_ids=[org_id])}
    else:
        orgs = _list_orgs(principal)
        candidates = list_candidates(org_ids=orgs).annotate(callers=ArraySubquery(orgs))
        found = {row.org_id: row for row in candidates}
        callers: list[str] = next((row.callers for row in found.values()), [])
        org_id = callers[0] if len(callers) == 1 else DEFAULT_ORG
    revision = found.get(org_id) or found.get(DEFAULT_ORG)
    if revision is None:
        return None
    withheld = "\n".join(revision.withheld)
    suffix = f"-{hashlib.sha256(withheld.encode()).hexdigest()[:16]}" if withheld else ""
    return OfferedCatalog(revision.org_id, f"{revision.public_id}{suffix}")


def _list_orgs(principal: Principal) -> Any:
    """Return up to two organizations that the accounts of a public caller belong to."""
    return visible_accounts(principal).order_by("org_id").values_list("org_id", flat=True).distinct()[:2]
