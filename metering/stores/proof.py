"""
Proving that the totals of usage are those of its events, and that events and keys are what they claim to be.

Totals are recomputed month by month and some hundred accounts at a time, so that neither side must fit into memory.
Every comparison is one statement, which sees one moment: usage may come in meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from django.conf import settings
from django.db import connection

from accounts.models import Account
from billing_site.kernel.periods import add_months
from metering.models import NO_CENTER, UsageEvent
from metering.stores import event_faults, recomputing
from metering.stores.partitions import list_days, list_stray_days

Kind = Literal["rollup", "counter", "member", "event", "correction", "key", "archive"]
Span = Literal["hour", "day", "week", "month", "total"]
BEGINNING: Final = datetime(1, 1, 2, tzinfo=UTC)
END: Final = datetime(9999, 12, 30, tzinfo=UTC)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ACCOUNTS: Final = 200
_CHUNK: Final = 1_000
REPAIRABLE: Final = frozenset({"rollup", "counter", "member"})


@dataclass(frozen=True, slots=True)
class ProofScope:
    """
    What is proved: the usage of an account (None: of all) with `start <= timestamp < end`, whole UTC days.

    Weeks and months that begin earlier or end later are proved as a whole, and so is the total.
    """

    at: datetime
    account_id: UUID | None = None
    start: datetime = BEGINNING
    end: datetime = END


@dataclass(frozen=True, slots=True)
class Difference:
    """
    One thing that is not as the events make it. `stored` and `recomputed` are for people.

    `span` and `bucket` name a total, the start of a day or the time of an event; `detail` the dimensions, the center,
    or whatever else tells it from others.
    """

    kind: Kind
    account_id: UUID | None
    meter_id: UUID | None
    span: str
    bucket: datetime
    detail: str
    stored: str
    recomputed: str

    def __str__(self) -> str:
        owner = Account(id=self.account_id).public_id if self.account_id else "all accounts"
        meter = f", meter {self.meter_id}" if self.meter_id else ""
        detail = f", {self.detail}" if self.detail else ""
        bucket = f"{self.bucket:%Y-%m-%dT%H:%M:%S.%fZ}".replace(".000000Z", "Z")
        what = f"{self.kind} of {owner}{meter}, {self.span} {bucket}{detail}"
        return f"{what}: stored {self.stored}, recomputed {self.recomputed}"


def find_differences(scope: ProofScope) -> Iterator[Difference]:
    """Yield everything that is wrong within the scope, accounts in order, then keys and archived days."""
    months = list(_list_months(scope))
    for accounts in _list_accounts(scope):
        yield from _prove_accounts(scope, accounts, months)
    if scope.account_id is None:
        yield from _prove_keys(scope)
        yield from _prove_archive(scope)


def bind_long(account_id: UUID, meter_id: UUID, span: Span, bucket: datetime) -> dict[str, Any]:
    """Return the values of a statement about one week, month or total."""
    ends: dict[Span, datetime] = {"week": bucket + timedelta(days=7), "total": END}
    if span == "month":
        following = add_months(bucket.date(), 1)
        ends["month"] = datetime(following.year, following.month, 1, tzinfo=UTC)
    start = BEGINNING if span == "total" else bucket
    return {
        "accounts": [account_id],
        "meter": meter_id,
        "span": span,
        "bucket": bucket,
        "start": start,
        "end": ends[span],
    }


# ---- the parts ------------------------------------------------------------------------------------------------------
def _prove_accounts(
    scope: ProofScope, accounts: list[UUID], months: Sequence[tuple[datetime, datetime]]
) -> Iterator[Difference]:
    suspects: set[tuple[UUID, UUID, Span, datetime]] = set()
    for start, end in months:
        values: dict[str, Any] = {"accounts": accounts, "meter": None, "start": start, "end": end}
        for span in ("hour", "day"):
            yield from map(_read_rollup, _run(recomputing.COMPARE_ROLLUPS, {**values, "span": span}, span))
            for row in _run(recomputing.COMPARE_COUNTERS, {**values, "span": span}):
                found = _read_counter(row)
                yield found
                if span == "day":
                    suspects |= {(row[0], row[1], *bucket) for bucket in _longer(found.bucket)}
        yield from map(_read_member, _run(recomputing.COMPARE_MEMBERS, values))
        yield from _prove_events(scope, values)
    span_values = {"accounts": accounts, "start": scope.start, "end": scope.end}
    for row in _run(event_faults.TWICE, {**span_values, "days": settings.BILLING_USAGE_LOOKBACK_DAYS}):
        yield _read_event(row[:4], "a key that was counted before", f"key {row[4]!r}", "one event within the look-back")
    suspects |= {row[:4] for row in _run(recomputing.SUSPECT_LONG, span_values)}
    for account_id, meter_id, span_name, bucket in sorted(suspects):
        yield from _prove_long(account_id, meter_id, span_name, bucket)


def _prove_long(account_id: UUID, meter_id: UUID, span: Span, bucket: datetime) -> Iterator[Difference]:
    yield from map(_read_counter, _run(recomputing.COMPARE_LONG, bind_long(account_id, meter_id, span, bucket)))


def _prove_events(scope: ProofScope, values: dict[str, Any]) -> Iterator[Difference]:
    for *place, made in _run(event_faults.WRONG_IDS, values):
        yield _read_event(place, "the id", _name_event(place[3]), f"{_name_event(made)}, the hash of its claim")
    known_since = scope.at - timedelta(days=settings.BILLING_USAGE_LOOKBACK_DAYS - 1)
    for *place, key in _run(event_faults.WITHOUT_KEY, {**values, "known_since": known_since}):
        found = _read_event(place, f"key {key!r} of {_name_event(place[3])}", "no key", "a key within the look-back")
        yield replace(found, kind="key")
    for *place, what in _run(event_faults.CORRECTIONS, values):
        found = _read_event(place, _name_event(place[3]), what, "one correction of an existing event")
        yield replace(found, kind="correction")


def _prove_keys(scope: ProofScope) -> Iterator[Difference]:
    values = {"start": scope.start, "end": scope.end, "days": settings.BILLING_USAGE_LOOKBACK_DAYS}
    for id_, timestamp, generation in _run(event_faults.ORPHANED_KEYS, values):
        where = f"generation {generation}, {_name_event(id_)}"
        yield Difference("key", None, None, "time", timestamp, where, "a key", "no event")
    for id_, timestamp, generation in _run(event_faults.KEYS_TWICE, values):
        where = f"generation {generation}, {_name_event(id_)}"
        yield Difference("key", None, None, "time", timestamp, where, "a further key", "one key within the look-back")


def _prove_archive(scope: ProofScope) -> Iterator[Difference]:
    for name, day, meter_id, total, events, known_total, known_events in _run(
        event_faults.ARCHIVED_DAYS, {"start": scope.start, "end": scope.end}
    ):
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        stored, known = _describe(total, events), _describe(known_total, known_events)
        yield Difference("archive", None, meter_id, "day", start, name, stored, f"{known} when its events left")


# ---- reading rows ---------------------------------------------------------------------------------------------------
def _read_rollup(row: Sequence[Any]) -> Difference:
    account_id, meter_id, bucket, dimensions, center, charged, *values, span = row
    detail = [f"dimensions {dimensions}"]
    if center != NO_CENTER:
        detail.append(f"center {center}")
    if charged:
        detail.append("charged")
    stored, recomputed = _describe_both(values[:5], values[5:])
    if stored == recomputed:
        stored, recomputed = f"{stored} under another hash", f"{recomputed} under the hash of the dimensions"
    return Difference("rollup", account_id, meter_id, span, bucket, ", ".join(detail), stored, recomputed)


def _read_counter(row: Sequence[Any]) -> Difference:
    account_id, meter_id, span, bucket, *values = row
    stored, recomputed = _describe_both(values[:7], values[7:])
    return Difference("counter", account_id, meter_id, span, bucket, "", stored, recomputed)


def _read_member(row: Sequence[Any]) -> Difference:
    account_id, meter_id, day, member, is_stored = row
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    ends = ("a member", "no event of it") if is_stored else ("no member", "events of it")
    return Difference("member", account_id, meter_id, "day", start, repr(member), *ends)


def _read_event(place: Sequence[Any], detail: str, stored: str, recomputed: str) -> Difference:
    account_id, meter_id, timestamp, _ = place
    return Difference("event", account_id, meter_id, "time", timestamp, detail, stored, recomputed)


def _describe_both(stored: Sequence[Any], computed: Sequence[Any]) -> tuple[str, str]:
    """Return both sides in words; what is equal on both is told only of the first two values."""
    names = ("highest", "last event", "last recorded", "charged", "charged events")
    sides = []
    for mine, other in ((stored, computed), (computed, stored)):
        if mine[1] is None:
            sides.append("nothing")
            continue
        parts = [_describe(mine[0], mine[1])]
        parts += [
            f"{name} {value}" for name, value, its in zip(names, mine[2:], other[2:], strict=False) if value != its
        ]
        sides.append(", ".join(parts))
    return sides[0], sides[1]


def _describe(total: Any, events: Any) -> str:
    return f"{total.normalize():f} in {events} events"


def _name_event(id_: UUID) -> str:
    return UsageEvent(id=id_).public_id


def _longer(day: datetime) -> set[tuple[Span, datetime]]:
    monday = day - timedelta(days=day.weekday())
    return {("week", monday), ("month", day.replace(day=1)), ("total", EPOCH)}


# ---- running --------------------------------------------------------------------------------------------------------
def _run(statement: str, values: dict[str, Any], *more: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a statement, each with `more` behind it, never all at once."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(statement, values)
        while rows := cursor.fetchmany(_CHUNK):
            for row in rows:
                yield (*row, *more)


def _list_accounts(scope: ProofScope) -> Iterator[list[UUID]]:
    """Yield the ids of the accounts, some hundred at a time, in order."""
    if scope.account_id is not None:
        yield [scope.account_id]
        return
    accounts = Account.objects.order_by("pk").values_list("pk", flat=True)
    page = list(accounts[:_ACCOUNTS])
    while page:
        yield page
        page = list(accounts.filter(pk__gt=page[-1])[:_ACCOUNTS])


_MONTHS: Final = """
    SELECT DISTINCT date_trunc('month', starts_at, 'UTC') FROM usage_counters WHERE span IN ('hour', 'day', 'month')
    UNION SELECT DISTINCT date_trunc('month', starts_at, 'UTC') FROM usage_rollups
    UNION SELECT DISTINCT date_trunc('month', day::timestamp, 'UTC') FROM usage_members
"""


def _list_months(scope: ProofScope) -> Iterator[tuple[datetime, datetime]]:
    """Yield the calendar months within the scope in which anything is stored, cut to the scope."""
    if scope.end - scope.start < timedelta(days=62):
        starts = {scope.start.replace(day=1), scope.end.replace(day=1)}
        starts |= {(scope.start.replace(day=1) + timedelta(days=32)).replace(day=1)}
    else:
        with connection.cursor() as cursor:
            cursor.execute(_MONTHS)
            starts = {start for (start,) in cursor.fetchall()}
        days = [*list_days(), *(stray.day for stray in list_stray_days())]
        starts |= {datetime(day.year, day.month, 1, tzinfo=UTC) for day in days}
    for start in sorted(starts):
        following = add_months(start.date(), 1)
        end = datetime(following.year, following.month, 1, tzinfo=UTC)
        if start < scope.end and end > scope.start:
            yield max(start, scope.start), min(end, scope.end)
