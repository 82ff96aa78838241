"""Billing runs: what is due, what becomes of it, and who may run at the same time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from accounts.models import LedgerAccount, Subscription
from accounts.services.test_clocks import advance_test_clock, create_test_clock
from billing_site.platform.models import Event
from invoicing.models import BillingRun, Invoice, RunOutcome
from invoicing.queries.due import list_due, list_due_orgs
from invoicing.queries.previews import preview_subscriptions
from invoicing.queries.runs import list_results, measure_progress
from invoicing.services import run_work
from invoicing.services.run_control import cancel_run, pause_run, resume_run, retry_failed
from invoicing.services.run_work import work_run
from invoicing.services.runs import CycleInProgress, RunRequest, count_outcomes, list_unfinished_runs, plan_run
from invoicing.services.verification import verify_invoice
from tests.support import world
from tests.support.jobs import SentJobs

pytestmark = pytest.mark.django_db

JANUARY = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def catalog() -> None:
    world.publish()


def totals() -> list[int]:
    return [invoice.total for invoice in world.list_invoices()]


class TestACycle:
    def test_bills_the_next_fee_and_the_usage_of_the_period_before(self) -> None:
        account = world.open_account()
        subscription = world.subscribe(account, "pro")
        world.use(account, "input_tokens", [1_000_000, 2_000_000], at=datetime(2023, 11, 20, tzinfo=UTC))
        run = world.run_cycle(as_of=world.DECEMBER)

        first, second = world.list_invoices()
        assert [(line.type, line.amount) for line in first.lines.all()] == [("subscription", 1000)]
        # fee of December 10.00, and 3,000,000 × 0.00005 = 150 for November
        assert [(line.type, line.amount) for line in second.lines.all()] == [("subscription", 1000), ("usage", 150)]
        assert [line.period_start for line in second.lines.all()] == [world.DECEMBER, world.NOVEMBER]
        assert (second.number_text, second.status, second.boundary) == ("INV-0002", "open", 1)
        assert (str(second.issue_date), str(second.due_date)) == ("2023-12-01", "2023-12-08")
        assert (run.status, run.outcomes.get().status, run.outcomes.get().last_invoice) == (
            "completed",
            "issued",
            second,
        )
        subscription.refresh_from_db()
        assert (subscription.current_period_start, subscription.current_period_end) == (world.DECEMBER, JANUARY)
        assert (subscription.next_boundary, subscription.next_billing_at) == (2, JANUARY)

    def test_counts_an_event_on_the_border_once(self) -> None:
        account = world.open_account()
        world.subscribe(account, "payg")
        last = world.DECEMBER - timedelta(microseconds=1)
        world.use(account, "input_tokens", [2_000_000], at=last, key="last")
        world.use(account, "input_tokens", [4_000_000], at=world.DECEMBER, key="first")
        world.run_cycle(as_of=world.DECEMBER)
        world.run_cycle(as_of=JANUARY)
        # 2,000,000 × 0.00005 = 100 for November, 4,000,000 × 0.00005 = 200 for December
        assert totals() == [100, 200]

    def test_again_issues_nothing(self) -> None:
        world.subscribe(world.open_account(), "pro")
        world.run_cycle(as_of=world.DECEMBER)
        again = world.run_cycle(as_of=world.DECEMBER)
        assert totals() == [1000, 1000]
        assert (again.status, again.outcomes.count()) == ("completed", 0)

    def test_catches_up_missed_periods_one_by_one(self) -> None:
        world.subscribe(world.open_account(), "pro")
        run = world.run_cycle(as_of=datetime(2024, 3, 15, tzinfo=UTC))
        # November at the start, then December, January, February, March
        assert [invoice.boundary for invoice in world.list_invoices()] == [0, 1, 2, 3, 4]
        assert run.outcomes.get().invoice_count == 4

    def test_moves_on_when_there_is_nothing_to_bill(self) -> None:
        subscription = world.subscribe(world.open_account(), "payg")
        run = world.run_cycle(as_of=world.DECEMBER)
        subscription.refresh_from_db()
        assert Invoice.objects.count() == 0
        assert run.outcomes.get().status == "nothing_to_bill"
        assert subscription.next_billing_at == JANUARY

    def test_ends_a_subscription_that_is_to_be_canceled(self) -> None:
        account = world.open_account()
        subscription = world.subscribe(account, "pro")
        world.use(account, "input_tokens", [2_000_000], at=datetime(2023, 11, 20, tzinfo=UTC))
        Subscription.objects.filter(id=subscription.id).update(cancel_at_period_end=True)
        world.run_cycle(as_of=JANUARY)
        subscription.refresh_from_db()
        # the fee of November, then only its usage: 2,000,000 × 0.00005 = 100
        assert totals() == [1000, 100]
        assert (subscription.status, subscription.ended_at) == ("canceled", world.DECEMBER)
        assert Event.objects.filter(type="subscription.canceled").count() == 1

    def test_starts_the_paid_time_when_a_trial_is_over(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro", trial_period_days=14)
        assert totals() == []
        world.run_cycle(as_of=datetime(2023, 11, 15, tzinfo=UTC))
        subscription.refresh_from_db()
        assert subscription.status == "active"
        assert [(line.period_start, line.period_end) for line in world.list_invoices()[0].lines.all()] == [
            (datetime(2023, 11, 15, tzinfo=UTC), datetime(2023, 12, 15, tzinfo=UTC))
        ]

    def test_follows_an_accounts_test_clock(self) -> None:
        clock = create_test_clock(name="fast", now_at=world.NOVEMBER, actor=world.TESTER, at=world.NOVEMBER)
        world.subscribe(world.open_account(test_clock=clock), "pro")
        world.run_cycle(as_of=world.NOVEMBER)
        assert totals() == [1000]
        advance_test_clock(
            clock_id=clock.pk, to=datetime(2024, 1, 2, tzinfo=UTC), actor=world.TESTER, at=world.NOVEMBER
        )
        world.run_cycle(as_of=world.NOVEMBER)
        # real time stands still, the account's clock passed two boundaries
        assert totals() == [1000, 1000, 1000]
        assert str(world.list_invoices()[-1].issue_date) == "2024-01-02"

    def test_bills_at_local_midnight(self) -> None:
        world.subscribe(world.open_account(timezone="Asia/Tokyo"), "pro", at=datetime(2023, 10, 31, 16, tzinfo=UTC))
        midnight = datetime(2023, 11, 30, 15, tzinfo=UTC)  # 1 December in Tokyo
        assert world.run_cycle(as_of=midnight - timedelta(seconds=1)).outcomes.count() == 0
        assert world.run_cycle(as_of=midnight).outcomes.count() == 1
        assert str(world.list_invoices()[-1].issue_date) == "2023-12-01"

    def test_posts_what_it_issues(self) -> None:
        for number in range(3):
            world.subscribe(world.open_account(f"customer-{number}"), "pro")
        world.run_cycle(as_of=world.DECEMBER)
        balances = LedgerAccount.objects.filter(kind__in=("receivable", "revenue", "deferred_revenue"))
        assert (
            sorted((pot.kind, pot.balance) for pot in balances)
            == [("deferred_revenue", -6000)] + [("receivable", 2000)] * 3
        )

    def test_needs_as_many_queries_for_many_as_for_few(self) -> None:
        def count(prefix: str, accounts: int) -> int:
            for number in range(accounts):
                world.subscribe(world.open_account(f"{prefix}-{number}", org_id=prefix), "pro")
            with CaptureQueriesContext(connection) as captured:
                world.run_cycle(as_of=world.DECEMBER, org_id=prefix)
            return len(captured)

        world.publish(org_id="few")
        world.publish(org_id="many")
        assert count("few", 2) == count("many", 12)


class TestAFailure:
    @pytest.fixture
    def broken(self) -> Subscription:
        """Three subscriptions, the middle one with a price in another currency slipped in."""
        subscriptions = [world.subscribe(world.open_account(f"customer-{number}"), "pro") for number in range(3)]
        Subscription.objects.filter(id=subscriptions[1].id).update(currency="eur")
        return subscriptions[1]

    def test_is_reported_alone_and_stops_nobody(self, broken: Subscription) -> None:
        run = world.run_cycle(as_of=world.DECEMBER)
        found = list(RunOutcome.objects.filter(run=run).order_by("id").values_list("status", "error_code"))
        assert found == [("issued", ""), ("failed", "facts_invalid"), ("issued", "")]
        assert run.status == "completed"
        assert [invoice.number for invoice in world.list_invoices()] == [1, 2, 3, 4, 5]
        broken.refresh_from_db()
        assert broken.next_billing_at == world.DECEMBER

    def test_can_be_retried_alone(self, broken: Subscription, sent_jobs: SentJobs) -> None:
        run = world.run_cycle(as_of=world.DECEMBER)
        Subscription.objects.filter(id=broken.id).update(currency="usd")
        retry_failed(run_id=run.id, at=world.DECEMBER, actor=world.TESTER, reason="currency mended")
        run = work_run(run_id=run.id, actor=world.TESTER)
        outcome = RunOutcome.objects.get(run=run, subscription=broken)
        assert (run.status, outcome.status, outcome.attempts) == ("completed", "issued", 2)
        assert [invoice.number for invoice in world.list_invoices()] == [1, 2, 3, 4, 5, 6]

    def test_by_a_period_billed_before_says_so(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        Subscription.objects.filter(id=subscription.id).update(next_boundary=0, next_billing_at=world.NOVEMBER)
        run = world.run_cycle(as_of=world.NOVEMBER)
        outcome = run.outcomes.get()
        assert (outcome.status, outcome.error_code) == ("failed", "period_already_invoiced")
        assert totals() == [1000]


class TestARun:
    def test_holds_its_organization(self) -> None:
        world.subscribe(world.open_account(), "pro")
        first = plan_run(org_id="default", as_of=world.DECEMBER, request=RunRequest(world.TESTER), livemode=False)
        with pytest.raises(CycleInProgress):
            plan_run(org_id="default", as_of=world.DECEMBER, request=RunRequest(world.TESTER), livemode=False)
        other = plan_run(org_id="other", as_of=world.DECEMBER, request=RunRequest(world.TESTER), livemode=False)
        work_run(run_id=first.id, actor=world.TESTER)
        second = plan_run(org_id="default", as_of=world.DECEMBER, request=RunRequest(world.TESTER), livemode=False)
        assert len({first.id, other.id, second.id}) == 3

    def test_takes_the_oldest_first_and_leaves_the_rest(self) -> None:
        late = world.subscribe(world.open_account("late"), "pro", at=datetime(2023, 11, 20, tzinfo=UTC))
        early = world.subscribe(world.open_account("early"), "pro", at=datetime(2023, 11, 10, tzinfo=UTC))
        run = world.run_cycle(as_of=JANUARY, limit=1)
        assert [row.subscription for row in run.outcomes.all()] == [early]
        assert run.remaining == 1
        assert [each.subscription_id for each in list_due(as_of=JANUARY, org_id="default").items] == [late.id]

    def test_by_the_schedule_goes_through_jobs(
        self, sent_jobs: SentJobs, django_capture_on_commit_callbacks: object
    ) -> None:
        from invoicing.tasks import run_billing_cycle

        world.subscribe(world.open_account(), "pro")
        world.subscribe(world.open_account("b", org_id="second"), "pro")
        assert list_due_orgs(as_of=datetime.now(UTC)) == ["default", "second"]
        with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
            run_billing_cycle()
        assert sent_jobs.names.count("invoicing.work_billing_run") == 2
        for job in sent_jobs.of("invoicing.work_billing_run"):
            work_run(run_id=BillingRun.objects.get(id=job["run_id"]).id, actor=world.TESTER)
        assert set(BillingRun.objects.values_list("status", flat=True)) == {"completed"}


class TestSteering:
    @pytest.fixture
    def run(self) -> BillingRun:
        """A run over three subscriptions, one in each chunk."""
        for number in range(3):
            world.subscribe(world.open_account(f"customer-{number}"), "pro")
        return plan_run(org_id="default", as_of=world.DECEMBER, request=RunRequest(world.TESTER), livemode=False)

    def stop_after(
        self, monkeypatch: pytest.MonkeyPatch, settings: Any, chunks: int, act: Callable[[], object]
    ) -> None:
        """Call `act` once a worker has billed so many chunks of one subscription."""
        settings.BILLING_RUN_CHUNK_SIZE = 1
        billed, bill = [], run_work._bill_rows

        def watch(*arguments: Any) -> None:
            bill(*arguments)
            billed.append(1)
            if len(billed) == chunks:
                act()

        monkeypatch.setattr(run_work, "_bill_rows", watch)

    def count(self, run: BillingRun) -> dict[str, int]:
        return {status: number for status, number in count_outcomes(run).items() if number}

    def test_pausing_stops_after_the_chunk_and_resuming_goes_on(
        self, run: BillingRun, monkeypatch: pytest.MonkeyPatch, settings: Any, sent_jobs: SentJobs
    ) -> None:
        by: dict[str, Any] = {"run_id": run.id, "at": world.DECEMBER, "actor": world.TESTER}
        self.stop_after(monkeypatch, settings, 1, lambda: pause_run(**by, reason="prices look odd"))
        assert work_run(run_id=run.id, actor=world.TESTER).status == "paused"
        assert self.count(run) == {"pending": 2, "issued": 1}
        assert work_run(run_id=run.id, actor=world.TESTER).status == "paused"
        assert list_unfinished_runs() == []
        with pytest.raises(CycleInProgress):
            plan_run(org_id="default", as_of=world.DECEMBER, request=RunRequest(world.TESTER), livemode=False)
        assert resume_run(**by).status == "running"
        assert work_run(run_id=run.id, actor=world.TESTER).status == "completed"
        assert self.count(run) == {"issued": 3}
        types = Event.objects.filter(object_id=run.public_id).order_by("id").values_list("type", "reason")
        assert list(types) == [
            ("billing_run.started", ""),
            ("billing_run.paused", "prices look odd"),
            ("billing_run.resumed", ""),
            ("billing_run.completed", ""),
        ]

    def test_canceling_leaves_the_rest_to_the_next_run(
        self, run: BillingRun, monkeypatch: pytest.MonkeyPatch, settings: Any
    ) -> None:
        by: dict[str, Any] = {"run_id": run.id, "at": world.DECEMBER, "actor": world.TESTER}
        self.stop_after(monkeypatch, settings, 2, lambda: cancel_run(**by))
        assert work_run(run_id=run.id, actor=world.TESTER).status == "canceled"
        assert self.count(run) == {"issued": 2, "canceled": 1}
        assert [(result.success, result.error) for result in list_results(run)] == [
            (True, None),
            (True, None),
            (False, "run_canceled: The run was canceled before it came to this subscription."),
        ]
        again = world.run_cycle(as_of=world.DECEMBER)
        assert self.count(again) == {"issued": 1}
        assert len(world.list_invoices()) == 6

    def test_tells_how_far_it_is_and_when_it_will_be_through(self, run: BillingRun) -> None:
        assert measure_progress(run).left is None
        done = run.outcomes.order_by("id")[0]
        BillingRun.objects.filter(pk=run.pk).update(working_since=Now() - timedelta(minutes=10))
        RunOutcome.objects.filter(pk=done.pk).update(status="nothing_to_bill", finished_at=Now())
        found = measure_progress(run)
        assert (found.done, found.total, found.status) == (1, 3, "running")
        # one subscription took ten minutes, two are left
        assert found.left is not None and found.left // timedelta(minutes=1) == 20
        pause_run(run_id=run.id, at=world.DECEMBER, actor=world.TESTER)
        assert measure_progress(run).left is None


class TestAPreview:
    def test_says_what_the_run_then_issues(self) -> None:
        accounts = [world.open_account(f"customer-{number}") for number in range(3)]
        subscriptions = [world.subscribe(account, "pro") for account in accounts]
        for number, account in enumerate(accounts):
            world.use(account, "output_tokens", [3_333_333 * (number + 1)], at=datetime(2023, 11, 9, tzinfo=UTC))
        before = Invoice.objects.count()
        previews = preview_subscriptions(subscription_ids=[each.id for each in subscriptions], as_of=JANUARY)
        assert Invoice.objects.count() == before
        world.run_cycle(as_of=JANUARY)
        for preview in previews:
            issued = Invoice.objects.filter(subscription=preview.subscription, boundary__gt=0).order_by("boundary")
            assert [draft.total for draft in preview.drafts] == [invoice.total for invoice in issued]
            assert [draft.facts.as_dict() for draft in preview.drafts] == [invoice.trace for invoice in issued]


class TestVerification:
    @pytest.fixture
    def invoice(self) -> Invoice:
        account = world.open_account()
        world.subscribe(account, "payg")
        world.use(account, "input_tokens", [3_333_333], at=datetime(2023, 11, 9, tzinfo=UTC))
        world.run_cycle(as_of=world.DECEMBER)
        return world.list_invoices()[0]

    def tamper(self, statement: str, *parameters: UUID) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")  # past the triggers, as a superuser could
            cursor.execute(statement, parameters)
            cursor.execute("SET LOCAL session_replication_role = origin")

    def test_holds_for_what_was_issued(self, invoice: Invoice) -> None:
        # 3,333,333 × 0.00005 = 166.66665 → 167
        assert invoice.total == 167
        assert verify_invoice(invoice, check_usage=True).differences == []

    def test_finds_a_changed_amount(self, invoice: Invoice) -> None:
        self.tamper("UPDATE invoice_lines SET amount = 168 WHERE invoice_id = %s", invoice.id)
        self.tamper("UPDATE invoices SET subtotal = 168, total = 168, amount_due = 168 WHERE id = %s", invoice.id)
        found = verify_invoice(Invoice.objects.get(id=invoice.id))
        assert [str(difference) for difference in found.differences] == [
            "subtotal: stored 168, computed 167",
            "total: stored 168, computed 167",
            "amount_due: stored 168, computed 167",
            "line 1 amount: stored 168, computed 167",
        ]

    def test_finds_a_changed_trace(self, invoice: Invoice) -> None:
        self.tamper("UPDATE invoices SET trace = '{}' WHERE id = %s", invoice.id)
        found = verify_invoice(Invoice.objects.get(id=invoice.id))
        assert [difference.where for difference in found.differences] == ["trace"]

    def test_names_usage_that_came_late(self, invoice: Invoice) -> None:
        account = invoice.account
        world.use(account, "input_tokens", ["12.5"], at=datetime(2023, 11, 9, tzinfo=UTC), key="late")
        found = verify_invoice(invoice, check_usage=True)
        assert found.holds
        assert found.late_usage == ["Input tokens: 12.5 recorded after the invoice"]

    def test_finds_usage_that_vanished(self, invoice: Invoice) -> None:
        self.tamper("DELETE FROM usage_events")
        self.tamper("DELETE FROM usage_counters")  # what sums are made of; prove_usage finds one gone without the other
        found = verify_invoice(invoice, check_usage=True)
        assert [difference.where for difference in found.differences] == ["line 1 usage"]
