"""The lock that comes first: whoever changes an account's money, people or subscriptions holds its row."""

from __future__ import annotations

from uuid import UUID

from accounts.models import Account, AccountStatus
from billing_site.kernel.errors import InvalidState


def lock_account(account_id: UUID) -> Account:
    """Lock the account until the end of the transaction and return it as it is stored now."""
    return Account.objects.select_for_update(no_key=True).get(pk=account_id)


def lock_open_account(account_id: UUID) -> Account:
    """
    Lock the account and return it as it is stored now.

    :raises InvalidState: when it is closed.
    """
    account = lock_account(account_id)
    if account.status != AccountStatus.ACTIVE:
        raise InvalidState("The account is closed.", current_status=account.status)
    return account
