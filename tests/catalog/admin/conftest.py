"""People and drafts for the pages of the catalog."""

from __future__ import annotations

import html
from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from catalog.models import CatalogDraft
from catalog.services.drafts import create_draft
from tests.factories.catalog import AT, PUBLISHER, publish_catalog


@pytest.fixture
def sign_in(db: None) -> Callable[..., Client]:
    """Return a client of somebody with a role: `sign_in("billing")`, `sign_in("finance_lead", name="bob")`."""

    def make(role: str, *, name: str = "") -> Client:
        user = User.objects.create_user(name or role, password="a-long-password", is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def draft(db: None) -> CatalogDraft:
    """A draft of the published test catalog."""
    publish_catalog()
    return create_draft(title="Spring prices", at=AT, actor=PUBLISHER).draft


@pytest.fixture
def page_of() -> Callable[[Client, str], str]:
    """Return the text of a page, entities resolved."""

    def get(client: Client, url: str) -> str:
        response = client.get(url, follow=True)
        assert response.status_code == 200, url
        return html.unescape(response.content.decode())

    return get
