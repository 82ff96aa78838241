"""Quotas and reservations by their ids, for those who may see them."""

from __future__ import annotations

from accounts.queries.access import visible_accounts
from billing_site.kernel.actors import Principal
from billing_site.kernel.errors import DomainError, NotFound
from catalog.models import QuotaRule
from catalog.queries.revisions import list_owners
from metering.models import AccountQuota, QuotaReservation


class PlanQuotaReadOnly(DomainError):
    code, title, status = "plan_quota_read_only", "The limit comes from the catalog", 409


def get_account_quota(principal: Principal, quota_id: str) -> AccountQuota:
    """
    Return the account quota the caller names, with account and meter.

    :raises NotFound: when there is none, or its account is not visible to the caller.
    :raises PlanQuotaReadOnly: when the id is that of a quota of a plan the caller can see.
    """
    key = AccountQuota.parse_id(quota_id)
    if key is not None:
        rows = AccountQuota.objects.select_related("account__test_clock", "meter")
        quota = rows.filter(pk=key, account__in=visible_accounts(principal)).first()
        if quota is not None:
            return quota
    rule_id = QuotaRule.parse_id(quota_id)
    if rule_id is not None:
        rules = QuotaRule.objects.filter(pk=rule_id)
        if principal.org is not None:
            rules = rules.filter(plan_version__plan__org_id__in=list_owners(org_id=principal.org))
        if rules.exists():
            detail = "The limit comes from the plan: change the catalog, or give the account a quota of its own."
            raise PlanQuotaReadOnly(detail)
    raise NotFound("account_quota")


def get_reservation(principal: Principal, reservation_id: str) -> QuotaReservation:
    """
    Return the reservation the caller names, with account and meter.

    :raises NotFound: when there is none, or its account is not visible to the caller.
    """
    key = QuotaReservation.parse_id(reservation_id)
    rows = QuotaReservation.objects.select_related("account__test_clock", "meter")
    found = rows.filter(pk=key, account__in=visible_accounts(principal)).first() if key is not None else None
    if found is None:
        raise NotFound("quota_reservation")
    return found
