"""Usage files in the admin: handed in by those who may, watched, explained, called off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
from django.contrib.auth.models import Group, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from accounts.models import Account
from billing_site.backoffice.actions import CONFIRMED
from billing_site.kernel import clock
from metering.models import UsageEvent, UsageImport
from metering.tasks import work_usage_import
from tests.factories.metering import AT, make_account, make_meter

pytestmark = pytest.mark.django_db
LIST: Final = "admin:metering_usageimport_changelist"
PAGE: Final = "admin:metering_usageimport_change"
IMPORT: Final = "admin:metering_usageimport_import_file"
CANCEL: Final = "admin:metering_usageimport_cancel_import"
ERRORS: Final = "admin:metering_usageimport_errors"
CONTENT: Final = b"timestamp,service,quantity\n2026-03-01,api,1\n2026-03-02,api,2\n"


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


@pytest.fixture(autouse=True)
def account() -> Account:
    make_meter("api")
    return make_account("acme/alice", name="Acme")


def sign_in(role: str) -> Client:
    user = User.objects.create_user(f"{role}-person", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def hand_in(browser: Client, content: bytes = CONTENT, **values: Any) -> Any:
    file = SimpleUploadedFile(values.pop("name", "march.csv"), content, content_type="text/csv")
    body = {CONFIRMED: "1", "file": file, "account": "ACME/alice", "reason": "Moved from the old system", **values}
    return browser.post(reverse(IMPORT), body, follow=True)


def text_of(response: Any) -> str:
    content: str = response.content.decode()
    return content


class TestImport:
    def test_is_taken_in_watched_and_done(self, account: Account) -> None:
        browser = sign_in("billing")
        assert "Import a file" in text_of(browser.get(reverse(LIST)))
        assert 'enctype="multipart/form-data"' in text_of(browser.get(reverse(IMPORT)))
        page = hand_in(browser)
        usage_import = UsageImport.objects.get()
        assert page.redirect_chain[-1][0] == reverse(PAGE, args=[usage_import.pk])
        assert "Its lines are being checked" in text_of(page)
        assert (page["Refresh"], "0 checked" in text_of(page)) == ("3", True)
        assert (usage_import.requested_by, usage_import.reason) == ("staff:billing-person", "Moved from the old system")
        assert usage_import.account == account
        work_usage_import(str(usage_import.pk))
        page = browser.get(reverse(PAGE, args=[usage_import.pk]))
        assert "Refresh" not in page
        assert "2 counted, 0 known before." in text_of(page)
        assert UsageEvent.objects.count() == 2

    def test_the_same_file_again_says_that_nothing_changed(self) -> None:
        browser = sign_in("billing")
        for _ in range(2):
            hand_in(browser)
            work_usage_import(str(UsageImport.objects.order_by("-id")[0].pk))
        first, second = UsageImport.objects.order_by("id")
        text = text_of(browser.get(reverse(PAGE, args=[second.pk])))
        assert "Every one of 2 lines had been counted before: nothing changed." in text
        assert reverse(PAGE, args=[first.pk]) in text

    def test_only_checking(self) -> None:
        browser = sign_in("billing")
        hand_in(browser, check_only="on")
        usage_import = UsageImport.objects.get()
        work_usage_import(str(usage_import.pk))
        assert "All 2 lines are right. Nothing was written." in text_of(browser.get(reverse(LIST)))
        assert not UsageEvent.objects.exists()

    def test_names_the_wrong_lines_on_the_page_and_as_a_file(self) -> None:
        browser = sign_in("billing")
        hand_in(browser, CONTENT + b"2026-03-03,<b>nope</b>,1\n2026-03-03,api,x\n")
        usage_import = UsageImport.objects.get()
        work_usage_import(str(usage_import.pk))
        text = text_of(browser.get(reverse(PAGE, args=[usage_import.pk])))
        for expected in ("2 lines are wrong. Nothing was counted.", "meter_not_found", "&lt;b&gt;nope&lt;/b&gt;"):
            assert expected in text, expected
        assert "<b>nope</b>" not in text
        file = browser.get(reverse(ERRORS, args=[usage_import.pk]))
        assert file["Content-Disposition"] == f'attachment; filename="{usage_import.public_id}-errors.csv"'
        assert text_of(file).splitlines() == [
            "line,column,code,detail",
            "4,service,meter_not_found,There is no meter '<b>nope</b>'.",
            '5,quantity,invalid,"""x"" is not a number"',
        ]

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"account": "nobody"}, "There is no account with this id"),
            ({"account": ""}, "The file has no column account"),
            ({"name": "march.xlsx"}, "ends in .csv, .jsonl or .ndjson"),
            ({"content": b"a,b\n"}, "service"),
            ({"reason": ""}, "This field is required"),
        ],
    )
    def test_says_what_is_wrong_with_the_form(self, values: dict[str, Any], message: str) -> None:
        page = hand_in(sign_in("billing"), **values)
        assert message in text_of(page)
        assert not UsageImport.objects.exists()


class TestCanceling:
    def test_stops_it(self) -> None:
        browser = sign_in("billing")
        hand_in(browser)
        usage_import = UsageImport.objects.get()
        browser.post(reverse(CANCEL, args=[usage_import.pk]), {CONFIRMED: "1", "reason": "the wrong month"})
        usage_import.refresh_from_db()
        assert usage_import.status == "canceled"
        page = text_of(browser.get(reverse(PAGE, args=[usage_import.pk])))
        assert "Called off: 0 lines were checked, none written." in page
        assert reverse(CANCEL, args=[usage_import.pk]) not in page


class TestRoles:
    def test_viewers_look_and_hand_nothing_in(self) -> None:
        hand_in(sign_in("billing"))
        usage_import = UsageImport.objects.get()
        for role in ("viewer", "support"):
            browser = sign_in(role)
            assert "march.csv" in text_of(browser.get(reverse(LIST)))
            assert reverse(IMPORT) not in text_of(browser.get(reverse(LIST)))
            assert browser.get(reverse(IMPORT)).status_code == 403
            assert browser.get(reverse(CANCEL, args=[usage_import.pk])).status_code == 403
            assert browser.get(reverse(ERRORS, args=[usage_import.pk])).status_code == 200
        assert Client().get(reverse(ERRORS, args=[usage_import.pk])).status_code == 302

    def test_rows_are_never_edited(self) -> None:
        browser = sign_in("admin")
        hand_in(browser)
        usage_import = UsageImport.objects.get()
        assert browser.post(reverse(PAGE, args=[usage_import.pk]), {"status": "succeeded"}).status_code == 403
        assert browser.get(reverse("admin:metering_usageimport_delete", args=[usage_import.pk])).status_code == 403
