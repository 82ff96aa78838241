"""A kind of work item that only remembers what was done about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.errors import InvalidState
from billing_site.platform.models import WorkItem
from billing_site.platform.services.work_items import Subject, WorkItemKind, open_work_item, register_kind
from tests.factories.platform import AT

KIND: Final = "tests.leak"
BOB: Final = Actor("staff", "bob")


@dataclass
class Plumber:
    """What was repaired, by whom; `refusal` makes it refuse."""

    done: list[tuple[str, str]] = field(default_factory=list)
    refusal: str = ""

    def repair(self, item: WorkItem, _at: datetime, actor: Actor) -> str:
        self.done.append((item.subject_id, str(actor)))
        if self.refusal:
            raise InvalidState(self.refusal, current_status="leaking")
        return f"{item.subject_id} is tight."


def call_plumber(*, permission: str = "") -> Plumber:
    """Register the kind anew and return what remembers its work."""
    plumber = Plumber()
    register_kind(WorkItemKind(KIND, "Something leaks", {"repair": plumber.repair}, permission))
    return plumber


def report(pipe: str = "pipe-1", **values: Any) -> WorkItem:
    """Tell of a leak."""
    given = {"title": f"{pipe} leaks", "at": AT, "actor": SYSTEM, **values}
    return open_work_item(kind=KIND, subject=Subject("pipe", pipe), **given)
