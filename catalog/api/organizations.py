"""Whose catalog a caller means."""

from __future__ import annotations

from accounts.queries.access import visible_accounts
from billing_site.kernel.actors import Principal
from catalog.queries.revisions import DEFAULT_ORG


def find_org(principal: Principal) -> str:
    """
    Return the organization of the caller: the token's, or that of a public caller's accounts when it is one.

    Everybody else means `default`.
    """
    if principal.is_internal:
        return principal.org or DEFAULT_ORG
    organizations = list(visible_accounts(principal).order_by().values_list("org_id", flat=True).distinct()[:2])
    return organizations[0] if len(organizations) == 1 else DEFAULT_ORG
