"""The lock that comes first: whoever changes an account's money, people or subscriptions holds its row."""

from __future__ import annotations

from uuid import UUID

from accounts.models import Account, AccountStatus
from billing_site.kernel.errors import InvalidState


def lock_account(account_id: UUID) -> Account:
    """
    Lock the account until the end of the transaction and return it as it is stored now.

    Use cases that build on others lock it again; that is no query too many.
    :raises Account.DoesNotExist: if there is none.
    """
    found = list(Account.objects.select_for_update(no_key=True).filter(pk=account_id))
    if not found:
        raise Account.DoesNotExist(f"no account {account_id}")
    return found[0]


def lock_account_row(account_id: UUID) -> None:
    """Lock the account until the end of the transaction without reading it, for who reads it with something else."""
    list(Account.objects.select_for_update(no_key=True).filter(pk=account_id).values_list("pk", flat=True))


def lock_open_account(account_id: UUID) -> Account:
    """
    Lock the account and return it as it is stored now.

    :raises InvalidState: when it is closed.
    """
    account = lock_account(account_id)
    if account.status != AccountStatus.ACTIVE:
        raise InvalidState("The account is closed.", current_status=account.status)
    return account
