"""Handing out the billing data of an account, with a note of who took it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.db import transaction

from accounts.models import Account
from billing_site.kernel.actors import Actor
from billing_site.platform.services import events
from invoicing.queries.account_export import ExportDays, list_parts, zip_tables


def export_account(*, account: Account, at: datetime, actor: Actor) -> Iterator[bytes]:
    """Note in the account's history that its data was taken, and return a ZIP with a CSV file for each part."""
    with transaction.atomic():
        events.emit("account.exported", subject=account, account_id=account.pk, at=at, actor=actor)
    parts = list_parts(account, ExportDays(), now=at)
    return zip_tables((f"{name}.csv", table) for name, table in parts.items())
