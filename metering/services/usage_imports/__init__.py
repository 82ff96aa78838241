"""Imports of usage files: taken in, checked whole, written in batches that are resumed wherever they stopped."""

from metering.services.usage_imports.starting import (
    AccountNeeded,
    NewUsageImport,
    UsageFileInvalid,
    UsageFileRepeated,
    UsageImportFinished,
    cancel_import,
    describe_import,
    dispatch_import,
    start_import,
)
from metering.services.usage_imports.working import work_import

__all__ = [
    "AccountNeeded",
    "NewUsageImport",
    "UsageFileInvalid",
    "UsageFileRepeated",
    "UsageImportFinished",
    "cancel_import",
    "describe_import",
    "dispatch_import",
    "start_import",
    "work_import",
]
