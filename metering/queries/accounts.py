"""Accounts that usage names, many at once."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Q, QuerySet
from django.db.models.functions import Lower

from accounts.models import Account
from accounts.queries.access import visible_accounts
from billing_site.kernel.actors import Principal


def find_accounts(principal: Principal, references: Iterable[str]) -> dict[str, Account]:
    """
    Return the accounts the caller may see, by the reference (public id or external id, in any case) they were named by.

    One query whatever their number. References that lead nowhere are absent.
    """
    return _find(visible_accounts(principal), references)


def find_accounts_of(org_id: str, references: Iterable[str]) -> dict[str, Account]:
    """Return the accounts of an organization (empty: of all), by reference, as `find_accounts` does."""
    accounts = Account.objects.select_related("test_clock")
    return _find(accounts.filter(org_id=org_id) if org_id else accounts, references)


def _find(accounts: QuerySet[Account], references: Iterable[str]) -> dict[str, Account]:
    asked = {reference: reference.strip().lower() for reference in references}
    keys = {text: key for text in asked.values() if (key := Account.parse_id(text)) is not None}
    handles = set(asked.values()) - keys.keys()
    found = list(accounts.alias(handle=Lower("external_id")).filter(Q(pk__in=keys.values()) | Q(handle__in=handles)))
    by_name: dict[object, Account] = {account.pk: account for account in found}
    by_name |= {account.external_id.lower(): account for account in found if account.external_id}
    return {
        reference: by_name[keys.get(text, text)] for reference, text in asked.items() if keys.get(text, text) in by_name
    }
