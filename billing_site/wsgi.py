"""WSGI entry point, served by gunicorn."""

import atexit
import os

from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.db.backends.postgresql.base import DatabaseWrapper

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_site.settings")
application = get_wsgi_application()


@atexit.register
def close_connection_pool() -> None:
    """End the pool's threads before the process does: left alone, they hold up every stop by seconds."""
    pool = getattr(DatabaseWrapper, "_connection_pools", {}).pop(connection.alias, None)
    if pool is not None:
        pool.close()
