"""What commands over a month are given: the month, and accounts."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from django.core.management.base import CommandError

from accounts.models import Account
from accounts.queries.access import find_account
from invoicing.queries.period_invoices import Month


def read_month(text: str) -> Month:
    """Return the month. :raises CommandError: for anything but 2026-10."""
    try:
        return Month.parse(text)
    except ValueError as error:
        raise CommandError("--period is a month such as 2026-10.") from error


def read_accounts(references: Iterable[str]) -> list[uuid.UUID]:
    """Return the accounts by id or external id. :raises CommandError: for one that there is not."""
    found = []
    for reference in references:
        account = find_account(Account.objects.all(), reference)
        if account is None:
            raise CommandError(f"No account {reference}.")
        found.append(account.pk)
    return found
