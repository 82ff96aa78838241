"""A price change from the first keystroke to the second person: edited, quoted, submitted, approved, live."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import IntegrityError, transaction
from django.urls import reverse

from billing_site.kernel.actors import Actor
from billing_site.platform.models import Approval
from catalog.models import CatalogDraft, CatalogRevision, Plan, Price
from catalog.services.drafts import create_draft
from tests.browser.conftest import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
OpenWindow = Callable[..., Any]
AT = datetime(2026, 11, 20, 9, tzinfo=UTC)


def url_of(draft: CatalogDraft, name: str = "change", *arguments: object) -> str:
    return reverse(f"admin:catalog_catalogdraft_{name}", args=[draft.pk, *arguments])


@pytest.fixture
def make_colleague(transactional_db: None) -> Callable[[str, str], User]:
    """Make a named person with a role."""

    def make(name: str, role: str) -> User:
        user = User.objects.create_user(name, password=PASSWORD, is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        return user

    return make


@pytest.fixture
def draft(sample: None) -> CatalogDraft:
    return create_draft(title="Spring prices", org_id="sample", at=AT, actor=Actor("staff", "ada")).draft


def find_plan(draft: CatalogDraft, key: str) -> int:
    return next(index for index, plan in enumerate(draft.document["plans"]) if plan["id"] == key)


def price_for(page: Any, place: str) -> Any:
    """Return the card of the price whose heading says `place`."""
    return page.locator("[data-price]", has=page.locator(f"[data-price-place]:text-is('{place}')"))


def write_tiers(card: Any, tiers: list[tuple[str, str]]) -> None:
    """Make the price graduated, and write its tiers as a person does."""
    card.locator("select[name$='-model']").select_option("graduated")
    for _ in range(len(tiers) - 1):
        card.locator("[data-do=add-tier]").click()
    rows = card.locator("[data-row=tier]")
    for place, (up_to, amount) in enumerate(tiers):
        rows.nth(place).locator("input[name$='-up_to']").fill(up_to)
        rows.nth(place).locator("input[name$='-unit_amount']").fill(amount)


def edit_prices(ada: Any, draft: CatalogDraft) -> None:
    """Give Pro a dearer fee and three tiers of requests, and watch what that costs."""
    ada.go(url_of(draft, "entry", "plans", find_plan(draft, "pro")))
    fee = price_for(ada.page, "Fee · USD · month")
    fee.locator("summary").first.click()
    fee.locator("[name$='-unit_amount']").first.fill("10900")
    assert fee.locator("[data-major]").first.inner_text() == "109.00 USD"
    fee.locator("summary").first.click()
    card = price_for(ada.page, "api · USD · month")
    card.locator("summary").first.click()
    # 1,000 requests at 1 cent, the next 9,000 at 0.8, the rest at 0.5
    write_tiers(card, [("1000", "1"), ("10000", "0.8"), ("", "0.5")])
    quantity, amount = card.locator("input[name$='quote_quantity']"), "[data-quote-amount]"
    quantity.fill("500")
    card.locator(f"{amount}:text-is('5.00 USD')").wait_for()
    quantity.fill("15000")
    # 1,000 x 1 + 9,000 x 0.8 + 5,000 x 0.5 = 10,700 cents
    card.locator(f"{amount}:text-is('107.00 USD')").wait_for()
    assert card.locator("[data-quote-rows] tr").count() == 3
    assert card.locator("[data-price-title]").inner_text() == "graduated, 3 tiers / month"
    fee.scroll_into_view_if_needed()


def submit(ada: Any, draft: CatalogDraft) -> Approval:
    """Look at the changes and their impact, and ask for approval."""
    ada.go(url_of(draft, "changes"))
    for expected in ("99.00 USD / month", "109.00 USD / month", "up to 1,000: 0.01 USD / request"):
        assert expected in ada.text()
    assert "Impact on running subscriptions" in ada.text()
    ada.page.click("a[href$='/submit/']")
    ada.page.fill("textarea[name=reason]", "Decided by the board")
    ada.page.click("button:has-text('Submit for approval')")
    ada.page.wait_for_selector("text=Waiting for another person.")
    ada.page.click("text=Open the request")
    ada.page.wait_for_selector("text=You asked for this yourself: another person must approve it.")
    return Approval.objects.get()


def see_request(bob: Any, draft: CatalogDraft, approval: Approval) -> None:
    """Find the request in the queue and read what it will do."""
    bob.page.click("#nav-sidebar-apps >> text=Approvals")
    bob.take("approvals")
    bob.page.click(f"text={approval.title}")
    bob.page.wait_for_selector("text=This waits for your decision.")
    assert "109.00 USD / month" in bob.text()
    bob.take("approval", height=1500)
    bob.go(url_of(draft, "changes"))
    bob.take("draft-changes")


class TestPriceChange:
    def test_takes_two_people_and_shows_what_it_costs(
        self, draft: CatalogDraft, open_window: OpenWindow, make_colleague: Callable[[str, str], User]
    ) -> None:
        make_colleague("ada", "billing")
        make_colleague("bob", "finance_lead")
        ada = open_window()
        ada.sign_in("ada")
        edit_prices(ada, draft)
        ada.page.click(".ch-editor-foot button[name=_save]")
        ada.page.wait_for_selector("text=Saved.")
        draft.refresh_from_db()
        prices = draft.document["plans"][find_plan(draft, "pro")]["prices"]
        edited = next(price for price in prices if price.get("meter") == "api" and price["currency"] == "usd")
        assert [tier["up_to"] for tier in edited["tiers"]] == ["1000", "10000", None]

        approval = submit(ada, draft)
        assert ada.page.query_selector(f"a[href$='{approval.pk}/approve/']") is None
        own = {"status": "approved", "decided_by": "staff:ada", "decided_at": AT, "executed_at": AT}
        with pytest.raises(IntegrityError, match="approvals_second_person"), transaction.atomic():
            Approval.objects.filter(pk=approval.pk).update(**own)
        assert CatalogRevision.objects.filter(org_id="sample").count() == 1

        windows = {theme: open_window(theme=theme) for theme in ("light", "dark")}
        for bob in windows.values():
            bob.sign_in("bob")
            see_request(bob, draft, approval)
        bob = windows["light"]
        bob.go(reverse("admin:platform_approval_change", args=[approval.pk]))
        bob.page.click("a[href$='/approve/']")
        bob.page.click("button:has-text('Approve')")
        bob.page.wait_for_selector("text=Approved and done")
        version = Plan.objects.get(org_id="sample", key="pro").current_version
        assert version is not None
        live = Price.objects.filter(plan_version=version, currency="usd", interval="month")
        assert live.get(meter=None).unit_amount == 10900
        assert live.get(meter__event_name="api").model == "graduated"
        for bob in windows.values():
            bob.go(reverse("admin:catalog_plan_change", args=[version.plan_id]))
            assert "approved by bob" in bob.text()
            bob.take("plan-history", height=1300)

    def test_looks_finished_in_both_themes(
        self, draft: CatalogDraft, open_window: OpenWindow, make_colleague: Callable[[str, str], User]
    ) -> None:
        make_colleague("ada", "billing")
        for theme in ("light", "dark"):
            ada = open_window(theme=theme)
            ada.sign_in("ada")
            edit_prices(ada, draft)
            ada.take("plan-editor", height=1900)


class TestRows:
    def test_models_show_their_own_fields_and_rows_come_and_go(
        self, draft: CatalogDraft, open_window: OpenWindow, make_colleague: Callable[[str, str], User]
    ) -> None:
        make_colleague("ada", "billing")
        ada = open_window()
        ada.sign_in("ada")
        ada.go(url_of(draft, "entry", "plans", find_plan(draft, "ai-payg")))
        page = ada.page
        before = page.locator("[data-price]").count()
        page.click("button[data-do=add-price]")
        card = page.locator("[data-price]").last
        assert card.locator("option[value=percentage]").is_disabled()  # not of a fee
        card.locator("select[name$='-meter']").select_option("api")
        card.locator("select[name$='-model']").select_option("percentage")
        assert card.locator("input[name$='-percent']").first.is_visible()
        assert not card.locator("input[name$='-package_size']").is_visible()
        card.locator("input[name$='-percent']").first.fill("1.2")
        card.locator("input[name$='-fixed_amount']").first.fill("10")
        card.locator("input[name$='quote_events']").fill("2")
        card.locator("input[name$='quote_value']").fill("5000")
        card.locator("[data-quote-amount]:text-is('1.40 USD')").wait_for()  # 2 x (60 + 10) cents
        card.locator("select[name$='-model']").select_option("stairstep")
        assert card.locator("[data-row=tier]").count() == 1
        card.locator("[data-quote-errors] li").first.wait_for(state="detached")
        card.locator("[data-do=copy-price]").click()
        assert page.locator("[data-price]").count() == before + 2
        page.locator("[data-price]").last.locator("[data-do=remove-price]").click()
        assert page.locator("[data-price]").count() == before + 1
        card.locator("input[name$='-flat_amount']").fill("100")
        page.click("button[data-do=add-quota]")
        page.locator("input[name$='-feature']").last.fill("llm:proxy")
        page.click(".ch-editor-foot button[name=_continue]")
        page.wait_for_selector("text=keep this draft from being published")  # the quota says no limit yet
        assert page.locator(".ch-quota-table .ch-errors li").count() > 0
        draft.refresh_from_db()
        plan = draft.document["plans"][find_plan(draft, "ai-payg")]
        assert plan["prices"][-1]["tiers"] == [{"up_to": None, "flat_amount": "100"}]
