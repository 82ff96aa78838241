"""Invoices that stored money pays: in which order, with how many queries, as previewed, and what voiding gives back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, CreditBurn, CreditGrant, CreditLot, LedgerEntry, Subscription
from accounts.queries.invoice_credit import get_invoice_credit
from accounts.queries.ledger import get_balance
from accounts.queries.proof import prove_ledger
from accounts.services.adjustments import adjust_invoice_credit
from accounts.services.corrections import correct_movement
from accounts.services.credit_grants import Recurring, expire_grants, grant_credit, void_grant
from accounts.services.deposits import deposit
from accounts.services.holds import create_hold
from billing_site.kernel.errors import InvalidState
from billing_site.kernel.periods import Interval
from billing_site.platform.models import Event
from catalog.services.publishing import publish_document
from invoicing.models import CreditSource, Invoice, InvoiceCredit
from invoicing.queries.documents import build_invoice_view
from invoicing.queries.previews import preview_subscriptions
from invoicing.services.billing import bill_subscriptions
from invoicing.services.cancellations import cancel_subscription
from invoicing.services.documents import get_invoice_pdf
from invoicing.services.invoices import void_invoice
from invoicing.services.verification import verify_invoice
from tests.support import world
from tests.support.world import DECEMBER, NOVEMBER, TESTER

pytestmark = pytest.mark.django_db
EARLY = datetime(2023, 11, 2, tzinfo=UTC)


@pytest.fixture(autouse=True)
def catalog() -> None:
    world.publish(input_price="1", output_price="1")


def give(account: Account, amount: int, **values: Any) -> CreditGrant:
    return grant_credit(account=account, amount=amount, currency="usd", at=EARLY, actor=TESTER, **values)


def put(account: Account, amount: int, **values: Any) -> LedgerEntry:
    return deposit(account=account, amount=amount, currency="usd", at=EARLY, actor=TESTER, **values)


def adjust(account: Account, amount: int) -> None:
    adjust_invoice_credit(
        account=account, amount=amount, currency="usd", description="sorry", at=EARLY, actor=TESTER, allow_negative=True
    )


def count_rows() -> list[int]:
    return [model.objects.count() for model in (LedgerEntry, Event, CreditBurn, CreditGrant, Invoice, InvoiceCredit)]


def bill(*subscriptions: Subscription, at: datetime = DECEMBER) -> list[Invoice]:
    """Bill what is due, after checking that the preview says the same and writes nothing."""
    keys = [each.id for each in subscriptions]
    before = count_rows()
    previews = preview_subscriptions(subscription_ids=keys, as_of=at)
    assert count_rows() == before
    billed = bill_subscriptions(subscription_ids=keys, as_of=at, actor=TESTER)
    for preview, each in zip(previews, billed, strict=True):
        assert [(p.draft.total, p.credit_applied, p.amount_due) for p in preview.invoices] == [
            (invoice.total, invoice.credit_applied, invoice.amount_due) for invoice in each.invoices
        ]
    issued = [invoice for each in billed for invoice in each.invoices]
    for invoice in issued:
        invoice.refresh_from_db()
        assert verify_invoice(invoice).differences == []
    assert prove_ledger().fault is None
    return issued


def list_parts(invoice: Invoice) -> list[tuple[str, int]]:
    return [(credit.source, credit.amount) for credit in invoice.credits.order_by("position")]


def remaining(*grants: CreditGrant) -> list[int]:
    for grant in grants:
        grant.refresh_from_db()
    return [grant.remaining for grant in grants]


@pytest.fixture
def account() -> Account:
    return world.open_account()


@pytest.fixture
def pro(account: Account) -> Subscription:
    """A fee of 10.00 in advance, and tokens at 0.01."""
    return world.subscribe(account, "pro")


class TestTheOrder:
    def test_is_invoice_credit_then_grants_then_prepaid_money(self, account: Account, pro: Subscription) -> None:
        adjust(account, 200)
        give(account, 300, name="Welcome")
        put(account, 400)
        (invoice,) = bill(pro)
        assert list_parts(invoice) == [("invoice_credit", 200), ("grant", 300), ("balance", 400)]
        assert (invoice.total, invoice.credit_applied, invoice.amount_due, invoice.amount_paid) == (1000, 900, 100, 0)
        assert (invoice.status, invoice.payment_method, invoice.paid_at) == ("open", "", None)
        assert get_balance(account_id=account.pk, currency="usd").balance == 0

    @pytest.mark.parametrize(
        ("credit", "grant", "prepaid", "method"),
        [(0, 1000, 0, "credit"), (1, 999, 0, "balance"), (0, 999, 1, "balance"), (1000, 5000, 0, "balance")],
    )
    def test_tells_how_an_invoice_is_paid(
        self, account: Account, pro: Subscription, credit: int, grant: int, prepaid: int, method: str
    ) -> None:
        if credit:
            adjust(account, credit)
        give(account, grant)
        if prepaid:
            put(account, prepaid)
        (invoice,) = bill(pro)
        assert (invoice.status, invoice.payment_method, invoice.amount_due) == ("paid", method, 0)
        assert invoice.paid_at == DECEMBER

    def test_of_grants_walks_over_the_lines(self, account: Account, pro: Subscription) -> None:
        # lines: fee 1000, usage 150; C pays 150 of the usage, A 300 and B 700 of the fee
        b = give(account, 1000, name="B")
        a = give(account, 300, name="A", expires_at=DECEMBER + timedelta(days=9))
        c = give(account, 200, name="C", priority=-1, eligibility=["input_tokens"])
        world.use(account, "input_tokens", [150], at=EARLY)
        (invoice,) = bill(pro)
        assert remaining(c, a, b) == [50, 0, 300]
        burns = CreditBurn.objects.order_by("id").values_list("grant__name", "charge", "meter", "amount")
        assert list(burns) == [
            ("C", "line:2", "input_tokens", 150),
            ("A", "line:1", "", 300),
            ("B", "line:1", "", 700),
        ]
        assert [credit.description for credit in invoice.credits.all()] == ["C", "A", "B"]

    def test_spreads_invoice_credit_over_the_lines_before_limited_grants(
        self, account: Account, pro: Subscription
    ) -> None:
        # 1000 + 1000; 500 of invoice credit leaves 750 and 750, and the limited grant pays 750
        adjust(account, 500)
        limited = give(account, 5000, eligibility=["input_tokens"])
        world.use(account, "input_tokens", [1000], at=EARLY)
        (invoice,) = bill(pro)
        assert (invoice.credit_applied, invoice.amount_due) == (1250, 750)
        assert remaining(limited) == [4250]

    def test_leaves_money_under_holds_and_ended_deposits_alone(self, account: Account, pro: Subscription) -> None:
        put(account, 300)
        put(account, 400, expires_at=DECEMBER)  # ends at the instant of the bill, and no sweep has come by
        create_hold(
            account=account, amount=250, currency="usd", at=EARLY, actor=TESTER, expires_at=DECEMBER + timedelta(9)
        )
        (invoice,) = bill(pro)
        assert list_parts(invoice) == [("balance", 50)]
        assert sum(CreditLot.objects.values_list("remaining", flat=True)) == 250

    def test_takes_no_money_of_another_currency_or_below_zero(self, account: Account, pro: Subscription) -> None:
        adjust(account, -500)
        deposit(account=account, amount=900, currency="eur", at=EARLY, actor=TESTER)
        grant_credit(account=account, amount=900, currency="eur", at=EARLY, actor=TESTER)
        (invoice,) = bill(pro)
        assert (invoice.credit_applied, invoice.amount_due) == (0, 1000)
        assert get_invoice_credit(account_id=account.pk, currency="usd") == -500

    def test_uses_a_recurring_grant_that_no_sweep_has_set_back(self, account: Account, pro: Subscription) -> None:
        give(account, 600, recurring=Recurring(Interval.parse("week")))
        (invoice,) = bill(pro)
        assert invoice.credit_applied == 600
        assert sum(CreditGrant.objects.values_list("remaining", flat=True)) == 0


class TestManyInvoices:
    def test_of_one_account_see_what_the_others_took(self, account: Account, pro: Subscription) -> None:
        put(account, 2500)
        (first, second, third) = bill(pro, at=datetime(2024, 2, 1, tzinfo=UTC))  # three months at once
        assert [each.credit_applied for each in (first, second, third)] == [1000, 1000, 500]
        assert [each.number for each in (first, second, third)] == [2, 3, 4]

    def test_need_no_more_queries_than_few(self, account: Account, pro: Subscription) -> None:
        def measure(prefix: str, count: int) -> int:
            started = []
            for number in range(count):
                owner = world.open_account(f"{prefix}-{number}")
                started.append(world.subscribe(owner, "pro"))
                adjust(owner, 100)
                give(owner, 100, recurring=Recurring(Interval.parse("week")))
                put(owner, 100, expires_at=DECEMBER - timedelta(days=1))
                put(owner, 50)
            keys = [each.id for each in started]
            with CaptureQueriesContext(connection) as queries:
                billed = bill_subscriptions(subscription_ids=keys, as_of=DECEMBER, actor=TESTER)
            assert [each.invoices[0].credit_applied for each in billed] == [250] * count
            return len(queries)

        measure("warm", 1)
        assert measure("few", 2) == measure("many", 12)
        assert prove_ledger().fault is None

    def test_with_nothing_stored_cost_one_query_more(self) -> None:
        subscriptions = [world.subscribe(world.open_account(f"poor-{number}"), "pro") for number in range(3)]
        with CaptureQueriesContext(connection) as queries:
            bill_subscriptions(subscription_ids=[each.id for each in subscriptions], as_of=DECEMBER, actor=TESTER)
        about_money = [
            query["sql"]
            for query in queries
            if any(table in query["sql"] for table in ("credit_lots", '"holds"', "credit_burns", "invoice_credits"))
        ]
        assert about_money == []


class TestVoiding:
    def test_gives_everything_back_once(self, account: Account, pro: Subscription) -> None:
        adjust(account, 200)
        grant = give(account, 300)
        put(account, 100, tags="gift", expires_at=DECEMBER + timedelta(days=30))
        put(account, 300)
        (invoice,) = bill(pro)
        assert invoice.amount_due == 100
        void_invoice(invoice_id=invoice.id, at=DECEMBER, actor=TESTER, reason="wrong")
        with pytest.raises(InvalidState):
            void_invoice(invoice_id=invoice.id, at=DECEMBER, actor=TESTER)
        assert remaining(grant) == [300]
        assert get_invoice_credit(account_id=account.pk, currency="usd") == 200
        assert get_balance(account_id=account.pk, currency="usd").balance == 400
        assert list(CreditLot.objects.order_by("id").values_list("remaining", flat=True)) == [100, 300]
        invoice.refresh_from_db()
        assert (invoice.credit_applied, invoice.amount_remaining) == (900, 0)  # the document stays as it was
        assert prove_ledger().fault is None

    def test_releases_credit_that_was_voided_meanwhile(self, account: Account, pro: Subscription) -> None:
        grant = give(account, 300)
        (invoice,) = bill(pro)
        void_grant(grant_id=grant.pk, at=DECEMBER, actor=TESTER)
        void_invoice(invoice_id=invoice.id, at=DECEMBER, actor=TESTER)
        assert remaining(grant) == [0]
        assert prove_ledger().fault is None

    def test_is_the_only_way_to_get_back_what_paid_an_invoice(self, account: Account, pro: Subscription) -> None:
        put(account, 300)
        (invoice,) = bill(pro)
        paid = invoice.credits.get().entry
        with pytest.raises(InvalidState):
            correct_movement(
                account=account,
                amount=100,
                currency="usd",
                original_transaction_id=paid.public_id,
                at=DECEMBER,
                actor=TESTER,
            )


class TestTheProof:
    def test_finds_an_invoice_that_claims_more_than_was_paid(self, account: Account, pro: Subscription) -> None:
        put(account, 300)
        (invoice,) = bill(pro)
        InvoiceCredit.objects.create(
            invoice=invoice,
            position=2,
            source=CreditSource.BALANCE,
            entry=invoice.credits.get().entry,
            amount=5,
            description="never paid",
            created_at=DECEMBER,
        )
        fault = prove_ledger().fault
        assert fault is not None
        assert fault.row == invoice.public_id
        assert "3.00 USD were applied, its credits sum to 3.05 USD" in fault.what
        assert [str(each) for each in verify_invoice(invoice).differences] == [
            "credit applied: stored 300, computed 305"
        ]


class TestTheDocument:
    def test_lists_what_was_applied(self, account: Account, pro: Subscription) -> None:
        give(account, 300, name="Welcome")
        put(account, 300)
        (invoice,) = bill(pro)
        view = build_invoice_view(invoice, list(invoice.lines.all()), list(invoice.credits.all()))
        assert [(credit.description, credit.amount) for credit in view.credits] == [
            ("Welcome", 300),
            ("Prepaid balance", 300),
        ]
        assert view.amount_remaining == 400
        before = get_invoice_pdf(invoice)
        void_invoice(invoice_id=invoice.id, at=DECEMBER, actor=TESTER)
        assert get_invoice_pdf(invoice) == before


class TestPlanCredit:
    @pytest.fixture
    def max_plan(self, account: Account) -> Subscription:
        document = world.make_document(input_price="1")
        document["plans"][1]["limits"] = {"included_cloud_credits": 500}
        publish_document(org_id="default", document=document, at=world.OCTOBER, actor=TESTER)
        return world.subscribe(account, "pro")

    def test_pays_the_usage_of_its_period_and_not_the_next_fee(self, account: Account, max_plan: Subscription) -> None:
        world.use(account, "input_tokens", [300], at=EARLY)
        (invoice,) = bill(max_plan)
        assert (invoice.total, invoice.credit_applied, invoice.amount_due) == (1300, 300, 1000)
        first, second = CreditGrant.objects.order_by("id")
        assert (first.remaining, first.released, first.expired_at) == (0, 200, DECEMBER)
        assert (second.remaining, second.effective_at, second.tags) == (500, DECEMBER, "plan-included")

    def test_waits_for_the_bill_of_its_period(self, account: Account, max_plan: Subscription) -> None:
        world.use(account, "input_tokens", [300], at=EARLY)
        assert expire_grants(at=DECEMBER + timedelta(days=3)).grants == 0
        (invoice,) = bill(max_plan, at=DECEMBER + timedelta(days=3))
        assert invoice.credit_applied == 300

    def test_pays_each_missed_period_from_its_own(self, account: Account, max_plan: Subscription) -> None:
        world.use(account, "input_tokens", [700], at=EARLY)
        world.use(account, "input_tokens", [100], at=DECEMBER + timedelta(days=3), key="later")
        first, second = bill(max_plan, at=datetime(2024, 1, 1, tzinfo=UTC))
        assert [first.credit_applied, second.credit_applied] == [500, 100]

    def test_of_an_ended_subscription_ends_with_its_period(self, account: Account, max_plan: Subscription) -> None:
        world.use(account, "input_tokens", [300], at=EARLY)
        cancel_subscription(
            subscription_id=max_plan.id, at=EARLY + timedelta(days=3), actor=TESTER, at_period_end=False
        )
        assert Invoice.objects.latest("id").credit_applied == 300
        assert expire_grants(at=DECEMBER).grants == 1
        assert prove_ledger().fault is None


def test_the_start_bills_with_stored_money_too(account: Account) -> None:
    put(account, 5000)
    world.subscribe(account, "pro", at=NOVEMBER + timedelta(days=5))
    invoice = Invoice.objects.get()
    assert (invoice.status, invoice.payment_method, invoice.credit_applied) == ("paid", "balance", 1000)
