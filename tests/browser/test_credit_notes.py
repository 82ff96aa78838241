"""Invoices corrected in the browser: void and issued again; credited by a note that a second person approves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.urls import reverse

from accounts.queries.proof import prove_ledger
from billing_site.platform.models import Approval
from catalog.services.tax_rates import create_tax_rate
from invoicing.models import CreditNote, Invoice
from tests.browser.conftest import THEMES
from tests.support import world

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
CONFIRM = ".ch-buttons button.ch-button-primary, .ch-buttons button.ch-button-danger"


@pytest.fixture
def invoice() -> Invoice:
    """An open invoice in Germany: a fee of 10.00 and usage of 5.00 and 15.00, with 19 % of tax 35.70."""
    world.publish()
    rate = Decimal("0.19")
    create_tax_rate(rate=rate, name="VAT", country="DE", org_id="default", at=world.OCTOBER, actor=world.TESTER)
    account = world.open_account(
        name="Acme GmbH", country="DE", line1="Hauptstr. 1", city="Berlin", postal_code="10115"
    )
    world.subscribe(account, "pro")
    for number, meter in enumerate(("input_tokens", "output_tokens")):
        world.use(account, meter, ["10000000"], at=world.NOVEMBER + timedelta(days=3), key=str(number))
    world.run_cycle(as_of=world.DECEMBER)
    return world.list_invoices()[-1]


def name_page(obj: Any, page: str = "change") -> str:
    return reverse(f"admin:{obj._meta.app_label}_{obj._meta.model_name}_{page}", args=[obj.pk])


def fill_credit_form(visitor: Any) -> None:
    page = visitor.page
    page.check("input[name=what][value=lines]")
    page.fill("input[name=line_1]", "6.00")
    page.fill("input[name=line_2]", "5.00")
    page.select_option("select[name=cause]", "product_unsatisfactory")
    page.fill("textarea[name=memo]", "Credit for the outage of 3 November.")
    page.fill("textarea[name=reason]", "Outage of 12 hours, ticket 4711")


class TestCorrections:
    def test_an_invoice_is_void_and_issued_again(
        self, invoice: Invoice, open_window: Callable[..., Any], make_person: Callable[[str], Any]
    ) -> None:
        visitor = open_window()
        visitor.sign_in(make_person("finance_lead").username)
        visitor.go(name_page(invoice))
        visitor.page.click("text=Correct")
        visitor.page.click("text=Void and reissue")
        assert "is voided" in visitor.text()
        visitor.page.fill("textarea[name=reason]", "Sent to the old address")
        visitor.page.click(CONFIRM)
        visitor.page.wait_for_selector("text=Finalize")
        draft = Invoice.objects.get(status="draft")
        assert visitor.page.url.endswith(name_page(draft))
        visitor.page.click("text=Finalize")
        visitor.page.fill("textarea[name=reason]", "Same lines, new address")
        visitor.page.click(CONFIRM)
        visitor.page.wait_for_selector("text=INV-0003 is issued: 35.70 USD")
        invoice.refresh_from_db()
        draft.refresh_from_db()
        assert (invoice.status, draft.status, draft.reissues_id) == ("void", "open", invoice.pk)

    @pytest.mark.parametrize("theme", THEMES)
    def test_a_credit_note_above_the_limit_is_asked_for_and_approved(
        self,
        invoice: Invoice,
        open_window: Callable[..., Any],
        make_person: Callable[[str], Any],
        settings: Any,
        theme: str,
    ) -> None:
        settings.BILLING_APPROVAL_LIMIT = 1000
        asking, deciding = open_window(theme=theme), open_window(theme=theme)
        asking.sign_in(make_person("finance_lead").username)
        asking.go(name_page(invoice))
        asking.page.click("text=Correct")
        asking.page.click("text=Issue a credit note")
        fill_credit_form(asking)
        asking.page.click(CONFIRM)
        asking.page.wait_for_selector("text=nothing was done yet")
        text = asking.text()
        # 19 % of 6.00 + 5.00 is 2.09; of 35.70 22.61 are left
        for words in ("2.09 USD", "13.09 USD", "22.61 USD", "another person must approve it"):
            assert words in text
        asking.take("credit-note-preview", height=1100)
        asking.page.click("button:has-text('Ask for it')")
        asking.page.wait_for_selector("text=waits for the approval of another person")
        asked = Approval.objects.get()
        assert "You asked for this yourself: another person must approve it." in asking.text()
        asking.go(name_page(asked, "approve_request"))
        assert "You asked for this yourself" in asking.text()
        assert not CreditNote.objects.exists()

        deciding.sign_in(make_person("admin").username)
        deciding.go(name_page(asked))
        deciding.page.click("text=Approve")
        deciding.page.fill("textarea[name=reason]", "Agreed with support")
        with deciding.page.expect_navigation():
            deciding.page.click(CONFIRM)
        note = CreditNote.objects.get()
        assert (note.total, note.approval_id) == (1309, asked.pk)

        asking.go(name_page(note))
        asking.take("credit-note", height=1750)
        asking.page.click("text=View document")
        assert "CN-0001" in asking.text()
        file = asking.page.context.request.get(f"{asking.base_url}{name_page(note, 'download')}")
        assert (file.status, file.headers["content-type"]) == (200, "application/pdf")
        assert file.body().startswith(b"%PDF-")
        asking.go(reverse("admin:invoicing_creditnote_changelist"))
        assert "13.09" in asking.text()
        asking.go(name_page(invoice))
        assert "CN-0001" in asking.text()
        assert prove_ledger().holds
