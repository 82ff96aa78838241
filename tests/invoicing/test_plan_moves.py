"""Moving subscriptions to another version: previewed by the engine that bills, then billed as previewed."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import PriceOverride, Subscription, SubscriptionItem
from billing_site.kernel.errors import NotFound, ValidationFailed
from billing_site.platform.models import Event
from catalog.models import Plan, PlanVersion
from catalog.services.publishing import publish_document
from invoicing.models import Invoice, InvoiceLine, PlanMove
from invoicing.queries.impact import preview_document_impact
from invoicing.queries.plan_moves import get_target, preview_move, select_subscriptions
from invoicing.services.plan_moves import MoveInProgress, MoveRequest, NothingToMove, count_items, start_move, work_move
from invoicing.services.verification import verify_invoice
from tests.support import world
from tests.support.jobs import SentJobs

pytestmark = pytest.mark.django_db

MIDDLE = datetime(2023, 11, 15, tzinfo=UTC)
JANUARY = datetime(2024, 1, 1, tzinfo=UTC)
FEBRUARY = datetime(2024, 2, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def catalog() -> None:
    world.publish()


def move(timing: str = "period_end", *, at: datetime = MIDDLE, work: bool = True, **request: Any) -> PlanMove:
    request.setdefault("plan_key", "pro")
    started = start_move(
        request=MoveRequest("default", timing=timing, **request), at=at, actor=world.TESTER, reason="new prices"
    )
    return work_move(move_id=started.id, at=at, actor=world.TESTER) if work else started


def list_lines(subscription: Subscription) -> list[tuple[str, str, int]]:
    lines = InvoiceLine.objects.filter(invoice__subscription=subscription).order_by("invoice_id", "position")
    return [(f"{line.period_start:%b}", line.type, line.amount) for line in lines]


class TestAtPeriodEnd:
    def test_what_closes_is_billed_at_the_old_prices_and_what_opens_at_the_new(self) -> None:
        account = world.open_account()
        subscription = world.subscribe(account, "pro")
        world.publish(at=MIDDLE, fee=1500, input_price="0.0001")
        world.use(account, "input_tokens", [2_000_000], at=MIDDLE)
        moved = move()
        subscription.refresh_from_db()
        assert (moved.status, subscription.plan_version.version) == ("completed", 1)
        assert subscription.pending_plan_version is not None
        assert subscription.pending_plan_version.version == 2

        world.run_cycle(as_of=world.DECEMBER)
        world.use(account, "input_tokens", [2_000_000], at=world.DECEMBER, key="december")
        world.run_cycle(as_of=JANUARY)
        assert list_lines(subscription) == [
            ("Nov", "subscription", 1000),
            ("Dec", "subscription", 1500),  # the new fee
            ("Nov", "usage", 100),  # 2,000,000 × 0.00005, the old price
            ("Jan", "subscription", 1500),
            ("Dec", "usage", 200),  # 2,000,000 × 0.0001, the new price
        ]
        subscription.refresh_from_db()
        assert subscription.plan_version.version == 2
        assert subscription.pending_plan_version_id is None
        for invoice in Invoice.objects.all():
            assert verify_invoice(invoice, check_usage=True).differences == []
        lines = InvoiceLine.objects.order_by("invoice_id", "position")
        assert list(lines.values_list("plan_version__version", flat=True)) == [1, 2, 1, 2, 2]

    def test_items_keep_their_identity(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        before = set(subscription.items.values_list("id", flat=True))
        world.publish(at=MIDDLE, fee=1500)
        move()
        world.run_cycle(as_of=world.DECEMBER)
        items = SubscriptionItem.objects.filter(subscription=subscription)
        assert {item.id for item in items} == before
        assert {item.price.plan_version.version for item in items if item.price} == {2}

    def test_added_and_dropped_prices_come_and_go_with_the_period(self) -> None:
        account = world.open_account()
        subscription = world.subscribe(account, "pro")
        document = world.make_document()
        pro = document["plans"][1]
        pro["prices"] = [price for price in pro["prices"] if price.get("meter") != "output_tokens"]
        document["meters"].append({"name": "images", "unit": "images"})
        pro["prices"].append({"currency": "usd", "interval": "month", "meter": "images", "unit_amount": "4"})
        publish_document(org_id="default", document=document, at=MIDDLE, actor=world.TESTER)
        world.use(account, "output_tokens", [1_000_000], at=MIDDLE, key="o")
        world.use(account, "images", [5], at=MIDDLE, key="i")
        move()
        world.run_cycle(as_of=world.DECEMBER)
        world.use(account, "output_tokens", [1_000_000], at=world.DECEMBER, key="o2")
        world.use(account, "images", [5], at=world.DECEMBER, key="i2")
        world.run_cycle(as_of=JANUARY)
        assert list_lines(subscription)[1:] == [
            ("Dec", "subscription", 1000),
            ("Nov", "usage", 150),  # output: 1,000,000 × 0.00015, still priced; the images were not yet
            ("Jan", "subscription", 1000),
            ("Dec", "usage", 20),  # 5 images × 4; output is not priced any more
        ]

    def test_missed_periods_are_caught_up_at_their_own_prices(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        world.publish(at=MIDDLE, fee=1500)
        move()
        world.run_cycle(as_of=FEBRUARY)
        assert [amount for _, _, amount in list_lines(subscription)] == [1000, 1500, 1500, 1500]


class TestNow:
    def test_reprices_the_running_period_and_leaves_the_fee_that_was_billed(self) -> None:
        account = world.open_account()
        subscription = world.subscribe(account, "pro")
        world.publish(at=MIDDLE, fee=1500, input_price="0.0001")
        world.use(account, "input_tokens", [2_000_000], at=MIDDLE)
        move("now")
        subscription.refresh_from_db()
        assert subscription.plan_version.version == 2
        world.run_cycle(as_of=world.DECEMBER)
        assert list_lines(subscription) == [
            ("Nov", "subscription", 1000),
            ("Dec", "subscription", 1500),
            ("Nov", "usage", 200),  # 2,000,000 × 0.0001
        ]


class TestTheMoveItself:
    def test_says_what_it_did_and_to_whom(self, sent_jobs: SentJobs, django_capture_on_commit_callbacks: Any) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        world.publish(at=MIDDLE, fee=1500)
        with django_capture_on_commit_callbacks(execute=True):
            moved = move(work=False)
        assert sent_jobs.names == ["invoicing.work_plan_move"]
        work_move(move_id=moved.id, at=MIDDLE, actor=world.TESTER)
        assert count_items(moved) == {"pending": 0, "applied": 1, "failed": 0}
        event = Event.objects.get(type="subscription.updated")
        assert (event.object_id, event.data["plan_move"]) == (subscription.public_id, moved.public_id)
        assert event.previous_data is not None
        assert (event.previous_data["pending_plan_version"], event.data["pending_plan_version"]) == (None, 2)
        assert event.reason == "new prices"
        assert Event.objects.filter(type__startswith="plan_move.").count() == 2

    def test_takes_those_of_some_versions_only(self) -> None:
        old = world.subscribe(world.open_account("old"), "pro")
        world.publish(at=MIDDLE, fee=1500)
        newer = world.subscribe(world.open_account("newer"), "pro", at=MIDDLE)
        world.publish(at=MIDDLE, fee=2000)
        move(from_versions=[1])
        old.refresh_from_db()
        newer.refresh_from_db()
        assert old.pending_plan_version is not None
        assert newer.pending_plan_version is None

    def test_takes_at_once_those_that_were_to_go_with_the_next_period(self) -> None:
        subscription = world.subscribe(world.open_account(), "pro")
        world.publish(at=MIDDLE, fee=1500)
        move()
        with pytest.raises(NothingToMove):
            move()
        move("now")
        subscription.refresh_from_db()
        assert (subscription.plan_version.version, subscription.pending_plan_version) == (2, None)

    def test_can_be_limited_to_the_accounts_of_one_organization(self) -> None:
        own = world.subscribe(world.open_account("own"), "pro")
        other = world.subscribe(world.open_account("elsewhere/one"), "pro")
        world.publish(at=MIDDLE, fee=1500)
        assert list(move(accounts_of="default").items.values_list("subscription", flat=True)) == [own.id]
        assert list(move().items.values_list("subscription", flat=True)) == [other.id]

    def test_can_go_back_to_an_older_version(self) -> None:
        world.publish(at=MIDDLE, fee=1500)
        subscription = world.subscribe(world.open_account(), "pro")
        move("now", version=1)
        subscription.refresh_from_db()
        assert subscription.plan_version.version == 1

    def test_that_takes_nobody_has_failed(self) -> None:
        document = world.make_document()
        for price in document["plans"][1]["prices"]:
            price["currency"] = "eur"
        world.subscribe(world.open_account(), "pro")
        publish_document(org_id="default", document=document, at=MIDDLE, actor=world.TESTER)
        moved = move()
        assert (moved.status, count_items(moved)) == ("failed", {"pending": 0, "applied": 0, "failed": 1})
        assert moved.items.get().error_code == "validation_failed"
        assert Event.objects.filter(type="plan_move.failed").exists()

    def test_names_the_ones_it_could_not_take(self) -> None:
        ending = world.subscribe(world.open_account("ending"), "pro")
        Subscription.objects.filter(id=ending.id).update(cancel_at_period_end=True)
        world.subscribe(world.open_account("staying"), "pro")
        world.publish(at=MIDDLE, fee=1500)
        moved = move()
        assert (moved.status, count_items(moved)) == ("completed", {"pending": 0, "applied": 1, "failed": 1})
        assert moved.items.get(status="failed").subscription_id == ending.id

    def test_refuses_to_move_nobody(self) -> None:
        world.subscribe(world.open_account(), "pro")
        with pytest.raises(NothingToMove):
            move()

    def test_refuses_a_second_one_of_the_plan(self) -> None:
        world.subscribe(world.open_account(), "pro")
        world.publish(at=MIDDLE, fee=1500)
        move(work=False)
        with pytest.raises(MoveInProgress):
            move(work=False)

    def test_refuses_what_it_does_not_know(self) -> None:
        with pytest.raises(NotFound):
            move(plan_key="gold")
        with pytest.raises(NotFound):
            move(version=9)
        with pytest.raises(ValidationFailed):
            move("tomorrow")

    def test_a_repeat_of_the_request_is_the_same_move(self) -> None:
        world.subscribe(world.open_account(), "pro")
        world.publish(at=MIDDLE, fee=1500)
        first = move(key="k", hash="h")
        assert move(key="k", hash="h").id == first.id


def preview(timing: str = "period_end", **selection: Any) -> Any:
    plan = Plan.objects.get(key="pro")
    version = plan.current_version
    assert version is not None
    chosen = list(select_subscriptions(plan=plan, to_version=version, **selection))
    return preview_move(chosen, target=get_target(version), timing=timing)


class TestPreview:
    def test_says_what_is_then_billed(self) -> None:
        for number in range(4):
            account = world.open_account(f"a{number}", at=world.OCTOBER)
            world.subscribe(account, "pro", quantity=number + 1)
            world.use(account, "input_tokens", [(number + 1) * 1_000_000], at=MIDDLE)
        world.publish(at=MIDDLE, fee=1500, input_price="0.0001")
        (total,) = preview().totals
        # next invoice: fees (1 + 2 + 3 + 4) × 1,000 or 1,500; usage 10 million × 0.00005 at the old price in both
        assert (total.next_before, total.next_after) == (10_000 + 500, 15_000 + 500)
        # by the month, all of it at one version: 10,000 + 500 against 15,000 + 1,000
        assert (total.monthly_before, total.monthly_after, total.monthly_difference) == (10_500, 16_000, 5_500)
        move()
        world.run_cycle(as_of=world.DECEMBER)
        assert sum(invoice.total for invoice in Invoice.objects.filter(period_end=JANUARY)) == total.next_after

    def test_for_at_once_prices_the_running_period_anew(self) -> None:
        account = world.open_account()
        world.subscribe(account, "pro")
        world.use(account, "input_tokens", [2_000_000], at=MIDDLE)
        world.publish(at=MIDDLE, fee=1500, input_price="0.0001")
        (total,) = preview("now").totals
        assert (total.next_before, total.next_after) == (1_100, 1_700)

    def test_keeps_negotiated_prices_and_names_those_that_lose_their_price(self) -> None:
        account = world.open_account()
        world.subscribe(account, "pro")
        for key in ("pro:usd:month", "pro:usd:month:output_tokens", "payg:usd:month:input_tokens"):
            PriceOverride.objects.create(
                account=account,
                lookup_key=key,
                model="flat",
                unit_amount=Decimal(900),
                effective_from=world.OCTOBER,
                reason="contract",
                created_by="staff:lead",
            )
        document = world.make_document(fee=1500)
        pro = document["plans"][1]
        pro["prices"] = [price for price in pro["prices"] if price.get("meter") != "output_tokens"]
        publish_document(org_id="default", document=document, at=MIDDLE, actor=world.TESTER)
        (found,) = preview().previews
        assert (found.kept, found.lost) == (("pro:usd:month",), ("pro:usd:month:output_tokens",))
        assert (found.next_before, found.next_after) == (900 + 900, 900 + 900)
        move()
        world.run_cycle(as_of=JANUARY)
        assert [line.amount for line in InvoiceLine.objects.filter(type="subscription", period_start=JANUARY)] == [900]

    def test_writes_nothing_and_takes_queries_by_the_chunk_not_by_the_subscription(self) -> None:
        def count() -> int:
            with CaptureQueriesContext(connection) as queries:
                preview()
            assert not [query for query in queries if not query["sql"].lstrip().startswith(("SELECT", "WITH"))]
            return len(queries)

        for number in range(6):
            world.subscribe(world.open_account(f"more{number}"), "pro")
        world.publish(at=MIDDLE, fee=1500)
        many = count()
        Subscription.objects.exclude(account__external_id="more0").update(status="canceled", ended_at=MIDDLE)
        assert count() == many

    def test_of_a_document_says_whom_it_would_touch(self) -> None:
        account = world.open_account()
        world.subscribe(account, "pro")
        world.subscribe(account, "free")
        document = world.make_document(fee=1500)
        document["plans"] = [plan for plan in document["plans"] if plan["id"] != "free"]
        impact = preview_document_impact(org_id="default", document=document, at=MIDDLE)
        found = {each.plan.key: each for each in impact.plans}
        assert {key: (each.change, each.subscriptions) for key, each in found.items()} == {
            "free": ("removed", 1),
            "pro": ("changed", 1),
        }
        move_plan = found["pro"].move
        assert move_plan is not None
        (total,) = move_plan.totals
        assert (found["pro"].next_version, total.next_after - total.next_before) == (2, 500)
        assert PlanVersion.objects.filter(plan__key="pro").count() == 1

    def test_knows_whom_the_move_could_not_take_and_why(self) -> None:
        for handle in ("ending", "gone", "staying"):
            world.subscribe(world.open_account(handle), "pro")
        Subscription.objects.exclude(account__external_id="staying").update(cancel_at_period_end=True)
        world.publish(at=MIDDLE, fee=1500)
        found = preview()
        (obstacle,) = found.list_obstacles()
        assert (obstacle.code, len(obstacle.subscriptions), found.movable) == ("move_not_possible", 2, 1)
        assert obstacle.detail == "The subscription ends with this period; no next one begins."
        assert count_items(move()) == {"pending": 0, "applied": 1, "failed": 2}

    def test_lists_the_largest_differences_first(self) -> None:
        for quantity in (1, 3, 2):
            world.subscribe(world.open_account(f"a{quantity}"), "pro", quantity=quantity)
        world.publish(at=MIDDLE, fee=1500)
        largest = preview().list_largest(2)
        # each seat costs 5.00 more
        assert [(each.subscription.quantity, each.monthly_difference) for each in largest] == [(3, 1500), (2, 1000)]
