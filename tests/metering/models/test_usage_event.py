"""What the database refuses of usage events."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from metering.stores import insert_events
from tests.factories.metering import make_account, make_meter, make_row

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "statement",
    ["UPDATE usage_events SET value = 2", "DELETE FROM usage_events", "TRUNCATE usage_events"],
)
def test_an_event_is_never_changed(statement: str) -> None:
    insert_events([make_row(make_account(), make_meter())])
    with pytest.raises(IntegrityError, match=r"usage_events.* is append-only"), transaction.atomic():
        connection.cursor().execute(statement)


@pytest.mark.parametrize(
    ("values", "constraint"),
    [({"value": -1}, "usage_events_value_not_negative"), ({"idempotency_key": ""}, "usage_events_key_given")],
)
def test_nonsense_is_refused(values: dict[str, Any], constraint: str) -> None:
    row = make_row(make_account(), make_meter(), **values)
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        insert_events([row])
