"""What becomes of charges whose draft is discarded, or whose line is taken off a draft."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from accounts.models import Account, Subscription
from invoicing.models import Invoice, InvoiceLine, InvoiceReview, Seller
from invoicing.queries.invoice_items import get_item_of_id, get_item_status
from invoicing.services.draft_editing import remove_line
from invoicing.services.given_lines import NewLine
from invoicing.services.invoice_items import add_invoice_item
from invoicing.services.reviews import discard_review, release_review
from tests.invoicing.test_invoice_pages import sign_in
from tests.support import world

pytestmark = pytest.mark.django_db

JANUARY = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def account() -> Account:
    """Pro in November, with usage of 1.00 and a router of 25.00 that waits; every draft of more than 5.00 is held."""
    world.publish()
    account = world.open_account("shop")
    subscription: Subscription = world.subscribe(account, "pro")
    world.use(account, "input_tokens", [2_000_000], at=world.NOVEMBER + timedelta(days=4))
    add_invoice_item(
        account=account, subscription=subscription, line=NewLine("Router", 2500), at=world.NOVEMBER, actor=world.TESTER
    )
    Seller.objects.update(review_amounts={"usd": 500})
    world.run_cycle(as_of=world.DECEMBER)
    return account


def get_draft() -> tuple[InvoiceReview, Invoice]:
    review = InvoiceReview.objects.select_related("invoice").get()
    assert review.invoice.total == 1000 + 100 + 2500
    return review, review.invoice


def bill_next() -> dict[str, int]:
    """Run January's cycle and return what its newest invoice has, by description."""
    Seller.objects.update(review_amounts={})
    world.run_cycle(as_of=JANUARY)
    newest = Invoice.objects.latest("id")
    return {f"{line.type} {line.description[:6]}": line.amount for line in newest.lines.all()}


class TestDiscarded:
    def test_what_waited_and_usage_come_with_the_next_invoice(self, account: Account) -> None:
        review, draft = get_draft()
        item = draft.pending_charges.get()
        discard_review(review_id=review.pk, at=world.DECEMBER, actor=world.TESTER, reason="looks odd")
        assert get_item_status(get_item_of_id(item.pk)) == "waiting"
        found = bill_next()
        assert sorted(found.values()) == [100, 1000, 2500], found


class TestTakenOff:
    def test_usage_comes_with_the_next_invoice_and_a_fee_does_not(self, account: Account) -> None:
        review, draft = get_draft()
        for line in draft.lines.filter(type__in=("usage", "subscription")):
            remove_line(invoice_id=draft.pk, line_id=line.pk, at=world.DECEMBER, actor=world.TESTER)
        release_review(review_id=review.pk, at=world.DECEMBER, actor=world.TESTER)
        issued = Invoice.objects.get(pk=draft.pk)
        assert (issued.status, issued.total) == ("open", 2500)
        found = bill_next()
        # January's fee, and the usage of November; December's fee was let off
        assert sorted(found.values()) == [100, 1000], found
        fees = InvoiceLine.objects.filter(type="subscription", invoice__account=account, invoice__status="open")
        assert [fee.period_start.month for fee in fees.order_by("period_start")] == [11, 1]

    def test_the_admin_says_so_before(self, account: Account) -> None:
        _, draft = get_draft()
        page = sign_in("billing").get(reverse("admin:invoicing_invoice_take_line", args=[draft.pk]))
        (fee,) = draft.lines.filter(type="subscription")
        (warning,) = page.context["warnings"]
        assert warning.startswith(f"“{fee.description}” over 10.00 USD is let off")
        assert "no run bills this fee again" in page.content.decode()
