"""What billing runs hold back, and what people decide on it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, ValidationFailed
from billing_site.platform.models import Approval, Event
from billing_site.platform.services.approvals import approve
from invoicing.models import Invoice, InvoiceReview, RunOutcome, Seller
from invoicing.queries.runs import list_results
from invoicing.services.invoices import finalize_invoice, void_invoice
from invoicing.services.reviews import SecondPersonNeeded, discard_review, release_or_request, release_review
from invoicing.services.sellers import update_seller
from invoicing.services.verification import verify_invoice
from tests.invoicing.test_invoice_pages import sign_in
from tests.support import world

pytestmark = pytest.mark.django_db

MARCH = datetime(2024, 3, 1, tzinfo=UTC)
NOW = datetime(2024, 3, 2, tzinfo=UTC)
MONTHS = [world.NOVEMBER, world.DECEMBER, datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)]


@pytest.fixture(autouse=True)
def catalog() -> None:
    world.publish()


def bill_months(*amounts: int, handle: str = "acme") -> None:
    """Bill usage of so many minor units for one month after the other, from November on."""
    account = world.open_account(handle)
    world.subscribe(account, "payg")
    for number, amount in enumerate(amounts):
        # 0.00005 minor units a token
        world.use(account, "input_tokens", [amount * 20_000], at=MONTHS[number] + timedelta(days=3), key=str(number))
    for month in [*MONTHS[1:], MARCH][: len(amounts)]:
        world.run_cycle(as_of=month)


def hold_one() -> InvoiceReview:
    """Return the review of a fourth month of 50.01 after three of 10.00."""
    bill_months(1000, 1000, 1000, 5001)
    return InvoiceReview.objects.get()


class TestARun:
    def test_holds_what_is_far_above_the_median(self) -> None:
        review = hold_one()
        assert (review.reason, review.history, review.median, review.factor) == (
            "far_from_history",
            [1000, 1000, 1000],
            Decimal(1000),
            Decimal(5),
        )
        invoice = review.invoice
        assert (invoice.status, invoice.in_review, invoice.number, invoice.total) == ("draft", True, None, 5001)
        outcome = RunOutcome.objects.get(run=review.run)
        assert (outcome.status, outcome.invoice_count, outcome.last_invoice) == ("held_for_review", 0, invoice)
        (result,) = list_results(review.run)
        assert (result.success, result.invoice_id) == (False, invoice.public_id)
        assert result.error is not None and result.error.startswith("held_for_review: ")
        assert Event.objects.filter(type="invoice.held", object_id=invoice.public_id).count() == 1

    def test_issues_what_is_exactly_as_much(self) -> None:
        bill_months(1000, 1000, 1000, 5000)
        assert not InvoiceReview.objects.exists()
        assert Invoice.objects.filter(number__isnull=False).count() == 4

    def test_issues_while_there_is_little_to_compare_with(self) -> None:
        bill_months(1000, 1000, 90_000)
        assert not InvoiceReview.objects.exists()

    def test_issues_the_rest_and_moves_the_subscription_on(self) -> None:
        bill_months(1000, 1000, 1000, handle="steady")
        bill_months(1000, 1000, 1000, 5001, handle="acme")
        assert [invoice.number_text for invoice in world.list_invoices() if invoice.number] == [
            f"INV-000{number}" for number in range(1, 7)
        ]
        review = InvoiceReview.objects.get()
        assert review.account.external_id == "acme"
        subscription = review.invoice.subscription
        assert subscription is not None and subscription.next_billing_at == datetime(2024, 4, 1, tzinfo=UTC)
        again = world.run_cycle(as_of=MARCH)
        assert again.outcomes.count() == 0

    def test_follows_the_sellers_rules(self) -> None:
        world.subscribe(world.open_account(), "pro")
        Seller.objects.update(review_amounts={"usd": 1000})
        world.run_cycle(as_of=world.DECEMBER)
        assert not InvoiceReview.objects.exists()
        Seller.objects.update(review_amounts={"usd": 999})
        world.run_cycle(as_of=MONTHS[2])
        review = InvoiceReview.objects.get()
        assert (review.reason, review.limit) == ("above_amount", 999)

    def test_asks_for_history_once_a_round_of_a_chunk(self) -> None:
        for number in range(5):
            world.subscribe(world.open_account(f"customer-{number}"), "pro")
        with CaptureQueriesContext(connection) as captured:
            world.run_cycle(as_of=world.DECEMBER)
        asked = [query["sql"] for query in captured if "ARRAY(" in query["sql"]]
        assert len(asked) == 1

    def test_catching_up_compares_with_what_it_has_just_issued(self) -> None:
        account = world.open_account()
        world.subscribe(account, "payg")
        for number, amount in enumerate((1000, 1000, 1000, 5001)):
            world.use(account, "input_tokens", [amount * 20_000], at=MONTHS[number], key=str(number))
        run = world.run_cycle(as_of=MARCH)
        outcome = RunOutcome.objects.get(run=run)
        assert (outcome.status, outcome.invoice_count) == ("held_for_review", 3)


class TestRelease:
    def test_issues_the_draft_as_it_is(self) -> None:
        review = hold_one()
        issued = release_review(review_id=review.pk, at=NOW, actor=world.TESTER, reason="a launch")
        assert (issued.number_text, issued.status, issued.total, str(issued.issue_date)) == (
            "INV-0004",
            "open",
            5001,
            "2024-03-02",
        )
        review.refresh_from_db()
        assert (review.status, review.decided_by, review.decision_reason) == ("released", "staff:tester", "a launch")
        assert verify_invoice(Invoice.objects.get(pk=issued.pk)).differences == []
        types = Event.objects.filter(object_id=issued.public_id).order_by("id").values_list("type", flat=True)
        assert list(types) == ["invoice.held", "invoice.released", "invoice.finalized"]

    def test_is_the_only_way_to_issue_it(self) -> None:
        review = hold_one()
        with pytest.raises(InvalidState):
            finalize_invoice(invoice_id=review.invoice_id, at=NOW, actor=world.TESTER)
        with pytest.raises(IntegrityError, match="invoices_in_review_not_issued"), transaction.atomic():
            Invoice.objects.filter(pk=review.invoice_id).update(
                status="open", number=9, finalized_at=NOW, issue_date=NOW.date(), due_date=NOW.date()
            )

    def test_happens_once(self) -> None:
        review = hold_one()
        release_review(review_id=review.pk, at=NOW, actor=world.TESTER)
        with pytest.raises(InvalidState):
            release_review(review_id=review.pk, at=NOW, actor=world.TESTER)
        with pytest.raises(InvalidState):
            discard_review(review_id=review.pk, at=NOW, actor=world.TESTER, reason="late")

    def test_takes_two_people_where_the_seller_says_so(self) -> None:
        review = hold_one()
        Seller.objects.update(review_approval=True)
        with pytest.raises(SecondPersonNeeded):
            release_review(review_id=review.pk, at=NOW, actor=world.TESTER, reason="alone")
        asked = release_or_request(review_id=review.pk, at=NOW, actor=world.TESTER, reason="a launch")
        assert isinstance(asked, Approval)
        assert (asked.amount, asked.currency) == (5001, "usd")
        approve(approval_id=asked.pk, at=NOW, actor=Actor("staff", "ada"))
        invoice = Invoice.objects.get(pk=review.invoice_id)
        assert (invoice.status, invoice.number_text) == ("open", "INV-0004")


class TestDiscard:
    def test_voids_the_draft_and_frees_its_period(self) -> None:
        review = hold_one()
        voided = discard_review(review_id=review.pk, at=NOW, actor=world.TESTER, reason="a test")
        assert (voided.status, voided.number, voided.in_review) == ("void", None, False)
        assert all(line.is_reversed for line in voided.lines.all())
        review.refresh_from_db()
        assert (review.status, review.decision_reason) == ("discarded", "a test")

    def test_happens_when_the_invoice_is_voided(self) -> None:
        review = hold_one()
        void_invoice(invoice_id=review.invoice_id, at=NOW, actor=world.TESTER, reason="no")
        review.refresh_from_db()
        assert review.status == "discarded"


class TestTheSeller:
    @pytest.mark.parametrize(
        ("changes", "pointer"),
        [
            ({"review_factor": Decimal("0.5")}, "/review_factor"),
            ({"review_amounts": {"xxx": 5}}, "/review_amounts"),
            ({"review_amounts": {"usd": "5"}}, "/review_amounts"),
            ({"review_amounts": [5]}, "/review_amounts"),
        ],
    )
    def test_refuses_rules_that_mean_nothing(self, changes: dict[str, Any], pointer: str) -> None:
        world.subscribe(world.open_account(), "pro")
        with pytest.raises(ValidationFailed) as refused:
            update_seller(seller_id=Seller.objects.get().pk, changes=changes, at=NOW, actor=world.TESTER)
        assert [finding.pointer for finding in refused.value.errors] == [pointer]


class TestThePages:
    def test_show_the_queue_the_comparison_and_the_derivation(self) -> None:
        review = hold_one()
        browser = sign_in("billing")
        listed = browser.get(reverse("admin:invoicing_invoicereview_changelist")).content.decode()
        assert "Far from the account" in listed and "50.01" in listed
        page = browser.get(reverse("admin:invoicing_invoicereview_change", args=[review.pk])).content.decode()
        assert "50.01 USD is more than 5 × 10.00 USD, the median of the last 3." in page
        assert "INV-0003" in page and "Input tokens" in page
        assert "Waiting for review" in browser.get(reverse("admin:index")).content.decode()

    def test_release_and_discard_by_role(self) -> None:
        review = hold_one()
        release = reverse("admin:invoicing_invoicereview_release", args=[review.pk])
        discard = reverse("admin:invoicing_invoicereview_discard", args=[review.pk])
        given = {"_confirmed": "1", "reason": "Checked with the customer"}
        assert Client().post(release, given).status_code == 302
        assert sign_in("viewer").post(release, given).status_code == 403
        billing = sign_in("billing")
        assert billing.post(discard, given).status_code == 403
        assert billing.post(release, given).status_code == 302
        assert Invoice.objects.get(pk=review.invoice_id).number_text == "INV-0004"
