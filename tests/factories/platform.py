"""Events without the domain objects they would speak of."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from billing_site.kernel.actors import SYSTEM
from billing_site.kernel.ids import new_uuid
from billing_site.platform.models import Identified
from billing_site.platform.services.events import NewEvent

AT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


class Widget(Identified):
    """A thing to speak of; it has no table."""

    id_prefix = "wid"

    class Meta:
        managed = False
        app_label = "tests"


def make_new_event(account_id: uuid.UUID | None = None, type: str = "widget.made", **values: Any) -> NewEvent:
    """Return an event about a new widget."""
    values = {"subject": Widget(id=new_uuid()), "at": AT, "actor": SYSTEM, "data": {"size": 1}, **values}
    return NewEvent(type=type, account_id=account_id, **values)
