"""`BackOfficeAdmin`: forms end in a service, refusals write nothing, nothing is deleted, nobody is anonymous."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from accounts.models import TestClock
from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.pagination import CappedPaginator
from billing_site.backoffice.site import BackOfficeSite
from tests.backoffice.site_urls import ClockAdmin, LockedClockAdmin

SignIn = Callable[..., Client]
MakeClock = Callable[[str], TestClock]
MAY_EDIT = ("view_testclock", "add_testclock", "change_testclock", "delete_testclock")


class TestForms:
    def test_adding_ends_in_the_service(self, sign_in: SignIn) -> None:
        answer = sign_in(*MAY_EDIT).post(reverse("admin:accounts_testclock_add"), {"name": "new"})
        assert answer.status_code == 302
        assert TestClock.objects.get().name == "new"

    def test_changing_ends_in_the_service(self, sign_in: SignIn, make_clock: MakeClock) -> None:
        clock = make_clock("before")
        sign_in(*MAY_EDIT).post(reverse("admin:accounts_testclock_change", args=[clock.pk]), {"name": "after"})
        clock.refresh_from_db()
        assert clock.name == "after"

    @pytest.mark.parametrize(
        ("name", "field", "text"),
        [("taken", "name", "That name is taken."), ("frozen", "__all__", "Clocks are frozen today.")],
    )
    def test_a_refusal_is_shown_in_the_form_and_nothing_is_written(
        self, sign_in: SignIn, make_clock: MakeClock, name: str, field: str, text: str
    ) -> None:
        clock = make_clock("before")
        client = sign_in(*MAY_EDIT)
        for url in (
            reverse("admin:accounts_testclock_change", args=[clock.pk]),
            reverse("admin:accounts_testclock_add"),
        ):
            page = client.post(url, {"name": name})
            assert page.status_code == 200
            assert page.context["adminform"].form.errors[field] == [text]
            assert f'value="{name}"' in page.content.decode()
        assert [row.name for row in TestClock.objects.all()] == ["before"]


class TestRights:
    def request(self, user: User) -> Any:
        request = RequestFactory().get("/")
        request.user = user
        return request

    def test_even_a_superuser_deletes_nothing(self, db: None) -> None:
        root = User.objects.create_superuser("root")
        assert not ClockAdmin(TestClock, BackOfficeSite()).has_delete_permission(self.request(root))

    def test_without_a_service_a_page_only_shows(self, db: None) -> None:
        page = LockedClockAdmin(TestClock, BackOfficeSite())
        request = self.request(User.objects.create_superuser("root"))
        assert page.has_view_permission(request)
        assert not page.has_add_permission(request)
        assert not page.has_change_permission(request)

    def test_a_financial_page_only_shows_whatever_it_defines(self, db: None) -> None:
        page = type("FinancialAdmin", (ClockAdmin,), {"financial": True})(TestClock, BackOfficeSite())
        request = self.request(User.objects.create_superuser("root"))
        assert page.has_view_permission(request)
        assert not page.has_add_permission(request)
        assert not page.has_change_permission(request)


def list_admin_urls(patterns: list[URLPattern | URLResolver], prefix: str = "/") -> Iterator[str]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern).replace("<path:object_id>", "1").replace("<path:app_label>", "x")
        if isinstance(pattern, URLResolver):
            yield from list_admin_urls(pattern.url_patterns, route)
        elif "(?P" not in route and "<" not in route:
            yield route


def is_foreign(model: type[Model]) -> bool:
    return model._meta.app_label == "djstripe"


class TestDoors:
    OPEN = ("/login/", "/logout/", "/jsi18n/")

    def test_no_page_of_the_real_site_opens_for_strangers(self, db: None, settings: Any) -> None:
        settings.ROOT_URLCONF = "tests.backoffice.real_admin_urls"
        client = Client()
        urls = list(list_admin_urls(get_resolver().url_patterns))
        assert len(urls) > 20
        for url in urls:
            if not url.endswith(self.OPEN):
                answer = client.get(url)
                assert answer.status_code == 302, url
                assert answer["Location"].startswith("/admin/login/"), url

    def test_only_our_own_pages_are_registered(self) -> None:
        assert isinstance(admin.site, BackOfficeSite)
        foreign = [
            model._meta.label
            for model, page in admin.site._registry.items()
            if not isinstance(page, BackOfficeAdmin) and model._meta.app_label != "auth"
        ]
        assert foreign == []
        # Of dj-stripe's own 41 pages there is none; ours of some of its tables only show.
        mirrored = {model.__name__: page for model, page in admin.site._registry.items() if is_foreign(model)}
        assert set(mirrored) == {
            *("Customer", "PaymentIntent", "Charge", "Refund", "Dispute", "Payout", "WebhookEndpoint")
        }
        assert {type(page).__module__ for page in mirrored.values()} == {"invoicing.admin.provider_copy"}


class TestCappedPaginator:
    def test_a_short_list_is_counted_exactly(self, make_clock: MakeClock) -> None:
        for name in "abc":
            make_clock(name)
        assert CappedPaginator(TestClock.objects.order_by("pk"), 2).num_pages == 2

    def test_a_long_list_is_estimated(self, make_clock: MakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("billing_site.backoffice.pagination.COUNT_LIMIT", 2)
        for name in "abc":
            make_clock(name)
        assert CappedPaginator(TestClock.objects.order_by("pk"), 2).count >= 3
