"""Moves and removals of cost centers by several connections at once, and usage that arrives meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import Barrier

import pytest
from django.db import connection, transaction

from accounts.models import Account, CostCenter
from accounts.queries.cost_centers import load_tree
from accounts.services.cost_centers import CostCenterInUse, create_cost_center, delete_cost_center, update_cost_center
from billing_site.kernel.errors import ValidationFailed
from metering.models import UsageEvent
from metering.services.ingest import NewUsageEvent, record_usage_events
from tests.factories.accounts import ACTOR, AT, make_account
from tests.factories.cost_centers import make_cost_center
from tests.factories.metering import make_meter

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 15


def run_together(*calls: object) -> list[str]:
    """Run calls on connections of their own, all from the same moment; return what became of each."""
    gate = Barrier(len(calls))

    def run(call: object) -> str:
        try:
            gate.wait(timeout=10)
            call()  # type: ignore[operator]
        except (ValidationFailed, CostCenterInUse) as refusal:
            return type(refusal).__name__
        finally:
            connection.close()
        return "done"

    with ThreadPoolExecutor(len(calls)) as pool:
        return sorted(pool.map(run, calls))


class TestMoves:
    def test_never_close_a_circle(self) -> None:
        account = make_account("acme")
        for number in range(ROUNDS):
            ring = [make_cost_center(account, f"{name}-{number}") for name in "abc"]

            def move(center: CostCenter, parent: CostCenter) -> None:
                update_cost_center(center_id=center.pk, changes={"parent_id": parent.pk}, at=AT, actor=ACTOR)

            outcomes = run_together(
                lambda ring=ring: move(ring[0], ring[1]),
                lambda ring=ring: move(ring[1], ring[2]),
                lambda ring=ring: move(ring[2], ring[0]),
            )
            assert outcomes == ["ValidationFailed", "done", "done"]
        assert len(load_tree(account.pk).nodes) == 3 * ROUNDS

    def test_never_lose_a_child_to_a_removal(self) -> None:
        account = make_account("acme")
        for number in range(ROUNDS):
            parent = make_cost_center(account, f"p-{number}")
            outcomes = run_together(
                lambda parent=parent: delete_cost_center(center_id=parent.pk, at=AT, actor=ACTOR),
                lambda parent=parent, number=number: create_cost_center(
                    account=account, name="c", code=f"c-{number}", parent_id=parent.pk, at=AT, actor=ACTOR
                ),
            )
            assert outcomes in (["CostCenterInUse", "done"], ["ValidationFailed", "done"])
            child = CostCenter.objects.filter(code=f"c-{number}").first()
            assert (child is not None) == CostCenter.objects.filter(pk=parent.pk).exists()


class TestUsage:
    def test_never_names_a_removed_center(self) -> None:
        account = make_account("acme")
        make_meter("requests")
        for number in range(ROUNDS):
            center = make_cost_center(account, f"c-{number}")
            outcomes = run_together(
                lambda center=center: delete_cost_center(center_id=center.pk, at=AT, actor=ACTOR),
                lambda number=number: send(account, f"c-{number}"),
            )
            assert outcomes in (["CostCenterInUse", "done"], ["ValidationFailed", "done"])
            is_there = CostCenter.objects.filter(pk=center.pk).exists()
            assert UsageEvent.objects.filter(cost_center_id=center.pk).exists() is is_there

    def test_makes_a_removal_wait_and_then_refuses_it(self) -> None:
        account = make_account("acme")
        make_meter("requests")
        center = make_cost_center(account, "ops")
        refusals: list[type[Exception]] = []

        def remove() -> None:
            try:
                delete_cost_center(center_id=center.pk, at=AT, actor=ACTOR)
            except CostCenterInUse as refusal:
                refusals.append(type(refusal))
            finally:
                connection.close()

        with ThreadPoolExecutor(1) as pool:
            with transaction.atomic():
                send(account, "ops")
                waiting = pool.submit(remove)
                with pytest.raises(TimeoutError):
                    waiting.result(timeout=0.5)
            waiting.result(timeout=10)
        assert refusals == [CostCenterInUse]

    def test_does_not_wait_for_a_change_of_its_center(self) -> None:
        account = make_account("acme")
        make_meter("requests")
        center = make_cost_center(account, "ops")

        def report() -> None:
            try:
                send(account, "ops")
            finally:
                connection.close()

        with ThreadPoolExecutor(1) as pool, transaction.atomic():
            update_cost_center(center_id=center.pk, changes={"name": "Operations"}, at=AT, actor=ACTOR)
            pool.submit(report).result(timeout=10)
            assert UsageEvent.objects.filter(cost_center_id=center.pk).exists()


def send(account: Account, code: str) -> None:
    """Record one event of the center."""
    event = NewUsageEvent(account, "requests", Decimal(1), cost_center=code)
    record_usage_events(events=[event], at=AT, actor=ACTOR)
