"""From read events to recorded ones: every finding of a request in one answer, named as its body has the fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import FieldError, ValidationFailed
from metering.queries.meters import MeterNotFound
from metering.services.group_commit import TOGETHER
from metering.services.ingest import NewUsageEvent, RecordedUsage, find_event_errors, record_usage_events


@dataclass(frozen=True, slots=True)
class Door:
    """How a door calls the service's fields."""

    names: Mapping[str, str]

    def rename(self, finding: FieldError, index: int | None = None) -> FieldError:
        """Return a finding of the service, `/events/<index>/<field>`, with this door's word for the field."""
        parts = finding.pointer.split("/")
        if len(parts) < 4:
            return finding
        if index is not None:
            parts[2] = str(index)
        parts[3] = self.names.get(parts[3], parts[3])
        return replace(finding, pointer="/".join(parts))


def record_events(
    events: Sequence[NewUsageEvent | None],
    findings: Sequence[FieldError],
    *,
    door: Door,
    root: str | None,
    at: datetime,
    actor: Actor,
) -> list[RecordedUsage]:
    """
    Record all events, or none when anything is wrong, and name everything that is. A single one shares its transaction
    with what other threads record at the moment.

    `findings` point to `/events/<index>/<field>` and say what is wrong already; such events may be None. `root` is
    where the list stands in the body (`/events`, or nothing for a bare list), None when the body is the event.
    :raises ValidationFailed: with every wrong field of every event.
    :raises MeterNotFound: when nothing else is wrong than meters that do not exist.
    """
    try:
        if not findings and root is None:
            [event] = events
            return [TOGETHER.record(event=event, at=at, actor=actor)] if event is not None else []
        if not findings:
            return record_usage_events(events=[event for event in events if event is not None], at=at, actor=actor)
        places = [index for index, event in enumerate(events) if event is not None]
        others = find_event_errors(events=[event for event in events if event is not None], at=at)
    except (ValidationFailed, MeterNotFound) as error:
        error.errors = tuple(_place(door.rename(finding), root) for finding in error.errors)
        raise
    everything = [*findings, *(door.rename(finding, places[_index_of(finding)]) for finding in others)]
    everything = list({(finding.pointer, finding.code): finding for finding in everything}.values())
    everything.sort(key=_index_of)
    detail = (
        everything[0].detail if len(everything) == 1 else f"{len(everything)} fields are wrong; nothing was recorded."
    )
    raise ValidationFailed(detail, errors=[_place(finding, root) for finding in everything])


def _index_of(finding: FieldError) -> int:
    return int(finding.pointer.split("/")[2])


def _place(finding: FieldError, root: str | None) -> FieldError:
    _, _, index, *rest = finding.pointer.split("/")
    place = [""] if root is None else [root, index]
    return replace(finding, pointer="/".join([*place, *rest]))
