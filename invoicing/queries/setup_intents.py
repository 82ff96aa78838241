"""Setups that a caller may see."""

from __future__ import annotations

from django.db.models import QuerySet

from accounts.queries.access import WRITING_ROLES, require_role, visible_accounts
from billing_site.kernel.actors import Principal
from billing_site.kernel.errors import NotFound
from invoicing.models import SetupIntent


def visible_setups(principal: Principal) -> QuerySet[SetupIntent]:
    """Return the setups of the accounts a caller may see."""
    setups = SetupIntent.objects.select_related("account__test_clock", "payment_method")
    return setups.filter(account__in=visible_accounts(principal))


def get_visible_setup(principal: Principal, setup_intent_id: str, *, write: bool = False) -> SetupIntent:
    """
    Return one setup.

    :raises NotFound: when it is unknown, or not visible to the caller.
    :raises AccountForbidden: with `write`, for a public caller that only reads.
    """
    key = SetupIntent.parse_id(setup_intent_id)
    found = None if key is None else visible_setups(principal).filter(pk=key).first()
    if found is None:
        raise NotFound("setup_intent")
    if write:
        require_role(principal, found.account, WRITING_ROLES)
    return found
