"""Reading instants from the database quickly: what is read most often of all is a `timestamptz`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from psycopg.abc import Buffer
from psycopg.types.datetime import TimestamptzLoader

_KIND: Final = "timestamptz"


class InstantLoader(TimestamptzLoader):
    """
    Reads an instant by the parser of the standard library, several times faster than the driver's, whatever the zone.

    :raises psycopg.DataError: for what Python has no instant for, as the driver does (infinity, a year before Christ).
    """

    timezone = UTC

    def load(self, data: Buffer) -> datetime:
        try:
            value = datetime.fromisoformat(str(data, "ascii"))
        except ValueError:
            return super().load(data)
        return value if value.tzinfo is UTC else value.astimezone(UTC)


def read_quickly(*, connection: Any, **_: Any) -> None:
    """Give a new connection to PostgreSQL the quick reader. Receiver of `connection_created`."""
    if connection.vendor == "postgresql" and connection.timezone is UTC:
        connection.connection.adapters.register_loader(_KIND, InstantLoader)
