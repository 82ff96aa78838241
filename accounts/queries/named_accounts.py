"""Many accounts at once by what callers call them, in one prepared query."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from accounts.models import Account, TestClock
from billing_site.kernel.model_rows import ModelRows
from billing_site.kernel.statements import prepared_cursor

_ACCOUNTS: Final = ModelRows(Account, "a")
_CLOCKS: Final = ModelRows(TestClock, "c")
_BY_NAME: Final = f"""
SELECT {_ACCOUNTS.columns}, {_CLOCKS.columns}
FROM accounts a LEFT JOIN test_clocks c ON c.id = a.test_clock_id
WHERE a.id = ANY($1::uuid[]) OR lower(a.external_id) = ANY(SELECT lower(name) FROM unnest($2::text[]) name)
"""  # noqa: S608 - columns of the models


class AccountBook:
    """Accounts by public id and external id, trimmed and in any case, with their test clocks."""

    def __init__(self, accounts: Iterable[Account]) -> None:
        self._by_id: dict[UUID, Account] = {account.pk: account for account in accounts}
        self._by_handle = {
            account.external_id.lower(): account for account in self._by_id.values() if account.external_id
        }

    def get(self, reference: str) -> Account | None:
        """Return the account that `reference` means, or None: also where only the database could tell."""
        key = Account.parse_id(reference)
        return self._by_id.get(key) if key is not None else self._by_handle.get(reference.strip().lower())


def load_named_accounts(references: Iterable[str]) -> AccountBook:
    """Return the accounts that `references` mean, whoever asks. One query."""
    keys, handles = [], []
    for reference in set(references):
        key = Account.parse_id(reference)
        if key is not None:
            keys.append(key)
        else:
            handles.append(reference.strip())
    with prepared_cursor(numbered=True) as cursor:
        cursor.execute(_BY_NAME, [keys, handles])
        return AccountBook(map(_read, cursor.fetchall()))


def _read(row: tuple[object, ...]) -> Account:
    account = _ACCOUNTS.read(row[: _ACCOUNTS.width])
    account.test_clock = _CLOCKS.read(row[_ACCOUNTS.width :]) if account.test_clock_id is not None else None
    return account
