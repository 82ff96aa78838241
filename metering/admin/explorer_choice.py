"""What a person chose to see in the usage explorer, read from the page's address; what cannot be, is said and left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Final, cast, get_args
from uuid import UUID

from django.http import QueryDict

from accounts.models import Account, CostCenter, Subscription
from billing_site.kernel.errors import PeriodNotValid
from catalog.models import Meter
from metering.queries.exploring import MAX_BUCKETS, View, count_buckets
from metering.queries.stretches import STRETCHES, Stretch, find_stretch
from metering.stores import Bucket

BY_METER: Final = "meter"
BY_CENTER: Final = "cost_center"
_DIMENSION: Final = "dimension:"
NO_CENTER: Final = "none"
_BUCKETS: Final = get_args(Bucket)


@dataclass(frozen=True, slots=True)
class Choice:
    """
    The choice, as far as it could be read: `view` is what to ask for, `notes` what was not as it was asked for.

    `names` are the chosen meters; none means all. `by` and `center` are as the form has them.
    """

    stretch: Stretch
    view: View
    names: frozenset[str]
    by: str
    center: str
    first: date | None
    last: date | None
    can_be_hourly: bool
    notes: Sequence[str] = field(default_factory=tuple)


def read_choice(
    query: QueryDict,
    *,
    account: Account,
    subscription: Subscription | None,
    meters: Sequence[Meter],
    centers: Iterable[CostCenter],
    at: datetime,
) -> Choice:
    """Return what `query` asks for; where it makes no sense, what comes nearest."""
    notes: list[str] = []
    first, last = _read_days(query)
    stretch = _read_stretch(query, notes, account=account, subscription=subscription, at=at)
    wanted = frozenset(query.getlist("meter")) & {meter.event_name for meter in meters}
    chosen = tuple(meter for meter in meters if not wanted or meter.event_name in wanted)
    can_be_hourly = count_buckets(stretch.period, "hour") <= MAX_BUCKETS
    bucket = query.get("per")
    if bucket not in _BUCKETS:
        bucket = "hour" if stretch.name == "today" else "day"
    elif bucket == "hour" and not can_be_hourly:
        bucket = "day"
        notes.append(f"More than {MAX_BUCKETS} hours are shown by day.")
    view = View(meters=chosen, period=stretch.period, bucket=cast(Bucket, bucket))
    by = query.get("by") or BY_METER
    name = by.removeprefix(_DIMENSION)
    if by == BY_CENTER:
        view = replace(view, by_center=True)
    elif by.startswith(_DIMENSION) and name in list_dimensions(meters):
        # Of all meters, those that know the dimension; of chosen ones, these.
        known = tuple(meter for meter in chosen if wanted or name in meter.dimensions)
        view = replace(view, dimension=name, meters=known or chosen)
    else:
        by = BY_METER
    center = query.get("center") or ""
    found = {str(each.pk): each for each in centers}.get(center)
    if found is not None:
        view = replace(view, center=found)
    elif center == NO_CENTER:
        view = replace(view, without_center=True)
    else:
        center = ""
    return Choice(stretch, view, wanted, by, center, first, last, can_be_hourly, notes)


def list_dimensions(meters: Iterable[Meter]) -> list[str]:
    """Return the dimensions that meters declare, by name."""
    return sorted({str(name) for meter in meters for name in meter.dimensions})


def name_dimension(name: str) -> str:
    """Return how the form calls a division by a dimension."""
    return f"{_DIMENSION}{name}"


def read_account_key(query: QueryDict) -> UUID | None:
    """Return the key of the account the address names, None for none and for nonsense."""
    try:
        return UUID(query.get("account", ""))
    except ValueError:
        return None


def _read_stretch(
    query: QueryDict, notes: list[str], *, account: Account, subscription: Subscription | None, at: datetime
) -> Stretch:
    name, (first, last) = query.get("range"), _read_days(query)
    chosen = name if name in STRETCHES else "this"
    if chosen == "custom" and first is None and last is None:
        chosen = "this"
    try:
        return find_stretch(chosen, account=account, subscription=subscription, at=at, first=first, last=last)
    except PeriodNotValid as error:
        notes.append(f"{error.detail} This period is shown instead.")
        return find_stretch("this", account=account, subscription=subscription, at=at)


def _read_days(query: QueryDict) -> tuple[date | None, date | None]:
    return _read_date(query.get("from")), _read_date(query.get("to"))


def _read_date(text: str | None) -> date | None:
    try:
        found = date.fromisoformat(text or "")
    except ValueError:
        return None
    # Room for a zone's offset, the day after, and as long before to compare with.
    return found if date(1900, 1, 1) <= found <= date(9000, 1, 1) else None
