"""
Which seller bills an account: the one it was given, else the default of its organization.

Source: contract chapter Invoices; ADR 0045.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from django.conf import settings
from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import FilteredRelation, Q

from accounts.models import Account
from invoicing.models import Seller


@dataclass(frozen=True, slots=True)
class Sellers:
    """The sellers of some accounts, loaded together. Asking costs no query."""

    defaults: Mapping[str, Seller] = field(default_factory=dict)
    chosen: Mapping[uuid.UUID, Seller] = field(default_factory=dict)

    def of(self, account: Account) -> Seller:
        """
        Return the seller of an account that these were loaded for.

        A choice made for another organization, before the account moved, does not count.
        """
        seller = self.chosen.get(account.id)
        return seller if seller is not None and seller.org_id == account.org_id else self.defaults[account.org_id]


def find_sellers(accounts: Collection[Account]) -> Sellers:
    """
    Return the stored sellers of the accounts; organizations without one are missing. One query for all of them.

    An organization has few sellers; which accounts have been given to them comes along by the unique key on accounts.
    """
    ids = {account.id for account in accounts}
    rows = (
        Seller.objects.filter(org_id__in={account.org_id for account in accounts})
        .annotate(given=FilteredRelation("assignments", condition=Q(assignments__account_id__in=ids)))
        .annotate(account_ids=ArrayAgg("given__account_id", filter=Q(given__isnull=False), default=[]))
    )
    defaults: dict[str, Seller] = {}
    chosen: dict[uuid.UUID, Seller] = {}
    for seller in rows:
        if seller.is_default:
            defaults[seller.org_id] = seller
        chosen |= dict.fromkeys(seller.account_ids, seller)
    return Sellers(defaults, chosen)


def get_sellers(accounts: Iterable[Account]) -> Sellers:
    """Return the sellers of the accounts, with the product's defaults for organizations that have none stored."""
    wanted = list(accounts)
    found = find_sellers(wanted)
    # An organization that never issued anything has no seller row yet; its first invoice makes it like this.
    missing = {account.org_id: Seller(org_id=account.org_id, **settings.BILLING_COMPANY) for account in wanted}
    return Sellers(missing | dict(found.defaults), found.chosen)


def list_sellers(org_id: str) -> list[Seller]:
    """Return the sellers of an organization, the default first."""
    return list(Seller.objects.filter(org_id=org_id).order_by("-is_default", "name", "id"))
