"""Taking a usage file in, and calling its import off."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePath
from typing import Any, Final

from django.conf import settings
from django.db import transaction

from accounts.models import Account
from billing_client.usage_import.events import EventReader
from billing_client.usage_import.mapping import GENERIC
from billing_client.usage_import.rows import FileInvalid, read_columns
from billing_site.kernel import jobs
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, FieldError, NotFound
from billing_site.platform.services import events
from metering.models import UsageFileFormat, UsageImport, UsageImportStatus
from metering.queries.usage_imports import find_earlier_import
from metering.services.usage_imports.files import Intake, StoredUsageFile
from metering.services.usage_imports.lines import ACCOUNT

_FORMATS: Final = {
    ".csv": UsageFileFormat.CSV,
    ".jsonl": UsageFileFormat.JSON_LINES,
    ".ndjson": UsageFileFormat.JSON_LINES,
}


class UsageFileInvalid(DomainError):
    code, title, status = "usage_file_invalid", "This is no file of usage events", 400


class AccountNeeded(DomainError):
    code, title, status = "account_required", "Neither the import nor its lines name an account", 400


class UsageFileRepeated(DomainError):
    code, title, status = "usage_file_repeated", "The file was imported too long ago to be known line by line", 409


class UsageImportFinished(DomainError):
    code, title, status = "usage_import_finished", "The import is over", 409


@dataclass(frozen=True, slots=True)
class NewUsageImport:
    """
    What is asked for. `account` is for lines that name none; `org_id` limits the accounts lines may name, if not empty.

    `file_name` ends in .csv, .jsonl or .ndjson.
    """

    file_name: str
    account: Account | None = None
    org_id: str = ""
    check_only: bool = False
    reason: str = ""


@transaction.atomic
def start_import(*, new: NewUsageImport, content: Iterable[bytes], at: datetime, actor: Actor) -> UsageImport:
    """
    Store the file, look at its header, send a worker, and return the import.

    :raises UsageFileInvalid: for a file of another kind, an empty or a too large one, or one without the columns.
    :raises AccountNeeded: when the file has no column for it and `new` has no account.
    :raises UsageFileRepeated: if lines of the same content were counted longer ago than keys are known.
    """
    usage_import = UsageImport(
        org_id=new.org_id,
        account=new.account,
        file_name=PurePath(new.file_name.replace("\\", "/")).name[:255] or "usage",
        file_format=_find_format(new.file_name),
        file_hash="",
        size_bytes=0,
        check_only=new.check_only,
        requested_by=str(actor),
        reason=new.reason.strip()[:500],
        requested_at=at,
    )
    usage_import.save(force_insert=True)
    intake, limit = Intake(usage_import), settings.BILLING_USAGE_IMPORT_MAX_BYTES
    if not intake.store(content, maximum=limit):
        raise _refuse_file("file_too_large", f"The file is larger than {limit:,} bytes; send it in parts.")
    if not intake.size:
        raise _refuse_file("empty", "The file is empty.")
    usage_import.file_hash, usage_import.size_bytes = intake.digest, intake.size
    usage_import.save(update_fields=["file_hash", "size_bytes"])
    _check_header(usage_import)
    if not new.check_only:
        _check_repeat(usage_import, at)
    _emit("usage_import.started", usage_import, at=at, actor=actor)
    dispatch_import(usage_import)
    return usage_import


def _find_format(file_name: str) -> str:
    suffix = PurePath(file_name).suffix.lower()
    if suffix not in _FORMATS:
        raise _refuse_file("format_unknown", "The file's name ends in .csv, .jsonl or .ndjson.")
    return _FORMATS[suffix]


def _check_header(usage_import: UsageImport) -> None:
    file = StoredUsageFile(usage_import)
    try:
        EventReader(file, [GENERIC], usage_import.file_hash).check_columns()
        columns = read_columns(file)
    except FileInvalid as error:
        raise _refuse_file("header_invalid", f"{error}.") from error
    if columns is not None and ACCOUNT not in columns and usage_import.account is None:
        raise AccountNeeded(
            "The file has no column account: name the account that all of it is for.",
            errors=[FieldError("/account", "required", "Name the account that the file is for.")],
        )


def _check_repeat(usage_import: UsageImport, at: datetime) -> None:
    """Keys make a repeat harmless as long as they are known; after that only the content's hash tells."""
    earlier = find_earlier_import(usage_import)
    if earlier is None or earlier.started_at is None:
        return
    # A day to spare: the import itself may run over midnight.
    if earlier.started_at.date() <= at.date() - timedelta(days=settings.BILLING_USAGE_LOOKBACK_DAYS - 1):
        raise UsageFileRepeated(
            f"The same content was imported on {earlier.started_at:%Y-%m-%d} ({earlier.public_id}). Its keys are no "
            "longer known, so its lines would count twice. Send only what is new."
        )


def _refuse_file(code: str, detail: str) -> UsageFileInvalid:
    return UsageFileInvalid(detail, errors=[FieldError("/file", code, detail)])


@transaction.atomic
def cancel_import(*, import_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> UsageImport:
    """
    Stop an import behind the batch that is being written, and return it. What was written stays written.

    :raises NotFound: if there is none. :raises UsageImportFinished: if it is over.
    """
    found = UsageImport.objects.select_for_update(of=("self",)).select_related("account").filter(pk=import_id).first()
    if found is None:
        raise NotFound("usage_import")
    if not found.can_become(UsageImportStatus.CANCELED):
        raise UsageImportFinished(f"The import has {found.status} already.")
    end_import(found, UsageImportStatus.CANCELED, at=at, actor=actor, reason=reason)
    return found


def end_import(
    usage_import: UsageImport,
    status: str,
    *,
    at: datetime,
    actor: Actor,
    code: str = "",
    detail: str = "",
    reason: str = "",
) -> None:
    """
    Write how a locked import ended, and let its content go: results, errors and the file's hash stay.

    :raises UsageImportFinished: if it cannot end so.
    """
    if not usage_import.can_become(status):
        raise UsageImportFinished(f"An import that is {usage_import.status} cannot become {status}.")
    usage_import.status, usage_import.finished_at = status, at
    usage_import.error_code, usage_import.error_detail = code, detail
    usage_import.save()
    usage_import.chunks.all().delete()
    _emit(f"usage_import.{status}", usage_import, at=at, actor=actor, reason=reason)


def dispatch_import(usage_import: UsageImport) -> None:
    """Ring for a worker."""
    jobs.enqueue("metering.work_usage_import", import_id=str(usage_import.pk))


def describe_import(usage_import: UsageImport) -> dict[str, Any]:
    """Return what events say of an import."""
    return {
        "id": usage_import.public_id,
        "file_name": usage_import.file_name,
        "file_hash": usage_import.file_hash,
        "status": usage_import.status,
        "check_only": usage_import.check_only,
        "lines_total": usage_import.lines_total,
        "created": usage_import.created_count,
        "duplicates": usage_import.duplicate_count,
        "errors": usage_import.error_count,
    }


def _emit(type: str, usage_import: UsageImport, *, at: datetime, actor: Actor, reason: str = "") -> None:
    events.emit(
        type,
        subject=usage_import,
        account_id=usage_import.account_id,
        at=at,
        actor=actor,
        data=describe_import(usage_import),
        reason=reason or usage_import.reason,
    )
