"""Imports of usage files."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q, QuerySet

from metering.models import UsageImport, UsageImportPhase, UsageImportStatus
from metering.models.usage_import import UNFINISHED_IMPORTS

STALE: Final = timedelta(minutes=1)


def list_imports(*, org_id: str | None) -> QuerySet[UsageImport]:
    """Return the imports that a caller of an organization (None: of all) asked for, newest first."""
    found = UsageImport.objects.select_related("account")
    return (found if org_id is None else found.filter(org_id=org_id)).order_by("-id")


def list_waiting_imports(*, at: datetime) -> list[uuid.UUID]:
    """Return unfinished imports on which nothing happened for a minute, oldest first: their worker may be gone."""
    rows = UsageImport.objects.filter(status__in=UNFINISHED_IMPORTS, updated_at__lte=at - STALE)
    return list(rows.order_by("id").values_list("id", flat=True))


def find_earlier_import(usage_import: UsageImport) -> UsageImport | None:
    """
    Return the last import before this one that counted lines of the same content, or None.

    Imports for two different accounts are two different things.
    """
    rows = UsageImport.objects.filter(
        file_hash=usage_import.file_hash, id__lt=usage_import.pk, phase=UsageImportPhase.WRITE, lines_done__gt=0
    )
    if usage_import.account_id is not None:
        rows = rows.filter(Q(account_id=usage_import.account_id) | Q(account__isnull=True))
    return rows.order_by("-id").first()


def was_counted_before(usage_import: UsageImport) -> bool:
    """Tell whether the import succeeded and every line of it had been counted already."""
    return (
        usage_import.status == UsageImportStatus.SUCCEEDED
        and not usage_import.check_only
        and usage_import.created_count == 0
    )
