"""Usage that comes after the invoice of its period: billed once, on the next invoice, at the prices of its period."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, Subscription
from accounts.services.cost_centers import create_cost_center
from billing_site.kernel import clock
from billing_site.kernel.errors import InvalidState
from billing_site.kernel.ids import new_uuid
from invoicing.models import Invoice, InvoiceLine
from invoicing.queries.costs import load_costs
from invoicing.queries.previews import preview_subscriptions
from invoicing.queries.usage_inspection import explain_billing, inspect_usage
from invoicing.services.billing import bill_subscriptions
from invoicing.services.invoices import void_invoice
from invoicing.services.sellers import ensure_sellers, update_seller
from invoicing.services.verification import verify_invoice
from metering.models import UsageEvent
from metering.services.corrections import void_usage_event
from metering.services.ingest import NewUsageEvent, record_usage_events
from tests.support import world

pytestmark = pytest.mark.django_db
MID = datetime(2023, 11, 10, 9, 30, tzinfo=UTC)
LATER = world.DECEMBER + timedelta(days=3)
JANUARY = datetime(2024, 1, 1, tzinfo=UTC)
FEBRUARY = datetime(2024, 2, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _now() -> Iterator[None]:
    with clock.travel(MID):
        yield


@pytest.fixture
def account() -> Account:
    # 10 and 20 cents a token, so that every unit is seen.
    world.publish(input_price="10", output_price="20")
    return world.open_account()


@pytest.fixture
def subscription(account: Account) -> Subscription:
    return world.subscribe(account, "payg")


def use(
    account: Account, quantity: int, *, at: datetime = MID, recorded_at: datetime | None = None, **more: str
) -> UsageEvent:
    key = str(new_uuid())
    event = NewUsageEvent(account, "input_tokens", Decimal(quantity), timestamp=at, idempotency_key=key, **more)  # type: ignore[arg-type]
    record_usage_events(events=[event], at=recorded_at or at, actor=world.TESTER)
    return UsageEvent.objects.select_related("account__test_clock", "meter", "cost_center").get(idempotency_key=key)


def bill(as_of: datetime) -> list[Invoice]:
    known = set(Invoice.objects.values_list("id", flat=True))
    world.run_cycle(as_of=as_of)
    return list(Invoice.objects.exclude(id__in=known).order_by("id").prefetch_related("lines"))


def list_late() -> list[InvoiceLine]:
    return list(InvoiceLine.objects.filter(original_line__isnull=False).order_by("id").select_related("invoice"))


class TestBillSubscriptions:
    def test_bills_late_usage_once_and_names_the_line(self, account: Account, subscription: Subscription) -> None:
        use(account, 5)
        (first,) = bill(world.DECEMBER)
        use(account, 3, recorded_at=LATER)
        (second,) = bill(JANUARY)
        (line,) = list_late()
        assert (line.invoice, int(line.quantity), line.amount, line.sequence) == (second, 3, 30, 1)
        assert line.original_line == first.lines.get()
        assert line.description == f"Pay as you go · Input tokens · late usage of {first.number_text}"
        assert bill(FEBRUARY) == []
        assert verify_invoice(first).differences == verify_invoice(second).differences == []

    def test_a_second_helping_comes_on_top_of_the_first(self, account: Account, subscription: Subscription) -> None:
        use(account, 5)
        bill(world.DECEMBER)
        use(account, 3, recorded_at=LATER)
        bill(JANUARY)
        use(account, 2, recorded_at=JANUARY + timedelta(days=1))
        bill(FEBRUARY)
        assert [(int(line.quantity), line.amount, line.sequence) for line in list_late()] == [(3, 30, 1), (2, 20, 2)]
        assert {line.original_line_id for line in list_late()} == {InvoiceLine.objects.earliest("id").pk}

    def test_usage_that_was_committed_after_the_invoice_though_recorded_before_it_is_late(
        self, account: Account, subscription: Subscription
    ) -> None:
        use(account, 5, at=MID + timedelta(days=1))
        bill(world.DECEMBER)
        use(account, 3)  # recorded earlier than what the line has
        bill(JANUARY)
        assert [line.amount for line in list_late()] == [30]

    def test_missed_periods_that_are_caught_up_have_nothing_late(
        self, account: Account, subscription: Subscription
    ) -> None:
        use(account, 5)
        use(account, 4, at=LATER)
        assert [each.total for each in bill(JANUARY)] == [50, 40]
        assert list_late() == []

    def test_of_a_period_without_any_line_is_billed_once_too(
        self, account: Account, subscription: Subscription
    ) -> None:
        assert bill(world.DECEMBER) == []
        use(account, 3, recorded_at=LATER)
        (invoice,) = bill(JANUARY)
        line = invoice.lines.get()
        assert (line.amount, line.original_line, line.period_start) == (30, None, world.NOVEMBER)
        use(account, 4, recorded_at=JANUARY + timedelta(days=1))
        bill(FEBRUARY)
        assert [(each.amount, each.original_line) for each in list_late()] == [(40, line)]

    def test_usage_before_the_subscription_stays_unbilled(self, account: Account, subscription: Subscription) -> None:
        use(account, 5, at=world.OCTOBER + timedelta(days=2), recorded_at=MID)
        assert bill(world.DECEMBER) == []

    def test_usage_of_a_trial_stays_unbilled(self, account: Account) -> None:
        world.subscribe(account, "pro", trial_period_days=30)  # to 1 December
        bill(world.DECEMBER)
        use(account, 5, recorded_at=LATER)
        (invoice,) = bill(JANUARY)
        assert [line.type for line in invoice.lines.all()] == ["subscription"]

    def test_a_seller_may_bill_none(self, account: Account, subscription: Subscription) -> None:
        seller = ensure_sellers([account]).of(account)
        update_seller(seller_id=seller.id, changes={"late_usage_periods": 0}, at=MID, actor=world.TESTER)
        use(account, 5)
        bill(world.DECEMBER)
        event = use(account, 3, recorded_at=LATER)
        assert bill(JANUARY) == []
        assert explain_billing(event).due_at is None

    def test_late_usage_is_split_by_who_used_it(self, account: Account, subscription: Subscription) -> None:
        account.split_by_cost_center = True
        account.save()
        for code in ("a", "b"):
            create_cost_center(account=account, code=code, name=code.upper(), at=MID, actor=world.TESTER)
        use(account, 5, cost_center="a")
        bill(world.DECEMBER)
        use(account, 3, recorded_at=LATER, cost_center="b")
        use(account, 1, recorded_at=LATER)
        bill(JANUARY)
        (line,) = list_late()
        shares = [(split.code, int(split.quantity), split.amount) for split in line.splits.all()]
        assert shares == [("b", 3, 30), ("", 1, 10)]
        assert verify_invoice(line.invoice).differences == []

    def test_the_number_of_queries_does_not_grow(self, account: Account) -> None:
        def count(names: list[str], as_of: datetime) -> int:
            ids = [world.subscribe(world.open_account(name), "payg").pk for name in names]
            for name in names:
                owner = Account.objects.get(external_id=name)
                use(owner, 5)
            bill_subscriptions(subscription_ids=ids, as_of=world.DECEMBER, actor=world.TESTER)
            for name in names:
                owner = Account.objects.get(external_id=name)
                use(owner, 3, recorded_at=LATER)
            with CaptureQueriesContext(connection) as queries:
                bill_subscriptions(subscription_ids=ids, as_of=as_of, actor=world.TESTER)
            return len(queries)

        few, many = count(["a1"], JANUARY), count(["b1", "b2", "b3", "b4"], JANUARY)
        assert many == few
        assert len(list_late()) == 5

    def test_without_late_usage_it_is_two_queries(self, account: Account, subscription: Subscription) -> None:
        use(account, 5)
        bill(world.DECEMBER)
        with CaptureQueriesContext(connection) as queries:
            bill_subscriptions(subscription_ids=[subscription.pk], as_of=JANUARY, actor=world.TESTER)
        statements = [each["sql"] for each in queries]
        assert sum("AS s (subscription_id, since)" in each for each in statements) == 1
        assert sum("months AS MATERIALIZED" in each for each in statements) == 1
        assert not any('"invoice_lines"."trace"' in each for each in statements)


class TestConstraints:
    def test_a_line_is_added_to_once_per_number(self, account: Account, subscription: Subscription) -> None:
        use(account, 5)
        bill(world.DECEMBER)
        use(account, 3, recorded_at=LATER)
        (invoice,) = bill(JANUARY)
        line = invoice.lines.get()
        draft = world.copy_as_draft(invoice)
        again = InvoiceLine.objects.get(pk=line.pk)
        again.pk, again.invoice, again._state.adding = new_uuid(), draft, True
        with pytest.raises(IntegrityError, match="invoice_lines_rest_billed_once"), transaction.atomic():
            again.save(force_insert=True)
        again.sequence = 2
        again.save(force_insert=True)

    def test_only_what_names_a_line_has_a_number(self, account: Account, subscription: Subscription) -> None:
        use(account, 5)
        (invoice,) = bill(world.DECEMBER)
        draft = world.copy_as_draft(invoice)
        line = invoice.lines.get()
        line.pk, line.invoice, line.sequence, line._state.adding = new_uuid(), draft, 1, True
        line.period_start = line.period_end  # overlaps nothing
        with pytest.raises(IntegrityError, match="invoice_lines_sequence_of_original"), transaction.atomic():
            line.save(force_insert=True)


class TestVoidInvoice:
    def test_late_usage_of_a_void_invoice_is_billed_again(self, account: Account, subscription: Subscription) -> None:
        use(account, 5)
        bill(world.DECEMBER)
        use(account, 3, recorded_at=LATER)
        (second,) = bill(JANUARY)
        void_invoice(invoice_id=second.pk, at=JANUARY, actor=world.TESTER)
        bill(FEBRUARY)
        assert [(line.amount, line.sequence, line.is_reversed) for line in list_late()] == [
            (30, 1, True),
            (30, 1, False),
        ]

    def test_an_invoice_that_others_add_to_is_voided_after_them(
        self, account: Account, subscription: Subscription
    ) -> None:
        use(account, 5)
        (first,) = bill(world.DECEMBER)
        use(account, 3, recorded_at=LATER)
        (second,) = bill(JANUARY)
        with pytest.raises(InvalidState, match=second.number_text):
            void_invoice(invoice_id=first.pk, at=JANUARY, actor=world.TESTER)
        void_invoice(invoice_id=second.pk, at=JANUARY, actor=world.TESTER)
        assert void_invoice(invoice_id=first.pk, at=JANUARY, actor=world.TESTER).status == "void"


class TestWhatIsShown:
    def test_previews_show_it(self, account: Account, subscription: Subscription) -> None:
        use(account, 5)
        bill(world.DECEMBER)
        use(account, 3, recorded_at=LATER)
        (previewed,) = preview_subscriptions(subscription_ids=[subscription.pk], as_of=JANUARY)
        assert [line.amount for draft in previewed.drafts for line in draft.lines] == [30]

    def test_a_preview_of_missed_periods_bills_nothing_twice(
        self, account: Account, subscription: Subscription
    ) -> None:
        use(account, 5)
        (previewed,) = preview_subscriptions(subscription_ids=[subscription.pk], as_of=FEBRUARY)
        assert [draft.total for draft in previewed.drafts] == [50]

    def test_it_is_a_cost_of_the_period_it_happened_in(self, account: Account, subscription: Subscription) -> None:
        use(account, 5)
        bill(world.DECEMBER)
        use(account, 3, recorded_at=LATER)
        (costs,) = load_costs(accounts=[account], at=LATER)[account.pk].subscriptions
        assert [cost.net for cost in costs.previous] == [30, 50]
        assert costs.running == []

    def test_the_inspector_says_which_invoice_will_bill_it_and_which_did(
        self, account: Account, subscription: Subscription
    ) -> None:
        use(account, 5)
        (first,) = bill(world.DECEMBER)
        event = use(account, 3, recorded_at=LATER)
        found = explain_billing(event)
        assert found.line is not None
        assert (found.state, found.line.invoice, found.due_at) == ("after_invoice", first, JANUARY)
        (second,) = bill(JANUARY)
        found = explain_billing(event)
        assert found.line is not None
        assert (found.state, found.line.invoice) == ("invoiced", second)

    def test_the_inspector_says_that_it_is_too_old(self, account: Account, subscription: Subscription) -> None:
        use(account, 5)
        bill(FEBRUARY)
        event = use(account, 3, recorded_at=FEBRUARY + timedelta(days=1))
        assert explain_billing(event).due_at is None or explain_billing(event).due_at == datetime(
            2024, 3, 1, tzinfo=UTC
        )
        subscription.refresh_from_db()
        bill(datetime(2024, 3, 2, tzinfo=UTC))
        event = use(account, 4, recorded_at=datetime(2024, 3, 3, tzinfo=UTC))
        found = explain_billing(event)
        assert (found.state, found.due_at) == ("after_invoice", None)

    def test_a_voided_event_names_the_line_that_gives_it_back(
        self, account: Account, subscription: Subscription
    ) -> None:
        event = use(account, 5)
        (first,) = bill(world.DECEMBER)
        void_usage_event(event=event, at=LATER, actor=world.TESTER, reason="Sent twice")
        (second,) = bill(JANUARY)
        found = inspect_usage(event, at=JANUARY)
        assert found.billing.line is not None
        assert found.voiding is not None and found.voiding.line is not None
        assert (found.billing.line.invoice, found.voiding.line.invoice) == (first, second)
        assert (second.total, second.amount_due) == (-50, 0)
        assert verify_invoice(second, check_usage=True).differences == []

    def test_verification_says_what_came_and_where_it_is_billed(
        self, account: Account, subscription: Subscription
    ) -> None:
        use(account, 5)
        (first,) = bill(world.DECEMBER)
        use(account, 3, recorded_at=LATER)
        assert verify_invoice(first, check_usage=True).late_usage == ["Input tokens: 3 recorded after the invoice"]
        (second,) = bill(JANUARY)
        billed = f"Input tokens: 3 recorded after the invoice, billed on {second.number_text}"
        assert verify_invoice(first, check_usage=True).late_usage == [billed]
        checked = verify_invoice(second, check_usage=True)
        assert (checked.differences, checked.late_usage) == ([], [])
