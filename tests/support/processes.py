"""The product's own processes, started by tests against the test database."""

from __future__ import annotations

import os
from urllib.parse import quote

from django.conf import settings
from django.db import connection


def database_url() -> str:
    """Return the address of the database this test runs in."""
    database = connection.settings_dict
    user = quote(database["USER"], safe="")
    password = f":{quote(database['PASSWORD'], safe='')}" if database["PASSWORD"] else ""
    host = quote(database["HOST"], safe="")
    port = f":{database['PORT']}" if database["PORT"] else ""
    return f"postgres://{user}{password}@{host}{port}/{quote(database['NAME'], safe='')}"


def product_environment(**extra: str) -> dict[str, str]:
    """
    Return the environment in which `manage.py`, a worker or the web server uses the test database.

    They run with the product's settings, not the tests': jobs go to a real broker. Use `transaction=True` tests only,
    since another process sees committed rows alone.
    """
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "billing_site.settings",
        "BILLING_DATABASE_URL": database_url(),
        "PYTHONPATH": str(settings.BASE_DIR),
        "PYTHONUNBUFFERED": "1",
    }
    return {**environment, **extra}
