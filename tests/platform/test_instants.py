"""Instants come out of the database as they went in, however they are read."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import DataError, connection

from billing_site.platform.instants import InstantLoader

pytestmark = pytest.mark.django_db


def read(text: str, *, zone: str = "UTC") -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('timezone', %s, true)", [zone])
        cursor.execute("SELECT %s::timestamptz", [text])
        value: datetime = cursor.fetchone()[0]
    return value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-29T00:59:59Z", datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC)),
        ("2026-03-29T03:00:00+02:00", datetime(2026, 3, 29, 1, tzinfo=UTC)),
        ("2026-03-29T00:00:00.1Z", datetime(2026, 3, 29, microsecond=100_000, tzinfo=UTC)),
        ("2026-03-29T00:00:00.000001Z", datetime(2026, 3, 29, microsecond=1, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_an_instant_is_read_as_it_was_written(text: str, expected: datetime) -> None:
    found = read(text)
    assert found == expected
    assert found.tzinfo is UTC


def test_the_connection_reads_with_it() -> None:
    connection.ensure_connection()
    with connection.cursor() as cursor:
        assert cursor.adapters.get_loader(1184, 0) is InstantLoader


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "Europe/Paris", "America/St_Johns"])
def test_a_session_in_another_zone_reads_the_same_moment(zone: str) -> None:
    assert read("2026-03-29T00:59:59.5Z", zone=zone) == datetime(2026, 3, 29, 0, 59, 59, 500_000, tzinfo=UTC)


@pytest.mark.parametrize("text", ["infinity", "0044-03-15 00:00:00+00 BC"])
def test_what_python_has_no_instant_for_is_refused(text: str) -> None:
    with pytest.raises(DataError):
        read(text)
