"""Money back in the browser, with a provider on the other side: refunds of two people, a difference repaired."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from accounts.queries.proof import prove_ledger
from billing_site.kernel import clock
from billing_site.platform.models import Approval
from invoicing.models import CreditNote, Drift, Invoice, PaymentIntent, ReconciliationRun, Refund
from invoicing.services.collecting import collect_invoice
from tests.support import payments, world
from tests.support.jobs import SentJobs
from tests.support.stripe_hooks import HookedStripe, hooked_stripe

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
CONFIRM = ".ch-buttons button.ch-button-primary, .ch-buttons button.ch-button-danger"
OPEN_DIFFERENCES = "/admin/invoicing/drift/?status__exact=open"


@pytest.fixture
def provider() -> Iterator[HookedStripe]:
    """A Stripe of one's own whose webhooks come in."""
    with hooked_stripe() as hooked:
        yield hooked


@pytest.fixture
def invoice(provider: HookedStripe) -> Invoice:
    """An invoice of 10.00 that a card paid at the provider, and everything the provider told of it."""
    world.publish()
    account = world.open_account(name="Acme Corp")
    invoice = payments.bill(account)
    payments.attach(account, at=clock.now())
    collect_invoice(invoice_id=invoice.pk, at=clock.now(), actor=world.TESTER)
    provider.tell()
    invoice.refresh_from_db()
    assert invoice.status == "paid"
    return invoice


def name_page(obj: Any, page: str = "change") -> str:
    return reverse(f"admin:{obj._meta.app_label}_{obj._meta.model_name}_{page}", args=[obj.pk])


def press(visitor: Any, obj: Any, action: str) -> None:
    """Press the button of an action on the page of an object."""
    visitor.page.click(f"a[href*='{name_page(obj, action)}']")


def list_returned(provider: HookedStripe) -> list[tuple[int, str]]:
    """Return what the provider gave back, and of which payment."""
    return [(refund["amount"], refund["payment_intent"]) for refund in provider.server.objects("refund")]


def ask_for_refund(visitor: Any, invoice: Invoice) -> None:
    """Ask for 4.00 of an invoice back, and leave the visitor at the request."""
    page = visitor.page
    visitor.go(name_page(invoice))
    page.click("text=Correct")
    press(visitor, invoice, "refund")
    page.check("input[name=what][value=amount]")
    page.fill("input[name=amount]", "4.00")
    page.select_option("select[name=refund_reason]", "requested_by_customer")
    page.fill("textarea[name=reason]", "Outage of 12 hours, ticket 4711")
    page.click(CONFIRM)
    page.wait_for_selector("text=nothing was done yet")
    for words in ("6.00 USD", "It is above 3.00 USD: another person must approve it"):
        assert words in visitor.text()
    page.click("button:has-text('Ask for it')")
    page.wait_for_selector("text=A refund of 4.00 USD waits for the approval of another person.")


def compare_now(visitor: Any, jobs: SentJobs) -> None:
    """Press the button, and let a worker do what it asks for."""
    visitor.go(reverse("admin:invoicing_reconciliationrun_changelist"))
    visitor.page.click("text=Compare now")
    visitor.page.fill("textarea[name=reason]", "The bank asked")
    visitor.page.click(CONFIRM)
    visitor.page.wait_for_selector("text=is under way.")
    assert "invoicing.work_reconciliation" in jobs.run()
    visitor.go(name_page(ReconciliationRun.objects.order_by("id").last()))
    assert "Finished" in visitor.text()


