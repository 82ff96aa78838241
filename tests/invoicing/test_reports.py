"""Reports against numbers computed by hand, their queries, their door, and their pages."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from openpyxl import load_workbook  # type: ignore[import-untyped]

from accounts.models import Subscription
from accounts.services.accounts import update_account
from accounts.services.discounts import give_discount
from billing_site.kernel import clock
from billing_site.kernel.errors import PeriodNotValid
from catalog.services.publishing import publish_document
from catalog.services.tax_rates import create_tax_rate
from invoicing.calculation.credit_facts import WantedLine, Wish
from invoicing.models import CreditNote, Invoice
from invoicing.queries.reports.asking import Asked, choose_months
from invoicing.queries.reports.catalogue import REPORTS
from invoicing.queries.reports.recurring import list_recurring_months
from invoicing.services.cancellations import cancel_subscription
from invoicing.services.changes import ChangeRequest, change_subscription
from invoicing.services.credit_notes import issue_credit_note, void_credit_note
from invoicing.services.credit_requests import CreditRequest
from invoicing.services.invoices import void_invoice
from invoicing.services.revenue import release_revenue
from tests.support import world
from tests.support.api import make_client
from tests.support.problems import problem
from tests.support.world import NOVEMBER, TESTER

pytestmark = pytest.mark.django_db
PATH = "/api/internal/billing/reports"
JANUARY = datetime(2024, 1, 1, tzinfo=UTC)
NOW = datetime(2024, 1, 20, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def catalog() -> None:
    """Plans `pro` (10.00 a month and usage) and `yearly` (120.00 a year, and 12.50 a month)."""
    document = world.make_document()
    fees = [("month", 1250), ("year", 12000)]
    document["plans"].append(
        {
            "id": "yearly",
            "product_id": "platform",
            "name": "Yearly",
            "prices": [{"currency": "usd", "interval": unit, "unit_amount": fee} for unit, fee in fees],
        }
    )
    publish_document(org_id="default", document=document, at=world.OCTOBER, actor=TESTER)


def ask(first: date = date(2023, 11, 1), last: date = date(2024, 1, 1), **values: Any) -> Asked:
    return Asked(NOW, first, last, **values)


def bill(*moments: datetime) -> None:
    for moment in moments:
        world.run_cycle(as_of=moment)


def list_movements() -> list[tuple[int, ...]]:
    """Return revenue, new, reactivation, expansion, contraction and churned of each month; they explain each other."""
    rows = list_recurring_months(ask())
    for row in rows:
        gained = row.new_revenue + row.reactivation + row.expansion
        assert row.revenue == row.revenue_at_start + gained - row.contraction - row.churned_revenue
    return [
        (row.revenue, row.new_revenue, row.reactivation, row.expansion, row.contraction, row.churned_revenue)
        for row in rows
    ]


class TestRecurringRevenue:
    def test_counts_a_twelfth_of_a_year_and_what_is_new(self) -> None:
        world.subscribe(world.open_account("monthly"), "pro")
        world.subscribe(world.open_account("yearly"), "yearly", interval="year", at=world.DECEMBER)
        bill(world.DECEMBER, JANUARY)
        # 10.00; then 120.00 / 12 = 10.00 more; then nothing happens.
        assert list_movements() == [(1000, 1000, 0, 0, 0, 0), (2000, 1000, 0, 0, 0, 0), (2000, 0, 0, 0, 0, 0)]

    def test_follows_a_change_in_the_middle_of_a_period(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        change_subscription(
            subscription_id=subscription.id,
            request=ChangeRequest(quantity=3, proration_behavior="always_invoice"),
            at=NOVEMBER + timedelta(days=20),
            actor=TESTER,
        )
        bill(world.DECEMBER)
        change_subscription(
            subscription_id=subscription.id,
            request=ChangeRequest(quantity=2, effective="immediate", proration_behavior="always_invoice"),
            at=world.DECEMBER + timedelta(days=7),
            actor=TESTER,
        )
        bill(JANUARY)
        # One seat of 10.00, three on 30 November, two on 31 December: rounded parts of days do not matter.
        assert list_movements() == [(3000, 3000, 0, 0, 0, 0), (2000, 0, 0, 0, 1000, 0), (2000, 0, 0, 0, 0, 0)]

    def test_is_net_of_discounts(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        give_discount(
            subscription_id=subscription.id, percent_off=Decimal(25), duration_months=1, at=NOVEMBER, actor=TESTER
        )
        bill(world.DECEMBER, JANUARY)
        # 10.00, less a quarter in December, 10.00 again.
        assert list_movements() == [(1000, 1000, 0, 0, 0, 0), (750, 0, 0, 0, 250, 0), (1000, 0, 0, 250, 0, 0)]

    def test_tells_who_left_and_who_came_back(self) -> None:
        account = world.open_account()
        subscription = world.subscribe(account, "pro")
        cancel_subscription(
            subscription_id=subscription.id, at=NOVEMBER + timedelta(days=5), actor=TESTER, at_period_end=True
        )
        bill(world.DECEMBER)
        world.subscribe(account, "yearly", at=JANUARY)
        assert list_movements() == [(1000, 1000, 0, 0, 0, 0), (0, 0, 0, 0, 0, 1000), (1250, 0, 1250, 0, 0, 0)]

    def test_leaves_out_void_invoices_and_other_organizations(self) -> None:
        world.subscribe(world.open_account(), "pro")
        void_invoice(invoice_id=Invoice.objects.get().pk, at=NOVEMBER + timedelta(days=1), actor=TESTER)
        assert list_movements() == []
        world.publish(org_id="umbrella")
        world.subscribe(world.open_account("umbrella/one"), "pro", at=JANUARY)
        assert list_recurring_months(ask(org_id="default")) == []
        assert list_recurring_months(ask(org_id="umbrella"))[-1].revenue == 1000

    def test_never_adds_currencies_up(self) -> None:
        world.subscribe(world.open_account(), "pro")
        assert {row.currency for row in list_recurring_months(ask())} == {"usd"}
        assert list_recurring_months(ask(currency="eur")) == []


def run(name: str, **values: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in REPORTS[name].make(ask(**values)).rows]


def pick(name: str, *columns: str) -> list[tuple[Any, ...]]:
    return [tuple(row[column] for column in columns) for row in run(name)]


def credit(invoice: Invoice, *lines: WantedLine, at: datetime, amount: int = 0, everything: bool = False) -> CreditNote:
    request = CreditRequest(Wish(lines, amount, everything))
    return issue_credit_note(invoice_id=invoice.pk, request=request, at=at, actor=TESTER)


class TestStanding:
    def test_aging_is_by_days_past_due(self) -> None:
        # Due on 8 November: 73 days late on 20 January. Due on 27 January: not yet.
        world.subscribe(world.open_account("late"), "pro")
        world.subscribe(world.open_account("fresh"), "yearly", at=NOW)
        ages = {row["age"]: (row["invoices"], row["amount"]) for row in run("aging")}
        assert ages == {"current": (1, 1250), "1-30": (0, 0), "31-60": (0, 0), "61-90": (1, 1000), "over_90": (0, 0)}

    @pytest.mark.parametrize(
        ("late", "age"), [(0, "current"), (1, "1-30"), (30, "1-30"), (31, "31-60"), (60, "31-60"), (61, "61-90"),
                          (90, "61-90"), (91, "over_90")]
    )  # fmt: skip
    def test_the_borders_of_ages(self, late: int, age: str) -> None:
        world.subscribe(world.open_account(), "pro", at=NOW - timedelta(days=late + 7))
        assert [row["age"] for row in run("aging") if row["invoices"]] == [age]

    def test_churn_is_of_those_active_at_the_start(self) -> None:
        kept = [world.subscribe(world.open_account(f"a{number}"), "pro") for number in range(4)]
        leaves: Subscription = kept[0]
        cancel_subscription(
            subscription_id=leaves.id, at=world.DECEMBER + timedelta(days=5), actor=TESTER, at_period_end=False
        )
        rows = run("churn", first=date(2023, 11, 1), last=date(2024, 1, 1))
        # Nobody was there when November began; one of four left in December.
        assert [(row["active_at_start"], row["churned"], row["churn_rate"]) for row in rows] == [
            (0, 0, None),
            (4, 1, Decimal("0.2500")),
            (3, 0, Decimal("0.0000")),
        ]

    def test_lifetime_value_is_revenue_by_churn(self) -> None:
        subscriptions = [world.subscribe(world.open_account(f"a{number}"), "pro") for number in range(4)]
        cancel_subscription(
            subscription_id=subscriptions[0].id, at=NOVEMBER + timedelta(days=5), actor=TESTER, at_period_end=True
        )
        bill(world.DECEMBER, JANUARY)
        # Active at starts 0, 4, 3 and one of them left: churn 1/7. 10.00 an account: 10.00 × 7.
        (row,) = run("clv")
        assert (row["accounts"], row["average_revenue"], row["lifetime_value"]) == (3, 1000, 7000)
        assert (row["churn_rate"], row["lifetime_months"]) == (Decimal("0.1429"), Decimal("7.0"))

    def test_the_dashboard(self) -> None:
        world.subscribe(world.open_account("one"), "pro", at=JANUARY)
        world.open_account("two")
        assert run("dashboard") == [
            {
                "currency": "usd",
                "accounts": 2,
                "active_subscriptions": 1,
                "recurring_revenue": 1000,
                "open_invoices": 1,
                "receivables": 1000,
            }
        ]

    def test_usage_by_month_beside_the_month_before(self) -> None:
        for number in range(2):
            account = world.open_account(f"a{number}")
            world.use(account, "input_tokens", [100], at=NOVEMBER + timedelta(days=2), key=f"n{number}")
            world.use(account, "input_tokens", [40, 60, 50], at=world.DECEMBER + timedelta(days=2), key=f"d{number}")
        rows = run("usage-trends")
        assert [(row["month"], row["quantity"], row["events"], row["accounts"], row["change"]) for row in rows] == [
            ("2023-11", "200", 2, 2, None),
            ("2023-12", "300", 6, 2, Decimal("2.0000")),
        ]


class TestRevenue:
    def test_by_plan_meter_and_country(self) -> None:
        account = world.open_account(country="DE")
        world.subscribe(account, "pro")
        world.use(account, "input_tokens", [2_000_000], at=NOVEMBER + timedelta(days=3))
        bill(world.DECEMBER)
        by_plan = [(row["month"], row["plan"], row["revenue"]) for row in run("revenue-by-plan")]
        assert by_plan == [("2023-11", "pro", 1000), ("2023-12", "pro", 1100)]
        by_meter = [(row["month"], row["meter"], row["revenue"]) for row in run("revenue-by-meter")]
        assert by_meter == [("2023-11", "-", 1000), ("2023-12", "-", 1000), ("2023-12", "input_tokens", 100)]
        by_country = [(row["month"], row["country"], row["net"]) for row in run("revenue-by-country")]
        assert by_country == [("2023-11", "DE", 1000), ("2023-12", "DE", 1100)]

    def test_tax_by_rate_and_place(self) -> None:
        create_tax_rate(
            rate=Decimal("0.19"), country="DE", name="VAT", org_id="default", at=world.OCTOBER, actor=TESTER
        )
        for number in range(2):
            world.subscribe(world.open_account(f"a{number}", country="DE"), "pro")
        # 19 % of 10.00, twice.
        rows = [(row["month"], row["name"], row["percent"], row["base"], row["tax"]) for row in run("tax-by-rate")]
        assert rows == [("2023-11", "VAT", "19", 2000, 380)]

    def test_is_less_what_credit_notes_take_back_in_their_month(self) -> None:
        rate = Decimal("0.19")
        create_tax_rate(rate=rate, country="DE", name="VAT", org_id="default", at=world.OCTOBER, actor=TESTER)
        account = world.open_account(country="DE")
        world.subscribe(account, "pro")
        world.use(account, "input_tokens", [20_000_000], at=NOVEMBER + timedelta(days=3))
        bill(world.DECEMBER)
        # The December invoice: a fee of 10.00 and usage of 10.00, with 19 % 23.80.
        invoice = Invoice.objects.latest("id")
        fee, tokens = invoice.lines.order_by("position")
        update_account(account_id=account.pk, changes={"country": "FR"}, at=JANUARY, actor=TESTER)
        credit(invoice, WantedLine(fee.public_id, 150), at=world.DECEMBER + timedelta(days=9))
        credit(invoice, WantedLine(tokens.public_id, 400), WantedLine(fee.public_id, 50), at=JANUARY)
        mistake = credit(invoice, WantedLine(fee.public_id, 10), at=JANUARY)
        void_credit_note(credit_note_id=mistake.pk, at=NOW, actor=TESTER)
        columns = ("month", "invoices", "amount", "credited", "revenue")
        assert pick("revenue-by-plan", "plan", *columns) == [
            ("pro", "2023-11", 1, 1000, 0, 1000),
            ("pro", "2023-12", 1, 2000, 150, 1850),  # 10.00 + 10.00 - 1.50
            ("pro", "2024-01", 0, 0, 450, -450),
        ]
        assert pick("revenue-by-meter", "meter", *columns) == [
            ("-", "2023-11", 1, 1000, 0, 1000),
            ("input_tokens", "2023-12", 1, 1000, 0, 1000),
            ("-", "2023-12", 1, 1000, 150, 850),
            ("-", "2024-01", 0, 0, 50, -50),
            ("input_tokens", "2024-01", 0, 0, 400, -400),
        ]
        # 19 % of 1.50 is 0.285, of 4.50 0.855: 0.29 and 0.86.
        amounts = ("invoices", "credit_notes", "net", "tax", "total")
        assert pick("revenue-by-country", "month", "country", *amounts) == [
            ("2023-11", "DE", 1, 0, 1000, 190, 1190),
            ("2023-12", "DE", 1, 1, 1850, 351, 2201),
            ("2024-01", "DE", 0, 1, -450, -86, -536),
        ]
        amounts = ("percent", "invoices", "credit_notes", "base", "tax")
        assert pick("tax-by-rate", "month", "name", *amounts) == [
            ("2023-11", "VAT", "19", 1, 0, 1000, 190),
            ("2023-12", "VAT", "19", 1, 1, 1850, 351),
            ("2024-01", "VAT", "19", 0, 1, -450, -86),
        ]
        assert run("revenue-by-plan", org_id="other") == run("tax-by-rate", currency="eur") == []

    def test_what_remains_is_less_and_recurring_revenue_is_not(self) -> None:
        world.subscribe(world.open_account(), "pro", at=JANUARY)
        before = run("mrr"), run("clv")
        credit(Invoice.objects.get(), amount=400, at=JANUARY + timedelta(days=1))
        assert (run("mrr"), run("clv")) == before
        assert [row["amount"] for row in run("aging")] == [0, 600, 0, 0, 0]
        assert [(row["receivables"], row["recurring_revenue"]) for row in run("dashboard")] == [(600, 1000)]
        credit(Invoice.objects.get(), everything=True, at=JANUARY + timedelta(days=2))
        assert run("aging") == []

    def test_what_is_deferred_is_less(self) -> None:
        world.subscribe(world.open_account(), "pro", at=JANUARY)
        assert sum(row["amount"] for row in run("deferred-revenue")) == 1000
        credit(Invoice.objects.get(), amount=400, at=JANUARY)
        assert sum(row["amount"] for row in run("deferred-revenue")) == 600

    def test_what_is_deferred_by_the_month_that_earns_it(self) -> None:
        world.subscribe(world.open_account(), "yearly", interval="year", at=world.DECEMBER + timedelta(days=14))
        release_revenue(at=datetime(2023, 12, 17, 1, tzinfo=UTC))
        rows = {row["month"]: row["amount"] for row in run("deferred-revenue")}
        # 12000 = 366 × 32 + 288: the first 288 days bring 33. Two days are earned, 15 are left of December.
        assert rows["2023-12"] == 15 * 33
        assert rows["2024-01"] == 31 * 33
        assert rows["2024-12"] == 14 * 32
        assert sum(rows.values()) == 12000 - 2 * 33


@pytest.mark.parametrize("name", REPORTS)
def test_takes_no_more_queries_for_more_rows(name: str) -> None:
    counts = []
    for number in (1, 4):
        for each in range(number):
            account = world.open_account(f"a{number}-{each}", country="DE")
            world.subscribe(account, "pro", at=JANUARY)
            world.use(account, "input_tokens", [5], at=JANUARY, key=f"{number}-{each}")
            credit(Invoice.objects.latest("id"), amount=10, at=JANUARY)
        with CaptureQueriesContext(connection) as queries:
            REPORTS[name].make(ask())
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 2


class TestTheDoor:
    @pytest.fixture(autouse=True)
    def _now(self) -> Iterator[None]:
        world.subscribe(world.open_account(), "pro", at=JANUARY)
        with clock.travel(NOW):
            yield

    def test_answers_json_and_csv(self) -> None:
        found = make_client().get(f"{PATH}/mrr", {"start": "2023-12", "end": "2024-01-15"}).json()
        assert list(found) == ["report", "generated_at", "parameters", "columns", "rows"]
        assert (found["report"], found["generated_at"]) == ("mrr", "2024-01-20T12:00:00Z")
        assert found["parameters"] == {"start": "2023-12", "end": "2024-01", "currency": None}
        assert [(row["month"], row["recurring_revenue"]) for row in found["rows"]][-1] == ("2024-01", 1000)
        answer: Any = make_client().get(f"{PATH}/churn", {"months": "3", "format": "csv"})
        rows = list(csv.reader(io.StringIO(b"".join(answer.streaming_content).decode())))
        assert rows[0] == ["month", "active_at_start", "churned", "churn_rate"]
        assert [row[0] for row in rows[1:]] == ["2023-11", "2023-12", "2024-01"]
        assert answer.headers["Content-Disposition"] == 'attachment; filename="churn-2024-01.csv"'

    @pytest.mark.parametrize("name", ["mrr", "clv", "aging", "usage-trends", "churn", "dashboard"])
    def test_has_the_reports_of_the_contract(self, name: str) -> None:
        found = make_client().get(f"{PATH}/{name}").json()
        assert all(list(row) == found["columns"] for row in found["rows"])

    def test_refuses(self) -> None:
        problem(make_client().get(f"{PATH}/secrets"), "not_found", 404)
        problem(make_client().get(f"{PATH}/mrr", {"start": "2024-02", "end": "2024-01"}), "period_invalid", 400)
        problem(make_client().get(f"{PATH}/mrr", {"start": "soon"}), "period_invalid", 400)
        problem(make_client("public", "acme").get(f"{PATH}/mrr"), "audience_rejected", 403)
        assert make_client(org="umbrella").get(f"{PATH}/dashboard").json()["rows"] == []
        with pytest.raises(PeriodNotValid):
            choose_months(start="1990-01", end=None, count=1, at=NOW)


class TestThePages:
    @pytest.fixture
    def browser(self) -> Iterator[Client]:
        user = User.objects.create_user("ada", is_staff=True)
        user.groups.add(Group.objects.get(name="viewer"))
        browser = Client()
        browser.force_login(user)
        world.subscribe(world.open_account(), "pro", at=JANUARY)
        with clock.travel(NOW):
            yield browser

    @pytest.mark.parametrize("name", REPORTS)
    def test_every_report_has_one(self, browser: Client, name: str) -> None:
        page = browser.get(reverse("admin:invoicing_report", args=[name]))
        assert page.status_code == 200
        assert REPORTS[name].about in page.content.decode().replace("&#x27;", "'")

    def test_recurring_revenue_is_shown_drawn_and_downloaded(self, browser: Client) -> None:
        url = reverse("admin:invoicing_report", args=["mrr"])
        page = browser.get(url).content.decode()
        assert "10.00 USD" in page
        assert "ch-time-chart" in page
        sheet = load_workbook(io.BytesIO(browser.get(url, {"format": "xlsx"}).content)).active
        assert sheet is not None
        *_, last = sheet.iter_rows(values_only=True)
        assert last[:7] == ("2024-01", "usd", 1, 1, 0, 0, 10)
        assert browser.get(url, {"format": "json"}).json()["rows"][-1]["recurring_revenue"] == 1000
        assert "The end is before the start." in browser.get(url, {"start": "2024-02"}).content.decode()

    def test_strangers_see_none(self, browser: Client) -> None:
        User.objects.create_user("bob", is_staff=True)
        other = Client()
        other.force_login(User.objects.get(username="bob"))
        assert other.get(reverse("admin:invoicing_reports")).status_code == 403
        assert browser.get(reverse("admin:invoicing_report", args=["secrets"])).status_code == 404
