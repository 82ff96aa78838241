"""The usage feed and what the provider is told, in the admin: to look at, and to have tried again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse
from zeal import zeal_ignore

from billing_site.kernel import clock
from billing_site.platform.models import Event
from metering.models import UsageEvent, UsageExport, UsageExportSurplus, UsageFeedEvent
from metering.services.usage_exports import Claim, NewUsageExport, request_export, settle_exported, settle_failed
from tests.factories.metering import AT, make_account, make_meter
from tests.support.api import make_client
from tests.support.world import TESTER

pytestmark = pytest.mark.django_db

UNKNOWN = "0b6f2c0e-6f0e-4b7e-9f55-0d6f0a6c1f10"


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


def sign_in(role: str) -> Client:
    user = User.objects.create_user(f"ada-{role}", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    browser = Client()
    browser.force_login(user)
    return browser


def tell(**body: Any) -> UsageFeedEvent:
    answer = make_client().post("/api/internal/usage-events", {"event_type": "usage_recorded", **body})
    assert answer.status_code == 201
    return UsageFeedEvent.objects.get(pk=answer.json()["id"])


def make_export(key: str = "e1", *, code: str = "", is_certain: bool = True) -> UsageExport:
    account = make_account()
    new = NewUsageExport(event_id=key, meter="llm_tokens", quantity=1200)
    row = request_export(account=account, new=new, at=AT, actor=TESTER).export
    assert row is not None
    if not code:
        return settle_exported(export_id=row.pk, provider_event_id="mev_1", at=AT)
    claim = Claim(row, was_uncertain=False)
    return settle_failed(claim=claim, code=code, detail=f"It is {code}.", at=AT, is_certain=is_certain, is_final=True)


def confirm(browser: Client, url: str, reason: str) -> str:
    return browser.post(url, {"reason": reason, "_confirmed": "yes"}, follow=True).content.decode()


class TestFeed:
    def test_shows_what_was_told_and_what_could_not_be_counted(self) -> None:
        make_account("acme", name="Acme Inc")
        make_meter("llm_tokens")
        counted = tell(account_id="acme", event_id="e1", data={"tokens": 5})
        tell(account_id=UNKNOWN, event_id="e2", data={"tokens": 5})
        browser = sign_in("viewer")
        listed = browser.get(reverse("admin:metering_usagefeedevent_changelist")).content.decode()
        for text in (
            "Acme Inc",
            "Counted",
            UNKNOWN,
            "Could not be counted",
            UNKNOWN,
            "The account is not known here",
        ):
            assert text in listed
        shown = browser.get(reverse("admin:metering_usagefeedevent_change", args=[counted.pk])).content.decode()
        assert "&quot;tokens&quot;: 5" in shown

    @pytest.mark.parametrize("term", ["e2", "acme", "{number}"])
    def test_finds_by_event_account_and_number(self, term: str) -> None:
        make_account("acme")
        make_account("other")
        tell(account_id="other", event_id="elsewhere")
        event = tell(account_id="acme", event_id="e2")
        page = reverse("admin:metering_usagefeedevent_changelist")
        listed = sign_in("viewer").get(page, {"q": term.format(number=event.pk)}).content.decode()
        assert "e2" in listed
        assert "elsewhere" not in listed

    def test_counts_an_event_once_its_account_is_there(self) -> None:
        make_meter("llm_tokens")
        event = tell(account_id=UNKNOWN, event_id="e1", data={"total_tokens": 7.0})
        browser = sign_in("billing")
        url = reverse("admin:metering_usagefeedevent_count_event", args=[event.pk])
        assert "The account is not known here" in confirm(browser, url, "the account is there now")
        account = make_account(UNKNOWN)
        assert "was counted" in confirm(browser, url, "the account is there now")
        usage = UsageEvent.objects.get()
        assert (usage.account, int(usage.value), usage.idempotency_key) == (account, 7, "e1")
        event.refresh_from_db()
        assert (event.outcome, event.outcome_detail) == ("counted", "")
        audit = Event.objects.get(type="usage_feed.counted")
        assert (audit.reason, audit.actor_id) == ("the account is there now", "ada-billing")
        confirm(browser, url, "once more, please")
        assert UsageEvent.objects.count() == 1
        assert Event.objects.filter(type="usage_feed.counted").count() == 1

    def test_lets_no_viewer_count(self) -> None:
        event = tell(account_id=UNKNOWN, event_id="e1", data={"tokens": 5})
        url = reverse("admin:metering_usagefeedevent_count_event", args=[event.pk])
        assert sign_in("viewer").post(url, {"reason": "because I can", "_confirmed": "yes"}).status_code in (302, 403)
        assert not Event.objects.filter(type="usage_feed.counted").exists()


class TestExports:
    def test_show_state_and_reason_and_are_tried_again(self) -> None:
        make_meter("llm_tokens")
        make_export("fine")
        failed = make_export("bad", code="customer_unknown")
        browser = sign_in("billing")
        listed = browser.get(reverse("admin:metering_usageexport_changelist")).content.decode()
        for text in ("Exported", "Failed", "It is customer_unknown.", "1,200"):
            assert text in listed
        shown = browser.get(reverse("admin:metering_usageexport_change", args=[failed.pk])).content.decode()
        assert "Try again" in shown
        url = reverse("admin:metering_usageexport_retry", args=[failed.pk])
        assert "counts twice" not in browser.get(url).content.decode()
        assert "tried again within a minute" in confirm(browser, url, "the customer is there now")
        failed.refresh_from_db()
        assert (failed.status, failed.next_attempt_at, failed.attempts) == ("pending", AT, 0)
        assert Event.objects.get(type="usage_export.retried").reason == "the customer is there now"

    def test_warn_before_what_may_count_twice(self) -> None:
        make_meter("llm_tokens")
        failed = make_export("bad", code="provider_unavailable", is_certain=False)
        url = reverse("admin:metering_usageexport_retry", args=[failed.pk])
        assert "counts twice there" in sign_in("billing").get(url).content.decode()

    def test_offer_nothing_for_what_is_exported_nor_to_a_viewer(self) -> None:
        make_meter("llm_tokens")
        fine, failed = make_export("fine"), make_export("bad", code="customer_unknown")
        page = "admin:metering_usageexport_change"
        assert "Try again" not in sign_in("billing").get(reverse(page, args=[fine.pk])).content.decode()
        assert "Try again" not in sign_in("viewer").get(reverse(page, args=[failed.pk])).content.decode()

    def test_many_are_tried_again_together(self) -> None:
        make_meter("llm_tokens")
        rows = [make_export(f"bad-{number}", code="customer_unknown") for number in range(3)]
        browser = sign_in("billing")
        with zeal_ignore():  # one service call for each that is selected
            answer = browser.post(
                reverse("admin:metering_usageexport_changelist"),
                {
                    "action": "retry",
                    "_selected_action": [str(row.pk) for row in rows],
                    "reason": "mended",
                    "_confirmed": "yes",
                },
                follow=True,
            )
        assert "3 of 3 done" in answer.content.decode()
        assert set(UsageExport.objects.values_list("status", flat=True)) == {"pending"}

    def test_are_found_by_id_identifier_and_account(self) -> None:
        make_meter("llm_tokens")
        row, other = make_export("wanted"), make_export("unwanted-key")
        browser, page = sign_in("viewer"), reverse("admin:metering_usageexport_changelist")
        for term in (row.public_id, "wanted", row.account.public_id, str(row.account.external_id)):
            listed = browser.get(page, {"q": term}).content.decode()
            assert row.account.name in listed
            assert f">{other.account.name}<" not in listed

    def test_list_what_was_told_too_much(self) -> None:
        UsageExportSurplus.objects.create(
            account=make_account(name="Acme Inc"), meter=make_meter("llm_tokens"), hour=AT, quantity=30, noticed_at=AT
        )
        listed = sign_in("viewer").get(reverse("admin:metering_usageexportsurplus_changelist")).content.decode()
        assert "Acme Inc" in listed
        assert ">30<" in listed

    @pytest.mark.parametrize(("next_", "shown"), [("given_up", "gone"), ("waits", "later")])
    def test_are_filtered_by_who_must_look(self, next_: str, shown: str) -> None:
        make_meter("llm_tokens")
        make_export("gone", code="customer_unknown")
        row = make_export("later", code="customer_unknown")
        UsageExport.objects.filter(pk=row.pk).update(next_attempt_at=AT)
        page = reverse("admin:metering_usageexport_changelist")
        listed = sign_in("viewer").get(page, {"next": next_}).content.decode()
        names = {each.idempotency_key: each.account.name for each in UsageExport.objects.select_related("account")}
        assert [key for key, name in names.items() if f">{name}<" in listed] == [shown]
