"""People with and without the right to act, on the site of these tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client

from accounts.models import TestClock
from tests.backoffice import site_urls


@pytest.fixture(autouse=True)
def _own_site(settings: Any) -> Iterator[None]:
    settings.ROOT_URLCONF = "tests.backoffice.site_urls"
    site_urls.calls.clear()
    yield
    site_urls.calls.clear()


@pytest.fixture
def sign_in(db: None) -> Callable[..., Client]:
    """Return a client signed in as `name`, holding the permissions named (on test clocks)."""

    def make(*codenames: str, name: str = "ada", enforce_csrf_checks: bool = False) -> Client:
        user = User.objects.create_user(name, password="a-long-password", is_staff=True)
        content_type = ContentType.objects.get_for_model(TestClock)
        for codename in codenames:
            permission, _ = Permission.objects.get_or_create(
                content_type=content_type, codename=codename, defaults={"name": codename}
            )
            user.user_permissions.add(permission)
        client = Client(enforce_csrf_checks=enforce_csrf_checks)
        client.force_login(user)
        return client

    return make


@pytest.fixture
def make_clock(db: None) -> Callable[[str], TestClock]:
    def make(name: str) -> TestClock:
        return TestClock.objects.create(name=name, now_at=datetime(2026, 3, 1, tzinfo=UTC))

    return make
