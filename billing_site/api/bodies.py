"""Bodies that endpoints of every app share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail
from rest_framework.settings import api_settings


class StrictSerializer(serializers.Serializer[dict[str, Any]]):
    """
    A body in which a misspelled field is a mistake, not something to pass over.

    Refuses members it does not declare; `also_known` are read elsewhere. With `needs_one` an empty body is refused too.
    """

    also_known: ClassVar[Collection[str]] = ()
    needs_one: ClassVar[bool] = False

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        findings: dict[str, Any] = {}
        values: dict[str, Any] = {}
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as refusal:
            if not isinstance(data, Mapping) or not isinstance(refusal.detail, dict):
                raise
            findings |= refusal.detail
        if isinstance(data, Mapping):
            known = {*self.fields, *self.also_known}
            for name in (str(name) for name in data if name not in known):
                findings[name] = [ErrorDetail(f"There is no field {name[:100]!r} here.", "unknown")]
            if self.needs_one and not data:
                nothing = ErrorDetail("Name at least one field to change.", "empty")
                findings[api_settings.NON_FIELD_ERRORS_KEY] = [nothing]
        if findings:
            raise serializers.ValidationError(findings)
        return values


class DeletedSerializer(serializers.Serializer[dict[str, Any]]):
    """What is answered where something was removed or ended."""

    id = serializers.CharField()
    deleted = serializers.BooleanField(help_text="Always true.")
