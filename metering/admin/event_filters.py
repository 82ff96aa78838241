"""What the list of usage events is narrowed by, beside account, meter and cost center."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Final

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.db.models.fields.json import KeyTextTransform
from django.http import HttpRequest
from django.utils.timezone import make_aware
from unfold.contrib.filters.admin import RangeDateTimeFilter, TextFilter

from metering.models import UsageEvent

ACCOUNT_FILTER: Final = "account__id__exact"


def read_account_filter(request: HttpRequest) -> uuid.UUID | None:
    """Return the key of the account the list is narrowed to."""
    try:
        return uuid.UUID(request.GET.get(ACCOUNT_FILTER, ""))
    except ValueError:
        return None


class EventTimeFilter(RangeDateTimeFilter):
    """A half-open stretch of event time, typed in the site's zone; either end may be left open, and so may the time."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[UsageEvent]) -> QuerySet[UsageEvent]:
        start, end = self._read("from"), self._read("to")
        if start is not None:
            queryset = queryset.filter(timestamp__gte=start)
        return queryset.filter(timestamp__lt=end) if end is not None else queryset

    def _read(self, side: str) -> datetime | None:
        day = self.used_parameters.get(f"{self.parameter_name}_{side}_0") or ""
        clock_time = self.used_parameters.get(f"{self.parameter_name}_{side}_1") or "00:00:00"
        try:
            moment = datetime.fromisoformat(f"{day} {clock_time}")
        except ValueError:
            return None
        return make_aware(moment) if moment.tzinfo is None else moment


class _WithinAccount(TextFilter):
    """Text that is looked for among the events of one account: over all of them it would read every event."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[UsageEvent]) -> QuerySet[UsageEvent]:
        value = (self.value() or "").strip()
        if not value:
            return queryset
        if read_account_filter(request) is None:
            messages.warning(request, f"Choose an account as well: {self.title} is looked for among its events.")
            return queryset.none()
        return self.narrow(queryset, value)

    def narrow(self, queryset: QuerySet[UsageEvent], value: str) -> QuerySet[UsageEvent]:
        raise NotImplementedError


class ResourceFilter(_WithinAccount):
    title = "resource"
    parameter_name = "resource"

    def narrow(self, queryset: QuerySet[UsageEvent], value: str) -> QuerySet[UsageEvent]:
        return queryset.filter(resource_id=value)


class ActorFilter(_WithinAccount):
    title = "actor"
    parameter_name = "actor"

    def narrow(self, queryset: QuerySet[UsageEvent], value: str) -> QuerySet[UsageEvent]:
        return queryset.filter(actor_id=value)


class DimensionFilter(_WithinAccount):
    """A name and a value, such as `model:large`."""

    title = "dimension (name:value)"
    parameter_name = "dimension"

    def narrow(self, queryset: QuerySet[UsageEvent], value: str) -> QuerySet[UsageEvent]:
        name, colon, text = value.partition(":")
        if not (name and colon):
            return queryset.none()
        return queryset.alias(named=KeyTextTransform(name.strip(), "dimensions")).filter(named=text.strip())


class CorrectionFilter(admin.SimpleListFilter):
    """Corrections, or what is none."""

    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("event", "Events"), ("void", "Taken back")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[UsageEvent]) -> QuerySet[UsageEvent]:
        if self.value() == "void":
            return queryset.filter(corrects__isnull=False)
        return queryset.filter(corrects__isnull=True) if self.value() == "event" else queryset
