"""Reading what a request names: accounts under all their old words, instants, and query strings in both spellings."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, Protocol

from django.http import QueryDict
from rest_framework import serializers

from billing_site.api.dialect import to_snake
from billing_site.api.findings import read_query_detail
from billing_site.api.problems import validation_problem
from billing_site.kernel.errors import PeriodNotValid, ValidationFailed

ACCOUNT_SYNONYMS: Final = ("account", "account_id", "user", "user_id", "customer_id", "tenant_id")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_INSTANT: Final = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)


class Asked(Protocol):
    """What is read of a request: REST framework's, or the call of a lean door."""

    @property
    def method(self) -> str | None: ...
    @property
    def query_params(self) -> QueryDict: ...
    @property
    def data(self) -> Any: ...


def account_reference(request: Asked, *, ignore: Collection[str] = ()) -> str | None:
    """
    Return the account that the query or the body names, trimmed and in lower case; None when neither does.

    Every synonym counts in both spellings. `ignore` lists words that mean something else at this endpoint.
    :raises ValidationFailed: when two of them name different accounts.
    """
    found: dict[str, str] = {}
    for name, value in _named_values(request):
        word = to_snake(name)
        if word not in ACCOUNT_SYNONYMS or word in ignore or value is None:
            continue
        if not isinstance(value, str) or len(value) > 255 or "\x00" in value:
            raise ValidationFailed.of(name, "invalid", "An account is named by its id or external id.")
        if reference := value.strip().lower():
            found[name] = reference
    if len(set(found.values())) > 1:
        raise ValidationFailed.of(
            next(iter(found)), "account_ambiguous", f"{' and '.join(found)} name different accounts."
        )
    return next(iter(found.values()), None)


def _named_values(request: Asked) -> Iterator[tuple[str, Any]]:
    for name, values in request.query_params.lists():
        for value in values:
            yield name, value
    if request.method in ("GET", "HEAD"):
        return
    if isinstance(body := request.data, Mapping):
        yield from body.items()


def read_instant(text: str, *, end: bool = False) -> datetime | None:
    """
    Return the instant `text` names, aware UTC, or None when it is not RFC 3339 with offset or a plain date.

    A plain date is midnight UTC; with `end`, the midnight after it, because end bounds are exclusive.
    """
    text = text.strip()
    try:
        if _DATE.fullmatch(text):
            start = datetime.combine(date.fromisoformat(text), time(), UTC)
            return start + timedelta(days=1) if end else start
        if not (parts := _INSTANT.fullmatch(text)):
            return None
        day, clock, fraction, offset = parts.groups()
        return datetime.fromisoformat(f"{day}T{clock}{(fraction or '')[:7]}{offset.upper()}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def parse_timestamp(text: str, *, end: bool = False, name: str = "") -> datetime:
    """
    Return the instant `text` names; see `read_instant`. `name` is the parameter it came from.

    :raises PeriodNotValid: when it cannot be read.
    """
    instant = read_instant(text, end=end)
    if instant is None:
        detail = "A time is RFC 3339 with offset, such as 2026-03-01T00:00:00Z, or a plain date."
        raise PeriodNotValid(detail, errors=ValidationFailed.of(name, "invalid", detail).errors)
    return instant


def query_values(request: Asked) -> dict[str, list[str]]:
    """Return the query string with snake_case names, whatever spelling was used."""
    values: dict[str, list[str]] = {}
    for name, given in request.query_params.lists():
        values.setdefault(to_snake(name), []).extend(given)
    return values


def query_serializer(
    serializer: type[serializers.Serializer[Any]], request: Asked, *, context: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """
    Return the query string as validated by `serializer`; both spellings of a name are accepted.

    A list field takes repeated parameters and commas. Other fields take one value; an empty one counts as absent.
    :raises ValidationFailed: with the names of the wrong parameters.
    """
    instance = serializer(context={"request": request, **(context or {})})
    given = query_values(request)
    data: dict[str, Any] = {}
    for name, field in instance.fields.items():
        values = [value for value in given.get(name, []) if value != ""]
        if not values:
            continue
        if isinstance(field, serializers.ListField | serializers.ManyRelatedField | serializers.MultipleChoiceField):
            data[name] = [part.strip() for value in values for part in value.split(",") if part.strip()]
        elif len(set(values)) > 1:
            raise ValidationFailed.of(name, "invalid", f"{name} is given twice with different values.")
        else:
            data[name] = values[0]
    bound = serializer(data=data, context=instance.context)
    if not bound.is_valid():
        raise validation_problem(read_query_detail(bound.errors))
    return dict(bound.validated_data)
