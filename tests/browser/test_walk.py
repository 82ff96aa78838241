"""A day in the back office, with the sample business, in both themes: what is on each page, and that nothing breaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.urls import reverse

from accounts.models import Account
from billing_site.backoffice.display import format_amount, format_money
from billing_site.kernel.actors import Actor
from billing_site.platform.models import Event
from catalog.models import CatalogDraft, CatalogRevision
from catalog.services.drafts import create_draft, update_draft
from invoicing.models import BillingRun, Invoice, RunOutcome

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
OpenWindow = Callable[..., Any]
MakePerson = Callable[[str], Any]
AT = datetime(2026, 11, 20, 9, tzinfo=UTC)


def change_url(obj: Any) -> str:
    return reverse(f"admin:{obj._meta.app_label}_{obj._meta.model_name}_change", args=[obj.pk])


@pytest.fixture
def draft(sample: None) -> CatalogDraft:
    """A draft of the sample catalog in which the plan Pro costs ten dollars more."""
    made = create_draft(title="Spring prices", org_id="sample", at=AT, actor=Actor("staff", "ada")).draft
    document = made.document
    for plan in document["plans"]:
        for price in plan.get("prices", []):
            if price["unit_amount"] == 9900:
                price["unit_amount"] = 10900
    return update_draft(draft_id=made.pk, document=document, at=AT, actor=Actor("staff", "ada")).draft


def see_catalog(visitor: Any, draft: CatalogDraft) -> None:
    visitor.go(reverse("admin:catalog_plan_changelist"))
    assert "99.00 USD" in visitor.text()
    visitor.go(change_url(draft))
    assert visitor.page.locator(".ch-plan").count() == len(draft.document["plans"])
    assert "109.00 USD / month" in visitor.text()
    visitor.take("catalog-draft", height=1660)
    visitor.page.click(".ch-tabs >> text=Changes")
    for expected in ("99.00 USD / month", "109.00 USD / month"):
        assert expected in visitor.text()
    visitor.page.click(".ch-tabs >> text=JSON")
    document = json.loads(visitor.page.input_value("textarea[name=document]"))
    assert {plan["id"] for plan in document["plans"]} >= {"free", "starter", "pro"}


def see_overview(visitor: Any) -> None:
    visitor.go("/admin/")
    text = visitor.text()
    newest = Invoice.objects.select_related("account").order_by("-id")[0]
    for expected in ("Invoiced this month", "Overdue", newest.number_text, newest.account.name, "Latest events"):
        assert expected in text
    assert format_money(newest.total, newest.currency) in text
    assert visitor.page.query_selector_all("svg.ch-chart rect.ch-bar")
    visitor.take("overview", height=1110)


def see_invoice(visitor: Any) -> None:
    invoice = Invoice.objects.filter(lines__type="usage", lines__amount__gt=0).order_by("id")[0]
    visitor.go(reverse("admin:invoicing_invoice_changelist"))
    visitor.take("invoices")
    visitor.page.click(f"text={invoice.number_text}")
    visitor.page.wait_for_selector(".ch-trace")
    text = visitor.text()
    assert "The trace gives the same, to the cent" in text
    for line in invoice.lines.all():
        assert line.description in text
        assert format_amount(line.amount, line.currency) in text
        for step in line.trace["steps"]:
            assert step["value"] in text
    assert visitor.page.query_selector("input[name=total]") is None
    visitor.take("invoice", height=1840)


def see_run(visitor: Any) -> None:
    run = BillingRun.objects.get()
    visitor.go(reverse("admin:invoicing_billingrun_changelist"))
    assert "Completed" in visitor.text()
    visitor.go(change_url(run))
    text = visitor.text()
    total = RunOutcome.objects.filter(run=run).count()
    assert f"{total} of {total}" in text
    for outcome in run.outcomes.select_related("account", "last_invoice"):
        assert outcome.account.name in text
        assert outcome.last_invoice is None or outcome.last_invoice.number_text in text
    visitor.take("run", height=1140)


def see_account(visitor: Any) -> None:
    account = Account.objects.get(external_id="acme")
    visitor.go(reverse("admin:accounts_account_changelist"))
    assert account.name in visitor.text()
    visitor.go(change_url(account))
    assert visitor.page.input_value("input[name=name]") == account.name
    for expected in ("Subscriptions", "Balances", "500.00", "subscription.created"):
        assert expected in visitor.text()


def see_audit_trail(visitor: Any) -> None:
    visitor.go(reverse("admin:platform_event_changelist"))
    assert "invoice.finalized" in visitor.text()
    visitor.go(change_url(Event.objects.order_by("-id")[0]))
    assert "Previous hash" in visitor.text()


def see_documentation(visitor: Any) -> None:
    visitor.page.goto(f"{visitor.base_url}/api/docs")
    visitor.page.wait_for_selector(".opblock", timeout=60_000)


class TestWalk:
    def test_every_page_shows_the_business(
        self, draft: CatalogDraft, open_window: OpenWindow, make_person: MakePerson
    ) -> None:
        username = make_person("superuser").username
        for theme in ("light", "dark"):
            visitor = open_window(theme=theme)
            visitor.sign_in(username)
            see_overview(visitor)
            see_catalog(visitor, draft)
            see_account(visitor)
            see_invoice(visitor)
            see_run(visitor)
            see_audit_trail(visitor)
            if theme == "light":  # the page has one theme
                see_documentation(visitor)

    def test_a_draft_that_is_no_json_stays_as_typed_and_one_person_may_publish_where_that_is_allowed(
        self, draft: CatalogDraft, open_window: OpenWindow, make_person: MakePerson, settings: Any
    ) -> None:
        settings.BILLING_CATALOG_APPROVAL = False
        visitor = open_window()
        visitor.sign_in(make_person("finance_lead").username)
        visitor.go(reverse("admin:catalog_catalogdraft_document", args=[draft.pk]))
        visitor.page.fill("textarea[name=document]", '{"plans": [')
        visitor.page.click("button:has-text('Save the document')")
        visitor.page.wait_for_selector("text=Line 1, column 12")
        assert visitor.page.input_value("textarea[name=document]") == '{"plans": ['
        visitor.go(change_url(draft))
        visitor.page.click("a[href$='/publish/']")
        visitor.page.wait_for_selector("text=It replaces revision 1.")
        visitor.page.fill("textarea[name=reason]", "Decided by the board")
        visitor.page.click("button:has-text('Publish')")
        visitor.page.wait_for_selector("text=Revision 2 is the active catalog now.")
        revision = CatalogRevision.objects.get(org_id="sample", is_active=True)
        assert (revision.revision, revision.reason) == (2, "Decided by the board")

    def test_voiding_asks_for_a_reason_and_leaves_a_trail(
        self, sample: None, open_window: OpenWindow, make_person: MakePerson
    ) -> None:
        invoice = Invoice.objects.filter(status="open").order_by("-id")[0]
        visitor = open_window()
        visitor.sign_in(make_person("finance_lead").username)
        visitor.go(change_url(invoice))
        visitor.page.click("text=Correct")
        visitor.page.click("a[href$='/void/']")
        visitor.page.wait_for_selector(".ch-confirm")
        assert invoice.number_text in visitor.text()
        visitor.take("confirmation")
        visitor.page.click("button:has-text('Void')")
        visitor.page.wait_for_selector("text=This field is required.")
        visitor.page.fill("textarea[name=reason]", "Billed to the wrong account")
        visitor.page.click("button:has-text('Void')")
        visitor.page.wait_for_selector("text=is void.")
        assert "Billed to the wrong account" in visitor.text()
        invoice.refresh_from_db()
        assert invoice.status == "void"
        event = Event.objects.get(type="invoice.voided")
        assert (event.actor_type, event.actor_id) == ("staff", "finance_lead-person")

    def test_a_run_is_started_from_its_page(
        self, sample: None, open_window: OpenWindow, make_person: MakePerson
    ) -> None:
        visitor = open_window()
        visitor.sign_in(make_person("billing").username)
        visitor.go(reverse("admin:invoicing_billingrun_changelist"))
        visitor.page.click("a[href$='/start-run/']")
        visitor.page.select_option("select[name=org_id]", "sample")
        visitor.page.fill("textarea[name=reason]", "Month end")
        visitor.page.click("button:has-text('Start')")
        visitor.page.wait_for_selector("text=billing_run.started")
        run = BillingRun.objects.order_by("-id")[0]
        assert (run.reason, run.requested_by) == ("Month end", "staff:billing-person")
