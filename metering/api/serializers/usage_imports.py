"""Imports of usage files as the API shows them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing_site.api.fields import AccountRefField, TimestampField
from metering.models import UsageImport, UsageImportError, UsageImportStatus
from metering.queries.usage_imports import find_earlier_import, was_counted_before


class UsageImportParameters(serializers.Serializer[Any]):
    file_name = serializers.CharField(
        required=False, max_length=255, help_text="Ends in .csv, .jsonl or .ndjson; default by the Content-Type."
    )
    account = AccountRefField(required=False, help_text="For lines that name no account themselves.")
    check_only = serializers.BooleanField(default=False, help_text="Check every line and write nothing.")
    reason = serializers.CharField(required=False, max_length=500)


class UsageImportQuery(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=UsageImportStatus.values, required=False)


class UsageImportSerializer(serializers.Serializer[UsageImport]):
    """A file of usage: checked whole, then written in batches."""

    id = serializers.CharField(source="public_id")
    status = serializers.ChoiceField(choices=UsageImportStatus.choices)
    phase = serializers.CharField(help_text="check, then write.")
    file_name = serializers.CharField()
    file_format = serializers.CharField(help_text="csv or jsonl.")
    file_hash = serializers.CharField(help_text="SHA-256 of the content; part of the keys of lines without their own.")
    size_bytes = serializers.IntegerField()
    account_id = serializers.SerializerMethodField()
    check_only = serializers.BooleanField()
    lines_total = serializers.IntegerField(allow_null=True, help_text="Null until every line was checked.")
    lines_done = serializers.IntegerField(help_text="Of the present phase.")
    created = serializers.IntegerField(source="created_count")
    duplicates = serializers.IntegerField(source="duplicate_count")
    counted_before = serializers.SerializerMethodField(help_text="It succeeded, and every line was a duplicate.")
    error_count = serializers.IntegerField(help_text="Lines that are wrong; the first 1,000 are listed.")
    error_code = serializers.SerializerMethodField()
    error_detail = serializers.CharField()
    requested_by = serializers.CharField()
    reason = serializers.CharField()
    requested_at = TimestampField()
    started_at = TimestampField(allow_null=True)
    finished_at = TimestampField(allow_null=True)

    def get_account_id(self, row: UsageImport) -> str | None:
        return row.account.public_id if row.account is not None else None

    def get_counted_before(self, row: UsageImport) -> bool:
        return was_counted_before(row)

    def get_error_code(self, row: UsageImport) -> str | None:
        return row.error_code or None


class UsageImportDetailSerializer(UsageImportSerializer):
    """One import, with the one before it of the same content."""

    earlier_import_id = serializers.SerializerMethodField(help_text="The last import that counted the same content.")

    def get_earlier_import_id(self, row: UsageImport) -> str | None:
        earlier = find_earlier_import(row)
        return earlier.public_id if earlier is not None else None


class UsageImportErrorSerializer(serializers.Serializer[UsageImportError]):
    """One thing that is wrong with one line."""

    line = serializers.IntegerField(help_text="Line of the file, from 1.")
    column = serializers.CharField(help_text="Empty: the line as a whole.")
    code = serializers.CharField()
    detail = serializers.CharField()
