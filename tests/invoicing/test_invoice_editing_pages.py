"""Making, editing, giving up and reissuing invoices in the admin: what is said first, and what it does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from billing_site.kernel import clock
from billing_site.platform.models import Event
from invoicing.models import Invoice
from tests.support import world

pytestmark = pytest.mark.django_db
WHY = {"reason": "agreed by phone", "_confirmed": "1"}


@pytest.fixture(autouse=True)
def _an_hour_later() -> Iterator[None]:
    with clock.travel(world.NOVEMBER + timedelta(hours=1)):
        yield


def sign_in(role: str) -> Client:
    user = User.objects.create_user(f"ada-{role}", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    browser = Client()
    browser.force_login(user)
    return browser


def name_page(action: str, invoice: Invoice | None = None) -> str:
    return reverse(f"admin:invoicing_invoice_{action}", args=[] if invoice is None else [invoice.pk])


def test_a_draft_is_made_edited_discounted_issued_and_issued_again() -> None:
    world.publish()
    world.open_account(email="acme@example.com")
    browser = sign_in("finance_lead")
    first = {"account": "acme", "currency": "", "description": "Set-up", "amount": "100.00", **WHY}
    browser.post(name_page("create"), first)
    draft = Invoice.objects.get()
    assert (draft.status, draft.total) == ("draft", 10_000)
    refused = browser.post(name_page("add_line", draft), {"description": "x", "amount": "ten", **WHY})
    assert "is no amount of USD" in refused.content.decode()
    browser.post(name_page("add_line", draft), {"description": "Training", "amount": "50.00", **WHY})
    browser.post(name_page("put_discount", draft), {"percent": "10", "name": "Loyal", **WHY})
    draft.refresh_from_db()
    assert (draft.total, draft.discount_name) == (13_500, "Loyal")
    line = draft.lines.get(description="Set-up")
    assert "1. Set-up: 100.00" in browser.get(name_page("take_line", draft)).content.decode()
    browser.post(name_page("take_line", draft), {"line": line.public_id, **WHY})
    browser.post(name_page("finalize", draft), WHY)
    draft.refresh_from_db()
    assert (draft.number_text, draft.total) == ("INV-0001", 4500)
    preview = browser.get(name_page("reissue", draft)).content.decode()
    assert "INV-0001 over 45.00 USD is voided" in preview
    answer = browser.post(name_page("reissue", draft), WHY)
    again = Invoice.objects.get(status="draft")
    assert again.reissues == draft
    assert answer["Location"] == reverse("admin:invoicing_invoice_change", args=[again.pk])
    assert Event.objects.filter(type="invoice.voided", reason="agreed by phone").count() == 1
    browser.post(name_page("finalize", again), WHY)
    assert "45.00 USD of INV-0002 becomes bad debt" in browser.get(name_page("give_up", again)).content.decode()
    browser.post(name_page("give_up", again), WHY)
    again.refresh_from_db()
    assert again.status == "uncollectible"


def test_readers_may_not() -> None:
    world.publish()
    world.subscribe(world.open_account(), "pro")
    browser = sign_in("viewer")
    for action in ("add_line", "take_line", "put_discount", "reissue", "give_up"):
        assert browser.get(name_page(action, Invoice.objects.get())).status_code == 403