class TestARefund:
    def test_is_asked_for_by_one_person_and_approved_by_another(
        self,
        invoice: Invoice,
        provider: HookedStripe,
        open_window: Callable[..., Any],
        make_person: Callable[[str], User],
        sent_jobs: SentJobs,
        settings: Any,
    ) -> None:
        settings.BILLING_REFUND_APPROVAL_LIMITS = {"default": 300}
        asking, deciding = open_window(), open_window()
        asking.sign_in(make_person("billing").username)
        deciding.sign_in(make_person("finance_lead").username)
        ask_for_refund(asking, invoice)
        assert "You asked for this yourself: another person must approve it." in asking.text()
        asked, refund = Approval.objects.get(), Refund.objects.get()
        asking.take("refund-asked", height=1000)
        approve = f"{asking.base_url}{name_page(asked, 'approve_request')}"
        assert asking.page.query_selector("text='Approve'") is None
        assert asking.page.context.request.get(approve).status == 403
        asking.go(name_page(refund))
        assert asked.title in asking.text()
        sent_jobs.run()
        asked.refresh_from_db()
        assert (asked.status, refund.status, list_returned(provider)) == ("pending", "pending", [])
        assert not CreditNote.objects.exists()

        deciding.go(reverse("admin:platform_approval_changelist"))
        deciding.page.click(f"text={asked.title}")
        deciding.page.wait_for_selector("text=4.00 USD go back through stripe to Visa ending in 4242")
        press(deciding, asked, "approve_request")
        deciding.page.fill("textarea[name=reason]", "Agreed with support")
        with deciding.page.expect_navigation():
            deciding.page.click(CONFIRM)
        sent_jobs.run()
        provider.tell()
        refund.refresh_from_db()
        assert (refund.status, list_returned(provider)) == (
            "succeeded",
            [(400, PaymentIntent.objects.get().provider_ref)],
        )
        note = CreditNote.objects.get()
        assert (note.total, refund.credit_note_id) == (400, note.pk)

        asking.go(name_page(refund))
        for words in ("Succeeded", "4.00 USD", "CN-0001", "Requested by the customer"):
            assert words in asking.text()
        asking.go(name_page(note))
        asking.page.click("text=View document")
        assert "CN-0001" in asking.text()
        file = asking.page.context.request.get(f"{asking.base_url}{name_page(note, 'download')}")
        assert (file.status, file.headers["content-type"]) == (200, "application/pdf")
        assert file.body().startswith(b"%PDF-")
        assert prove_ledger().holds


class TestADifference:
    def test_is_found_shown_with_both_sides_and_repaired(
        self,
        invoice: Invoice,
        provider: HookedStripe,
        open_window: Callable[..., Any],
        make_person: Callable[[str], User],
        sent_jobs: SentJobs,
    ) -> None:
        payment = PaymentIntent.objects.get()
        given = provider.server.refund_unseen(payment.provider_ref)
        provider.tell()
        assert not Refund.objects.exists()
        visitor = open_window()
        visitor.sign_in(make_person("finance_lead").username)
        compare_now(visitor, sent_jobs)
        visitor.go(OPEN_DIFFERENCES)
        # The refund that we lack, and its payment, of which less was given back here.
        for words in (f"Refund {given['id']}", "Refunded: 0.00 USD", "Refunded: 10.00 USD", "Acme Corp"):
            assert words in visitor.text()
        visitor.page.click(f"text=Refund {given['id']}")
        visitor.page.wait_for_selector("text=Amount: 10.00 USD")
        drift = Drift.objects.get(object_kind="refund")
        press(visitor, drift, "repair")
        visitor.page.fill("textarea[name=reason]", "Given back by support in the dashboard")
        with visitor.page.expect_navigation():
            visitor.page.click(CONFIRM)
        for words in (f"Repaired: refund {given['id']}", "Given back by support in the dashboard"):
            assert words in visitor.text()
        refund = Refund.objects.get()
        assert (refund.provider_ref, refund.amount, refund.status) == (given["id"], 1000, "succeeded")
        visitor.go(OPEN_DIFFERENCES)
        assert given["id"] not in visitor.text()
        # What it explained is gone with the next comparison, by itself.
        compare_now(visitor, sent_jobs)
        visitor.go(OPEN_DIFFERENCES)
        assert payment.provider_ref not in visitor.text()
        assert set(Drift.objects.values_list("status", flat=True)) == {"repaired"}
        assert prove_ledger().holds
