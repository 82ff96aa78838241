"""Which accounts payment providers know, and by what name."""

from __future__ import annotations

from uuid import UUID

from accounts.models import Account
from invoicing.models import ProviderCustomer


def find_provider_customer(*, account_id: UUID, provider_type: str) -> ProviderCustomer | None:
    """Return the customer that an account is at a provider, or None."""
    return ProviderCustomer.objects.filter(account_id=account_id, provider_type=provider_type, is_deleted=False).first()


def find_account_of_customer(*, provider_type: str, ref: str) -> Account | None:
    """Return the account that a provider calls `ref`, or None."""
    found = ProviderCustomer.objects.select_related("account").filter(provider_type=provider_type, ref=ref).first()
    return None if found is None else found.account


def find_customer_ref(*, account_id: UUID, provider_type: str) -> str:
    """Return the provider's name of an account, empty where it has none."""
    found = find_provider_customer(account_id=account_id, provider_type=provider_type)
    return "" if found is None else found.ref
