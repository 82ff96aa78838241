"""Discounts on invoices: what they take, how many invoices they last, and voiding."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.models import Subscription, SubscriptionDiscount
from accounts.queries.proof import prove_ledger
from accounts.services.coupons import CouponNotApplicable, redeem_coupon
from accounts.services.discounts import give_discount, remove_discount
from billing_site.kernel.ids import new_uuid
from billing_site.platform.models import Event
from catalog.services.coupons import create_coupon
from invoicing.documents import InvoiceView
from invoicing.models import Invoice, InvoiceLine
from invoicing.queries.documents import build_invoice_view
from invoicing.queries.previews import preview_subscriptions
from invoicing.services.billing import bill_subscriptions
from invoicing.services.invoices import void_invoice
from invoicing.services.verification import verify_invoice
from tests.support import world

pytestmark = pytest.mark.django_db

MIDDLE = datetime(2023, 11, 16, 12, tzinfo=UTC)
JANUARY = datetime(2024, 1, 1, tzinfo=UTC)
FEBRUARY = datetime(2024, 2, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def catalog() -> None:
    world.publish(fee=1999)


def give(subscription: Subscription, percent: str | None = None, **options: Any) -> SubscriptionDiscount:
    percent_off = None if percent is None else Decimal(percent)
    options.setdefault("at", MIDDLE)
    return give_discount(subscription_id=subscription.id, percent_off=percent_off, actor=world.TESTER, **options)


def bill(subscription: Subscription, as_of: datetime) -> list[Invoice]:
    """Bill, and hold what was issued against the preview and the recomputation."""
    (previewed,) = preview_subscriptions(subscription_ids=[subscription.id], as_of=as_of)
    (billed,) = bill_subscriptions(subscription_ids=[subscription.id], as_of=as_of, actor=world.TESTER)
    assert [(draft.discount, draft.total) for draft in previewed.drafts] == [
        (invoice.discount, invoice.total) for invoice in billed.invoices
    ]
    for invoice in billed.invoices:
        invoice.refresh_from_db()
        assert verify_invoice(invoice).differences == []
        assert sum(invoice.lines.values_list("discount", flat=True)) == invoice.discount
    return billed.invoices


def amounts(invoices: list[Invoice]) -> list[tuple[int, int, int]]:
    return [(invoice.subtotal, invoice.discount, invoice.total) for invoice in invoices]


class TestTaking:
    def test_a_quarter_of_19_99(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        give(subscription, "25", name="Loyalty")
        (invoice,) = bill(subscription, world.DECEMBER)
        # 1999 × 0.25 = 499.75 → 500
        assert (invoice.subtotal, invoice.discount, invoice.total) == (1999, 500, 1499)
        assert invoice.discount_name == "Loyalty"
        event = Event.objects.filter(type="invoice.finalized").order_by("-sequence").first()
        assert event is not None
        assert (event.data["subtotal"], event.data["discount"], event.data["discount_name"]) == (1999, 500, "Loyalty")
        view: InvoiceView = build_invoice_view(invoice, list(invoice.lines.all()))
        assert (view.discount, view.discount_name) == (500, "Loyalty")
        assert prove_ledger().holds

    def test_fee_and_usage_share_it(self) -> None:
        account = world.open_account()
        subscription = world.subscribe(account, "pro")
        world.use(account, "input_tokens", [2_000_000], at=MIDDLE)  # × 0.00005 = 100
        give(subscription, "10")
        (invoice,) = bill(subscription, world.DECEMBER)
        # 10 % of 2099 = 209.9 → 210: the fee 199.9…, the usage 10.0…; 199 + 10, and the cent to the larger remainder
        assert [(line.amount, line.discount) for line in invoice.lines.all()] == [(1999, 200), (100, 10)]

    def test_a_meter_only(self) -> None:
        account = world.open_account()
        subscription = world.subscribe(account, "pro")
        world.use(account, "input_tokens", [2_000_000], at=MIDDLE)
        give(subscription, "50", meters=["input_tokens"])
        (invoice,) = bill(subscription, world.DECEMBER)
        assert amounts([invoice]) == [(2099, 50, 2049)]

    def test_everything_leaves_a_paid_invoice(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        give(subscription, "100")
        (invoice,) = bill(subscription, world.DECEMBER)
        assert (invoice.total, invoice.status, invoice.payment_method) == (0, "paid", "none")

    def test_an_amount_is_not_carried_over(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        give(subscription, amount_off=3000)
        assert amounts(bill(subscription, JANUARY)) == [(1999, 1999, 0), (1999, 1999, 0)]

    def test_the_database_refuses_a_line_that_gives_more_than_it_has(self) -> None:
        world.subscribe(world.open_account(), "pro")
        draft, line = Invoice.objects.get(), InvoiceLine.objects.get()
        draft.pk, draft.status, draft.boundary = new_uuid(), "draft", None
        draft.number = draft.finalized_at = draft.issue_date = draft.due_date = None
        draft.save(force_insert=True)
        line.pk, line.invoice, line.is_reversed, line.discount = new_uuid(), draft, True, line.amount + 1
        with pytest.raises(IntegrityError, match="invoice_lines_discount_within_amount"), transaction.atomic():
            line.save(force_insert=True)


class TestMonths:
    def test_three_are_used_in_order_and_it_ends(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        discount = give(subscription, "50", duration_months=3)
        # missed periods are caught up one by one: December to April
        found = bill(subscription, datetime(2024, 4, 1, tzinfo=UTC))
        assert [invoice.discount for invoice in found] == [1000, 1000, 1000, 0, 0]  # 999.5 → 1000
        discount.refresh_from_db()
        assert (discount.months_left, discount.end_reason) == (0, "used_up")
        assert discount.ended_at is not None

    def test_one_at_a_time(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        discount = give(subscription, "50", duration_months=2)
        assert amounts(bill(subscription, world.DECEMBER)) == [(1999, 1000, 999)]
        discount.refresh_from_db()
        assert (discount.months_left, discount.ended_at) == (1, None)
        assert amounts(bill(subscription, JANUARY)) == [(1999, 1000, 999)]
        assert amounts(bill(subscription, FEBRUARY)) == [(1999, 0, 1999)]

    def test_a_boundary_without_an_invoice_uses_none(self) -> None:
        account = world.open_account()
        subscription = world.subscribe(account, "payg")
        discount = give(subscription, "50", duration_months=1)
        assert bill(subscription, world.DECEMBER) == []
        world.use(account, "input_tokens", [2_000_000], at=datetime(2023, 12, 5, tzinfo=UTC))
        assert amounts(bill(subscription, JANUARY)) == [(100, 50, 50)]
        discount.refresh_from_db()
        assert discount.ended_at is not None

    def test_without_months_it_runs_until_it_is_removed(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        give(subscription, "50")
        assert len(bill(subscription, JANUARY)) == 2
        remove_discount(subscription_id=subscription.id, at=JANUARY, actor=world.TESTER)
        assert amounts(bill(subscription, FEBRUARY)) == [(1999, 0, 1999)]

    def test_the_first_invoice_has_the_coupon_of_the_start(self) -> None:
        create_coupon(
            org_id="default",
            code="WELCOME",
            discount_type="percentage",
            discount_value=Decimal(10),
            at=world.OCTOBER,
            actor=world.TESTER,
        )
        subscription = world.subscribe(world.open_account(), "pro", coupon_code="welcome")
        assert amounts(world.list_invoices()) == [(1999, 200, 1799)]
        assert amounts(bill(subscription, world.DECEMBER)) == [(1999, 0, 1999)]

    def test_a_start_with_a_code_that_cannot_be_used_starts_nothing(self) -> None:
        account = world.open_account()
        with pytest.raises(CouponNotApplicable):
            world.subscribe(account, "pro", coupon_code="NOPE")
        assert not Subscription.objects.exists()


class TestVoiding:
    def test_gives_the_month_back(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        discount = give(subscription, "50", duration_months=1)
        (invoice,) = bill(subscription, world.DECEMBER)
        void_invoice(invoice_id=invoice.id, at=world.DECEMBER, actor=world.TESTER)
        discount.refresh_from_db()
        assert (discount.months_left, discount.ended_at, discount.end_reason) == (1, None, "")
        assert amounts(bill(subscription, JANUARY)) == [(1999, 1000, 999)]

    def test_does_not_bring_back_what_another_replaced(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        first = give(subscription, "50", duration_months=1)
        (invoice,) = bill(subscription, world.DECEMBER)
        second = give(subscription, "20", at=world.DECEMBER)
        void_invoice(invoice_id=invoice.id, at=world.DECEMBER, actor=world.TESTER)
        first.refresh_from_db()
        assert (first.months_left, first.end_reason) == (1, "used_up")
        assert SubscriptionDiscount.objects.get(ended_at__isnull=True) == second

    def test_of_an_invoice_without_discount_changes_none(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        discount = give(subscription, "50", duration_months=2)
        void_invoice(invoice_id=world.list_invoices()[0].id, at=MIDDLE, actor=world.TESTER)
        discount.refresh_from_db()
        assert discount.months_left == 2


class TestScale:
    def test_the_number_of_queries_does_not_depend_on_the_number_of_discounts(self) -> None:
        def count(number: int, as_of: datetime) -> int:
            rows = list(Subscription.objects.order_by("id")[:number])
            with CaptureQueriesContext(
                connection,
            ) as captured:
                bill_subscriptions(subscription_ids=[row.id for row in rows], as_of=as_of, actor=world.TESTER)
            return len(captured)

        for number in range(6):
            give(world.subscribe(world.open_account(f"a{number}"), "pro"), "10", duration_months=1)
        assert count(1, world.DECEMBER) == count(6, world.DECEMBER)
        assert SubscriptionDiscount.objects.filter(ended_at__isnull=True).count() == 0


def test_redeeming_twice_for_one_invoice_leaves_the_newest() -> None:
    for code, value in (("TEN", 10), ("TWENTY", 20)):
        create_coupon(
            org_id="default",
            code=code,
            discount_type="percentage",
            discount_value=Decimal(value),
            at=world.OCTOBER,
            actor=world.TESTER,
        )
    subscription = world.subscribe(world.open_account(), "pro")
    for code in ("TEN", "TWENTY"):
        redeem_coupon(subscription_id=subscription.id, code=code, at=MIDDLE, actor=world.TESTER)
    # 20 % of 1999 = 399.8 → 400
    assert amounts(bill(subscription, world.DECEMBER)) == [(1999, 400, 1599)]
