"""Bodies in which a misspelled field is a mistake, not something to pass over."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail
from rest_framework.settings import api_settings


class StrictSerializer(serializers.Serializer[dict[str, Any]]):
    """
    Refuses members it does not declare; `also_known` are read elsewhere.

    With `needs_one` an empty body is refused too.
    """

    also_known: ClassVar[Collection[str]] = ()
    needs_one: ClassVar[bool] = False

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, Mapping):
            known = {*self.fields, *self.also_known}
            unknown = [str(name) for name in data if name not in known]
            if unknown:
                raise serializers.ValidationError(
                    {name: [ErrorDetail(f"There is no field {name[:100]!r} here.", "unknown")] for name in unknown}
                )
            if self.needs_one and not data:
                found = ErrorDetail("Name at least one field to change.", "empty")
                raise serializers.ValidationError({api_settings.NON_FIELD_ERRORS_KEY: [found]})
        values: dict[str, Any] = super().to_internal_value(data)
        return values
