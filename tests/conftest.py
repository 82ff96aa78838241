"""
Fixtures of all tests.

PostgreSQL is real; see `tests.support.databases` for how its databases are made and cleaned. Jobs are recorded, see
`tests.support.jobs`. Any test may ask for `api_client`, `sent_jobs` and `clock_at`.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker

    from tests.support.api import BillingClient
    from tests.support.jobs import SentJobs

LONGEST = ("tests/launcher/test_up.py", "tests/end_to_end/test_usage_storm.py", "tests/faults/test_broker_gone.py")


def pytest_configure(config: pytest.Config) -> None:
    import hypothesis
    from django.test import TransactionTestCase

    from tests.support.databases import teardown_transactional_test

    # A busy machine makes no example wrong, so examples have no deadline. More of them: COUNTINGHOUSE_EXAMPLES=1000.
    examples = int(os.environ.get("COUNTINGHOUSE_EXAMPLES", "60"))
    hypothesis.settings.register_profile("countinghouse", deadline=None, print_blob=True, max_examples=examples)
    hypothesis.settings.load_profile("countinghouse")
    # Django's flush truncates, which append-only tables refuse.
    TransactionTestCase._fixture_teardown = teardown_transactional_test  # type: ignore[attr-defined]


def pytest_collection_finish() -> None:
    """What is loaded now stays to the end: looking for garbage in it takes a fifth of the time of the suite."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None,
    django_db_blocker: DjangoDbBlocker,
    django_db_modify_db_settings: None,
    django_db_keepdb: bool,
    django_db_createdb: bool,
) -> Iterator[None]:
    """Give this process (each xdist worker is one) a clone of the migrated template."""
    from django.db import connection

    from tests.support import databases

    base = connection.settings_dict["NAME"]
    name = connection.creation._get_test_db_name()  # type: ignore[attr-defined]
    with django_db_blocker.unblock():
        databases.prepare_database(base, name, reuse=django_db_keepdb and not django_db_createdb)
    yield
    if not django_db_keepdb:
        with django_db_blocker.unblock():
            databases.drop_database(base, name)


@pytest.fixture(autouse=True)
def sent_jobs() -> Iterator[SentJobs]:
    """The jobs sent since the test began. Jobs go out on commit: see `django_capture_on_commit_callbacks`."""
    from invoicing.services.interim import forget_checked
    from metering.services.touching import forget_touched
    from tests.support.jobs import recorded

    recorded.clear()
    forget_touched()
    forget_checked()
    yield recorded
    recorded.clear()


@pytest.fixture
def api_client() -> Callable[..., BillingClient]:
    """Make API clients: `api_client(audience="internal", subject="svc", scopes=None, org=None)`."""
    from tests.support.api import make_client

    return make_client


@pytest.fixture
def clock_at() -> Callable[[datetime], AbstractContextManager[None]]:
    """Move the product's clock for a block: `with clock_at(instant): ...`."""
    from billing_site.kernel import clock

    return clock.travel


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no process is left with it alone at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))
