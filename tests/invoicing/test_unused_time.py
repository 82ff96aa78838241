"""Unused time of paid periods: which documents give it back, what they book, and that it is never given back twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from accounts.models import Account, LedgerAccount, LedgerKind, Subscription
from accounts.queries.invoice_credit import get_invoice_credit
from accounts.queries.proof import prove_ledger
from accounts.services.deposits import deposit
from billing_site.kernel.errors import InvalidState
from billing_site.kernel.periods import Period
from billing_site.platform.models import Event
from catalog.services.publishing import publish_document
from invoicing.calculation.credit_facts import WantedLine, Wish
from invoicing.models import CreditNote, Invoice, RevenueSchedule
from invoicing.queries.credit_note_documents import load_credit_note_view
from invoicing.queries.reports.asking import Asked
from invoicing.queries.reports.recurring import list_recurring_months
from invoicing.services import credit_notes
from invoicing.services.cancellations import Cancellation, cancel_subscription, preview_cancellation
from invoicing.services.changes import ChangeOutcome, ChangeRequest, change_subscription, preview_change
from invoicing.services.credit_note_verification import verify_credit_note
from invoicing.services.credit_notes import issue_credit_note, void_credit_note
from invoicing.services.credit_requests import CreditRequest
from invoicing.services.invoices import void_invoice
from invoicing.services.pauses import pause_subscription
from invoicing.services.revenue import release_revenue
from invoicing.services.verification import verify_invoice
from tests.support import world
from tests.support.world import NOVEMBER, TESTER

pytestmark = pytest.mark.django_db
EARLY = datetime(2023, 11, 11, 12, tzinfo=UTC)  # 20 of 30 days are left
NEXT_DAY = EARLY + timedelta(days=1)
LATE = datetime(2023, 11, 21, 12, tzinfo=UTC)  # 10 of 30 days are left


@pytest.fixture(autouse=True)
def _catalog() -> Iterator[None]:
    """
    Sell an app at 30.00, 60.00 and 15.00 a month, and calls at a cent.

    Whatever a test does: the ledger adds up then, and every document is what its trace makes of it.
    """
    usage = {"currency": "usd", "interval": "month", "meter": "calls", "unit_amount": "1"}
    document = {
        "version": 1,
        "products": [{"id": "app", "name": "App"}],
        "meters": [{"name": "calls", "unit": "calls"}],
        "plans": [
            {
                "id": key,
                "product_id": "app",
                "name": key.title(),
                "prices": [{"currency": "usd", "interval": "month", "unit_amount": fee}, usage],
            }
            for key, fee in (("basic", 3000), ("plus", 6000), ("small", 1500))
        ],
    }
    publish_document(org_id="default", document=document, at=world.OCTOBER, actor=TESTER)
    yield
    assert prove_ledger().holds
    assert [each for note in CreditNote.objects.all() for each in verify_credit_note(note).differences] == []
    assert [each for invoice in Invoice.objects.all() for each in verify_invoice(invoice).differences] == []


def open_with(money: int, plan: str = "basic", **options: Any) -> Subscription:
    """Subscribe an account that has `money` stored, in minor units: it pays as far as it goes."""
    account = world.open_account()
    if money:
        put_in(account, money)
    return world.subscribe(account, plan, **options)


def put_in(account: Account, amount: int) -> None:
    deposit(account=account, amount=amount, currency="usd", at=NOVEMBER, actor=TESTER)


def cancel(subscription: Subscription, at: datetime = LATE, unused: Any = "credit") -> Cancellation:
    return cancel_subscription(subscription_id=subscription.id, at=at, actor=TESTER, at_period_end=False, unused=unused)


def change(subscription: Subscription, at: datetime = EARLY, **wish: Any) -> ChangeOutcome:
    request = ChangeRequest(effective="immediate", **wish)
    return change_subscription(subscription_id=subscription.id, request=request, at=at, actor=TESTER)


def credit(invoice: Invoice, net: int) -> None:
    """Credit a net amount of the first line by hand."""
    wish = Wish((WantedLine(invoice.lines.earliest("position").public_id, net),))
    issue_credit_note(invoice_id=invoice.pk, request=CreditRequest(wish), at=EARLY, actor=TESTER)


def list_notes() -> list[tuple[str, int]]:
    """Return which invoice each note is of, and its total."""
    return [(note.invoice.number_text, note.total) for note in CreditNote.objects.order_by("number")]


def list_amounts() -> list[list[int]]:
    return [[line.amount for line in invoice.lines.order_by("position")] for invoice in Invoice.objects.order_by("id")]


def get_credit(subscription: Subscription) -> int:
    return get_invoice_credit(account_id=subscription.account_id, currency="usd")


def get_pot(kind: LedgerKind) -> int:
    return sum(LedgerAccount.objects.filter(kind=kind).values_list("balance", flat=True))


def list_recurring() -> list[int]:
    return [row.revenue for row in list_recurring_months(Asked(world.DECEMBER, NOVEMBER.date(), NOVEMBER.date()))]


class TestCancel:
    @pytest.mark.parametrize("unused", ["credit", "refund"])
    def test_gives_a_paid_period_back_by_a_note(self, unused: str) -> None:
        subscription = open_with(3000)
        found = cancel(subscription, unused=unused)
        # 30.00 × 10/30; no provider can pay it back, so either becomes invoice credit
        assert (list_notes(), list_amounts(), get_credit(subscription)) == ([("INV-0001", 1000)], [[3000]], 1000)
        (note,) = (each.note for each in found.notes)
        assert (note.reason, note.metadata, found.invoices) == ("order_change", {"unused_time": unused}, ())
        line = note.lines.get()
        assert (line.description, line.trace["unused"]["share"]["text"]) == ("Basic · unused time", "10/30 days")
        assert "3000 × 10/30 days = 1000 minor units" in line.trace["steps"][0]["formula"]
        assert Event.objects.get(type="credit_note.created").data["invoice_id"] == note.invoice.public_id

    def test_keeps_what_is_forfeited(self) -> None:
        cancel(open_with(3000), unused="forfeit")
        assert (list_notes(), list_amounts()) == ([], [[3000]])

    def test_follows_the_seller(self) -> None:
        subscription = open_with(3000)
        seller = Invoice.objects.get().seller
        seller.cancel_unused = "refund"
        seller.save(update_fields=["cancel_unused"])
        cancel(subscription, unused=None)
        assert list_notes() == [("INV-0001", 1000)]

    def test_gives_an_unpaid_period_back_by_a_line(self) -> None:
        subscription = open_with(2999)
        cancel(subscription)
        assert (list_notes(), list_amounts(), get_credit(subscription)) == ([], [[3000], [-1000]], 1000)

    def test_lets_the_note_pay_the_last_invoice(self) -> None:
        subscription = open_with(3000)
        world.use(subscription.account, "calls", [300], at=EARLY)
        found = cancel(subscription)
        # 3.00 of usage, of the 10.00 that came back
        assert [(each.total, each.credit_applied, each.status) for each in found.invoices] == [(300, 300, "paid")]
        assert get_credit(subscription) == 700

    def test_is_never_more_than_is_left_of_the_line(self) -> None:
        subscription = open_with(3000)
        credit(Invoice.objects.get(), 2100)
        cancel(subscription)
        assert list_notes() == [("INV-0001", 2100), ("INV-0001", 900)]

    def test_gives_nothing_of_what_was_credited_wholly(self) -> None:
        subscription = open_with(3000)
        credit(Invoice.objects.get(), 3000)
        cancel(subscription)
        assert (list_notes(), list_amounts()) == ([("INV-0001", 3000)], [[3000]])

    def test_bounds_the_line_of_an_unpaid_invoice_by_its_notes(self) -> None:
        subscription = open_with(0)
        credit(Invoice.objects.get(), 2400)
        cancel(subscription)
        assert list_amounts() == [[3000], [-600]]

    def test_happens_with_its_note_or_not_at_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        subscription = open_with(3000)

        def fail(*_: object, **__: object) -> None:
            raise IntegrityError("lost")

        monkeypatch.setattr(credit_notes, "_write_parts", fail)
        with pytest.raises(IntegrityError), transaction.atomic():
            cancel(subscription)
        subscription.refresh_from_db()
        assert (subscription.status, list_notes(), get_credit(subscription)) == ("active", [], 0)

    def test_of_a_pause_gives_the_days_from_the_pause_on(self) -> None:
        subscription = open_with(3000)
        pause_subscription(subscription_id=subscription.id, at=EARLY, actor=TESTER)
        cancel(subscription)
        assert (list_notes(), list_amounts()) == ([("INV-0001", 2000)], [[3000]])

    def test_of_a_pause_forfeits_them_as_well(self) -> None:
        subscription = open_with(3000)
        pause_subscription(subscription_id=subscription.id, at=EARLY, actor=TESTER)
        cancel(subscription, unused="forfeit")
        assert (list_notes(), list_amounts()) == ([], [[3000]])


class TestCancelAfterAnUpgrade:
    def test_takes_the_rest_from_the_invoice_before(self) -> None:
        subscription = open_with(9000)
        change(subscription, plan_key="plus")  # -20.00 + 40.00
        cancel(subscription, NEXT_DAY)
        # 60.00 × 19/30 = 38.00: the upgrade was paid with 20.00, so 18.00 are of the first invoice
        assert list_notes() == [("INV-0002", 2000), ("INV-0001", 1800)]
        assert get_credit(subscription) == 9000 - 5000 + 3800 - 4000

    def test_takes_the_rest_of_an_unpaid_invoice_by_a_line(self) -> None:
        subscription = open_with(0)
        put_in(subscription.account, 2000)
        change(subscription, plan_key="plus")
        cancel(subscription, NEXT_DAY)
        assert list_notes() == [("INV-0002", 2000)]
        assert list_amounts() == [[3000], [-2000, 4000], [-1800]]

    def test_gives_back_what_waits_by_a_line(self) -> None:
        subscription = open_with(3000)
        change(subscription, plan_key="plus", proration_behavior="create_prorations")
        cancel(subscription)
        assert (list_notes(), list_amounts()) == ([], [[3000], [-2000, 4000, -2000]])


class TestChange:
    def test_dearer_sets_both_lines_off_on_one_invoice(self) -> None:
        outcome = change(open_with(3000), plan_key="plus")
        assert (outcome.notes, list_amounts()) == ((), [[3000], [-2000, 4000]])

    def test_cheaper_and_now_credits_what_was_paid(self) -> None:
        subscription = open_with(3000)
        change(subscription, plan_key="small")
        # 30.00 × 20/30 come back, of which 15.00 × 20/30 pay the invoice
        assert (list_notes(), list_amounts()) == ([("INV-0001", 2000)], [[3000], [1000]])
        assert get_credit(subscription) == 1000

    def test_cheaper_and_now_sets_an_unpaid_period_off(self) -> None:
        change(open_with(0), plan_key="small")
        assert (list_notes(), list_amounts()) == ([], [[3000], [-2000, 1000]])

    def test_cheaper_on_the_next_invoice_waits_as_lines(self) -> None:
        change(open_with(3000), plan_key="small", proration_behavior="create_prorations")
        assert (list_notes(), list_amounts()) == ([], [[3000]])

    def test_fewer_seats_now_credit_what_was_paid_of_each_invoice(self) -> None:
        subscription = open_with(9000, quantity=3)
        change(subscription, quantity=2)
        change(subscription, LATE, quantity=1)
        # 90.00 × 20/30, then 60.00 × 10/30 of the 40.00 that took its place
        assert list_notes() == [("INV-0001", 6000), ("INV-0002", 2000)]
        assert list_amounts() == [[9000], [4000], [1000]]


class TestPreviews:
    def test_of_a_cancellation_are_the_note_and_write_nothing(self) -> None:
        subscription = open_with(3000)
        shown = preview_cancellation(
            subscription_id=subscription.id, at=LATE, actor=TESTER, at_period_end=False, unused="credit"
        )
        assert not CreditNote.objects.exists()
        found = cancel(subscription)
        assert [each.draft for each in shown.notes] == [each.draft for each in found.notes]
        assert [each.note.total for each in shown.notes] == [1000]

    def test_of_a_change_are_the_note(self) -> None:
        subscription = open_with(3000)
        request = ChangeRequest(plan_key="small", effective="immediate")
        shown = preview_change(subscription_id=subscription.id, request=request, at=EARLY, actor=TESTER)
        found = change(subscription, plan_key="small")
        assert [each.draft for each in shown.notes] == [each.draft for each in found.notes]


class TestBooks:
    def test_take_the_unearned_rest_from_what_is_deferred(self) -> None:
        subscription = open_with(3000)
        release_revenue(at=LATE)
        assert get_pot(LedgerKind.DEFERRED_REVENUE) == -1000
        cancel(subscription)
        assert get_pot(LedgerKind.DEFERRED_REVENUE) == 0
        release_revenue(at=world.DECEMBER + timedelta(days=1))
        assert (get_pot(LedgerKind.REVENUE), get_pot(LedgerKind.DEFERRED_REVENUE)) == (-2000, 0)

    def test_leave_the_days_before_as_they_were_when_releases_are_late(self) -> None:
        cancel(open_with(3000))
        assert RevenueSchedule.objects.get(amount=-1000).first_day == LATE.date()
        release_revenue(at=LATE)
        assert (get_pot(LedgerKind.REVENUE), get_pot(LedgerKind.DEFERRED_REVENUE)) == (-2000, 0)

    def test_count_no_recurring_revenue_after_the_end(self) -> None:
        subscription = open_with(9000)
        change(subscription, plan_key="plus")
        cancel(subscription, NEXT_DAY)
        assert list_recurring() == []

    def test_count_the_cheaper_plan_alone_after_a_downgrade(self) -> None:
        change(open_with(3000), plan_key="small")
        assert list_recurring() == [1500]


class TestAfterwards:
    def test_voiding_the_note_takes_the_credit_back(self) -> None:
        subscription = open_with(3000)
        (issued,) = cancel(subscription).notes
        void_credit_note(credit_note_id=issued.note.pk, at=LATE, actor=TESTER)
        assert get_credit(subscription) == 0

    def test_an_invoice_whose_unused_time_came_back_on_another_is_not_voided(self) -> None:
        cancel(open_with(0))
        first = Invoice.objects.earliest("id")
        with pytest.raises(InvalidState, match="INV-0002 gives unused time of this one back"):
            void_invoice(invoice_id=first.pk, at=LATE, actor=TESTER)

    def test_nor_one_of_which_it_waits_to_come_back(self) -> None:
        change(open_with(0), plan_key="plus", proration_behavior="create_prorations")
        with pytest.raises(InvalidState, match="waits for the next invoice"):
            void_invoice(invoice_id=Invoice.objects.get().pk, at=LATE, actor=TESTER)

    def test_it_is_voided_after_the_one_that_gave_it_back(self) -> None:
        change(open_with(0), plan_key="plus")
        for invoice in Invoice.objects.order_by("-id"):
            void_invoice(invoice_id=invoice.pk, at=LATE, actor=TESTER)
        assert {invoice.status for invoice in Invoice.objects.all()} == {"void"}

    def test_the_paper_names_the_unused_time(self) -> None:
        cancel(open_with(3000))
        (line,) = load_credit_note_view(CreditNote.objects.get()).lines
        assert (line.description, line.amount) == ("Basic · unused time", 1000)
        assert line.period == Period(LATE.replace(hour=0), world.DECEMBER)

    def test_verification_notices_another_share(self) -> None:
        cancel(open_with(3000))
        note = CreditNote.objects.get()
        note.trace["wish"]["lines"][0]["unused"]["share"]["numerator"] = "9"
        differences = {each.where: (each.stored, each.computed) for each in verify_credit_note(note).differences}
        assert differences["total"] == ("1000", "900")
