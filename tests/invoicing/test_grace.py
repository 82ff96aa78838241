"""Invoices that stay drafts for a while: they take up usage, keep edits, and are issued once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from accounts.models import Account, Subscription
from accounts.services.accounts import update_account
from billing_site.kernel import clock
from billing_site.kernel.errors import ValidationFailed
from invoicing.models import Invoice
from invoicing.queries.usage_inspection import explain_billing
from invoicing.services.draft_editing import add_lines
from invoicing.services.given_lines import NewLine
from invoicing.services.grace import sweep_grace_periods
from invoicing.services.invoices import void_invoice
from invoicing.services.sellers import ensure_sellers, update_seller
from invoicing.services.verification import verify_invoice
from metering.models import UsageEvent
from metering.services.ingest import NewUsageEvent, record_usage_events
from tests.support import world

pytestmark = pytest.mark.django_db
MID = datetime(2023, 11, 10, 9, 30, tzinfo=UTC)
IN_TIME = world.DECEMBER + timedelta(hours=5)
OVER = world.DECEMBER + timedelta(hours=24)


@pytest.fixture(autouse=True)
def _now() -> Iterator[None]:
    with clock.travel(MID):
        yield


@pytest.fixture
def account() -> Account:
    world.publish(input_price="10", output_price="20")
    account = world.open_account()
    seller = ensure_sellers([account]).of(account)
    update_seller(seller_id=seller.id, changes={"grace_hours": 24}, at=MID, actor=world.TESTER)
    return account


@pytest.fixture
def subscription(account: Account) -> Subscription:
    return world.subscribe(account, "payg")


def use(account: Account, quantity: int, *, recorded_at: datetime = MID) -> UsageEvent:
    key = f"{recorded_at:%d%H}-{quantity}"
    event = NewUsageEvent(account, "input_tokens", Decimal(quantity), timestamp=MID, idempotency_key=key)
    record_usage_events(events=[event], at=recorded_at, actor=world.TESTER)
    return UsageEvent.objects.select_related("account__test_clock", "meter", "cost_center").get(idempotency_key=key)


def bill() -> Invoice:
    world.run_cycle(as_of=world.DECEMBER)
    return Invoice.objects.latest("id")


def sweep(at: datetime) -> list[Invoice]:
    return sweep_grace_periods(at=at, actor=world.TESTER)


class TestFindFinalizeAt:
    @pytest.mark.parametrize(("chosen", "status"), [(None, "draft"), (0, "open"), (48, "draft")])
    def test_an_account_has_its_own_grace_period(
        self, account: Account, subscription: Subscription, chosen: int | None, status: str
    ) -> None:
        update_account(account_id=account.pk, changes={"grace_hours": chosen}, at=MID, actor=world.TESTER)
        use(account, 5)
        bill()
        sweep(OVER - timedelta(hours=1))
        assert Invoice.objects.get().status == status
        sweep(OVER)
        assert Invoice.objects.get().status == ("draft" if chosen == 48 else "open")


class TestBillSubscriptions:
    def test_leaves_a_draft_that_claims_the_period(self, account: Account, subscription: Subscription) -> None:
        use(account, 5)
        draft = bill()
        assert (draft.status, draft.number, draft.total, draft.finalize_at) == ("draft", None, 50, OVER)
        subscription.refresh_from_db()
        assert subscription.current_period_start == world.DECEMBER
        world.run_cycle(as_of=IN_TIME)
        assert Invoice.objects.count() == 1

    def test_a_boundary_that_is_billed_too_late_for_it_is_issued_at_once(
        self, account: Account, subscription: Subscription
    ) -> None:
        use(account, 5)
        world.run_cycle(as_of=OVER)
        assert Invoice.objects.get().status == "open"

    def test_the_first_fee_in_advance_is_issued_at_once(self, account: Account) -> None:
        world.subscribe(account, "pro")
        assert Invoice.objects.get().status == "open"


class TestSweepHeldInvoices:
    def test_issues_it_with_what_came_meanwhile(self, account: Account, subscription: Subscription) -> None:
        use(account, 5)
        draft = bill()
        event = use(account, 3, recorded_at=IN_TIME)
        assert explain_billing(event).state == "drafted"
        assert sweep(OVER - timedelta(seconds=1)) == []
        (issued,) = sweep(OVER)
        assert (issued.pk, issued.status, issued.total, issued.finalized_at) == (draft.pk, "open", 80, OVER)
        assert verify_invoice(issued, check_usage=True).differences == []
        assert explain_billing(event).state == "invoiced"
        assert sweep(OVER) == []

    def test_keeps_what_was_added_by_hand(self, account: Account, subscription: Subscription) -> None:
        use(account, 5)
        draft = bill()
        add_lines(invoice_id=draft.pk, lines=[NewLine("Setup", amount=1000)], at=IN_TIME, actor=world.TESTER)
        use(account, 3, recorded_at=IN_TIME)
        (issued,) = sweep(OVER)
        assert sorted(line.amount for line in issued.lines.all()) == [80, 1000]
        assert verify_invoice(issued).differences == []

    def test_without_news_it_is_issued_as_it_is(self, account: Account, subscription: Subscription) -> None:
        use(account, 5)
        draft = bill()
        line = draft.lines.get()
        (issued,) = sweep(OVER)
        assert issued.lines.get() == line

    def test_a_void_draft_is_not_issued(self, account: Account, subscription: Subscription) -> None:
        use(account, 5)
        draft = bill()
        void_invoice(invoice_id=draft.pk, at=IN_TIME, actor=world.TESTER)
        assert sweep(OVER) == []

    def test_the_next_boundary_leaves_usage_to_an_open_draft(
        self, account: Account, subscription: Subscription
    ) -> None:
        use(account, 5)
        draft = bill()
        use(account, 3, recorded_at=IN_TIME)
        # Nobody swept for a month: the draft has the usage, not the next invoice.
        world.run_cycle(as_of=datetime(2024, 1, 1, tzinfo=UTC))
        assert Invoice.objects.get() == draft
        (issued,) = sweep(datetime(2024, 1, 1, tzinfo=UTC))
        assert issued.total == 80


class TestUpdateSeller:
    @pytest.mark.parametrize("hours", [-1, 721, "3"])
    def test_refuses_a_period_that_cannot_be(self, account: Account, hours: object) -> None:
        seller = ensure_sellers([account]).of(account)
        with pytest.raises(ValidationFailed):
            update_seller(seller_id=seller.id, changes={"grace_hours": hours}, at=MID, actor=world.TESTER)
