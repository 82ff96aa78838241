"""Moves of cost centers by several connections at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection

from accounts.models import CostCenter
from accounts.queries.cost_centers import load_tree
from accounts.services.cost_centers import CostCenterInUse, create_cost_center, delete_cost_center, update_cost_center
from billing_site.kernel.errors import ValidationFailed
from tests.factories.accounts import ACTOR, AT, make_account
from tests.factories.cost_centers import make_cost_center

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
