"""Every page of the real site, as each role finds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from billing_site.backoffice.roles import ADMIN, BILLING, FINANCE_LEAD, VIEWER, list_action_permissions, sync_roles


@pytest.fixture
def client_of(db: None, settings: Any) -> Callable[[str], Client]:
    """Return a client of somebody who holds one role."""
    settings.ROOT_URLCONF = "tests.backoffice.real_admin_urls"
    sync_roles()

    def make(role: str) -> Client:
        user = User.objects.create_user(f"{role}-person", is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        client = Client()
        client.force_login(user)
        return client

    return make


def domain_pages() -> list[Any]:
    return [page for model, page in admin.site._registry.items() if model._meta.app_label != "auth"]


def page_url(page: Any, name: str) -> str:
    meta = page.model._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{name}")


class TestPagesByRole:
    def test_a_viewer_sees_every_list_and_may_add_nothing(
        self, client_of: Callable[[str], Client], settings: Any
    ) -> None:
        settings.STRIPE_TEST_SECRET_KEY = "sk_" + "test_" + "0" * 24  # the provider's copy is shown with a key only
        client = client_of(VIEWER)
        for page in domain_pages():
            listed = client.get(page_url(page, "changelist"))
            assert listed.status_code == 200, page
            assert client.get(page_url(page, "add")).status_code == 403, page
            assert page_url(page, "add") not in listed.content.decode(), page

    @pytest.mark.parametrize("role", [VIEWER, BILLING, FINANCE_LEAD, ADMIN])
    def test_nobody_may_delete_anything(self, client_of: Callable[[str], Client], role: str) -> None:
        client_of(role)
        user = User.objects.get(username=f"{role}-person")
        for page in domain_pages():
            assert not page.has_delete_permission(_Request(user)), page

    def test_only_an_admin_sees_staff_and_roles(self, client_of: Callable[[str], Client]) -> None:
        people = reverse("admin:auth_user_changelist")
        assert client_of(FINANCE_LEAD).get(people).status_code == 403
        assert client_of(ADMIN).get(people).status_code == 200

    def test_the_sidebar_holds_what_the_role_may_see(self, client_of: Callable[[str], Client]) -> None:
        body = client_of(BILLING).get(reverse("admin:index")).content.decode()
        assert reverse("admin:invoicing_invoice_changelist") in body
        assert reverse("admin:auth_user_changelist") not in body


class TestActionsByRole:
    def test_every_action_is_in_somebodys_hands(self, client_of: Callable[[str], Client]) -> None:
        client_of(ADMIN)
        user = User.objects.get(username="admin-person")
        declared = [permission for page in domain_pages() for permission, _ in list_action_permissions(page)]
        assert len(declared) > 5
        assert [permission for permission in declared if not user.has_perm(permission)] == []

    def test_a_viewer_may_run_none(self, client_of: Callable[[str], Client]) -> None:
        client_of(VIEWER)
        user = User.objects.get(username="viewer-person")
        declared = {permission for page in domain_pages() for permission, _ in list_action_permissions(page)}
        assert [permission for permission in declared if user.has_perm(permission)] == []


class _Request:
    """As much of a request as a permission check reads."""

    def __init__(self, user: User) -> None:
        self.user = user
