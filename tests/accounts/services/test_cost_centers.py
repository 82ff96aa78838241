"""Making, changing, moving and removing cost centers."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, transaction

from accounts.models import Account, CostCenter
from accounts.queries.cost_centers import load_tree
from accounts.services.cost_centers import (
    CostCenterCodeTaken,
    CostCenterInUse,
    delete_cost_center,
    update_cost_center,
)
from billing_site.kernel.errors import CurrencyUnsupported, InvalidState, NotFound, ValidationFailed
from billing_site.kernel.ids import new_uuid
from billing_site.platform.models import Event
from tests.factories.accounts import ACTOR, AT, make_account
from tests.factories.cost_centers import make_branch, make_cost_center

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return make_account("acme", currency="eur")


def change(center: CostCenter, **changes: Any) -> CostCenter:
    return update_cost_center(center_id=center.pk, changes=changes, at=AT, actor=ACTOR)


def remove(center: CostCenter) -> None:
    delete_cost_center(center_id=center.pk, at=AT, actor=ACTOR)


def events() -> list[str]:
    rows = Event.objects.filter(type__startswith="cost_center.").order_by("id")
    return list(rows.values_list("type", flat=True))


def list_codes(account: Account) -> list[tuple[str, int]]:
    return [(node.center.code, node.depth) for node in load_tree(account.pk).nodes]


class TestCreating:
    def test_trims_and_takes_the_currency_of_the_account(self, account: Account) -> None:
        center = make_cost_center(account, " R&D ", name=" Research ", budget=250_00)
        center.refresh_from_db()
        assert (center.code, center.name, center.budget, center.currency) == ("R&D", "Research", 25_000, "eur")
        assert (center.parent, center.is_active) == (None, True)
        event = Event.objects.get(type="cost_center.created")
        assert (event.account_id, event.object_id) == (account.pk, center.public_id)
        assert (event.data["code"], event.data["budget"], event.data["parent_id"]) == ("R&D", 25_000, None)

    def test_stands_below_its_parent(self, account: Account) -> None:
        top = make_cost_center(account, "top")
        make_cost_center(account, "below", parent=top)
        assert list_codes(account) == [("top", 0), ("below", 1)]

    def test_refuses_a_code_of_the_account_in_any_case(self, account: Account) -> None:
        make_cost_center(account, "Ops")
        with pytest.raises(CostCenterCodeTaken, match="'OPS'"):
            make_cost_center(account, "OPS")
        assert list_codes(account) == [("Ops", 0)]
        assert events() == ["cost_center.created"]

    def test_leaves_codes_to_other_accounts(self, account: Account) -> None:
        make_cost_center(account, "ops")
        other = make_account("globex")
        assert make_cost_center(other, "ops").account == other

    def test_names_every_field_that_is_wrong(self, account: Account) -> None:
        foreign = make_cost_center(make_account("globex"), "theirs")
        with pytest.raises(ValidationFailed) as refused:
            make_cost_center(account, " ", name="x" * 256, budget=-1, parent=foreign)
        assert [(finding.pointer, finding.code) for finding in refused.value.errors] == [
            ("/name", "max_length"),
            ("/code", "required"),
            ("/budget", "out_of_range"),
            ("/parent_id", "not_found"),
        ]
        assert not account.cost_centers.exists()

    def test_refuses_a_code_that_looks_like_an_id(self, account: Account) -> None:
        with pytest.raises(ValidationFailed, match="looks like an id"):
            make_cost_center(account, make_cost_center(account, "ops").public_id)

    def test_refuses_a_currency_that_is_not_offered_and_a_closed_account(self, account: Account) -> None:
        with pytest.raises(CurrencyUnsupported):
            make_cost_center(account, currency="xxq")
        Account.objects.filter(pk=account.pk).update(status="closed")
        with pytest.raises(InvalidState):
            make_cost_center(account)


class TestChanging:
    def test_keeps_what_was_in_the_event(self, account: Account) -> None:
        center = make_cost_center(account, "ops", budget=100)
        changed = change(center, name="Operations", budget=None, is_active=False)
        assert (changed.name, changed.budget, changed.is_active) == ("Operations", None, False)
        event = Event.objects.get(type="cost_center.updated")
        assert event.previous_data == {"name": "Ops", "budget": 100, "is_active": True}

    def test_writes_nothing_without_a_difference(self, account: Account) -> None:
        center = make_cost_center(account, "ops")
        before = center.updated_at
        assert change(center, name="Ops", code="ops", parent_id=None, budget=None).updated_at == before
        assert events() == ["cost_center.created"]

    def test_refuses_the_code_of_another_center_and_changes_nothing(self, account: Account) -> None:
        make_cost_center(account, "ops")
        center = make_cost_center(account, "dev")
        with pytest.raises(CostCenterCodeTaken):
            change(center, code="OPS", name="New")
        center.refresh_from_db()
        assert (center.code, center.name) == ("dev", "Dev")

    def test_may_change_the_case_of_its_own_code(self, account: Account) -> None:
        assert change(make_cost_center(account, "ops"), code="OPS").code == "OPS"

    def test_moves_with_everything_below(self, account: Account) -> None:
        _, middle, _ = make_branch(account, "a", "b", "c")
        other = make_cost_center(account, "z")
        change(middle, parent_id=other.pk)
        assert list_codes(account) == [("a", 0), ("z", 0), ("b", 1), ("c", 2)]
        event = Event.objects.get(type="cost_center.updated")
        assert event.data["parent_id"] == other.public_id
        assert list(event.previous_data or {}) == ["parent_id"]
        change(middle, parent_id=None)
        assert list_codes(account) == [("a", 0), ("b", 0), ("c", 1), ("z", 0)]

    @pytest.mark.parametrize("target", [0, 1, 2])
    def test_refuses_to_stand_below_itself(self, account: Account, target: int) -> None:
        branch = make_branch(account, "a", "b", "c")
        with pytest.raises(ValidationFailed) as refused:
            change(branch[0], parent_id=branch[target].pk)
        assert [(finding.pointer, finding.code) for finding in refused.value.errors] == [("/parent_id", "cycle")]
        assert list_codes(account) == [("a", 0), ("b", 1), ("c", 2)]

    def test_refuses_a_parent_of_another_account(self, account: Account) -> None:
        foreign = make_cost_center(make_account("globex"), "theirs")
        with pytest.raises(ValidationFailed, match="no such cost center"):
            change(make_cost_center(account), parent_id=foreign.pk)

    def test_knows_no_center_that_is_not_there(self) -> None:
        with pytest.raises(NotFound):
            update_cost_center(center_id=new_uuid(), changes={"name": "x"}, at=AT, actor=ACTOR)


class TestRemoving:
    def test_leaves_a_last_event(self, account: Account) -> None:
        center = make_cost_center(account, "ops")
        remove(center)
        assert not CostCenter.objects.exists()
        event = Event.objects.get(type="cost_center.deleted")
        assert (event.object_id, event.data["code"]) == (center.public_id, "ops")
        with pytest.raises(NotFound):
            remove(center)

    def test_refuses_a_center_with_children_and_names_them(self, account: Account) -> None:
        top, _ = make_branch(account, "top", "below")
        with pytest.raises(CostCenterInUse, match=r"deactivate it instead\. Below it: below\.") as refused:
            remove(top)
        assert refused.value.members["uses"] == ["cost centers"]
        assert list_codes(account) == [("top", 0), ("below", 1)]
        assert "cost_center.deleted" not in events()


class TestTheDatabase:
    """Refuses what no service may let through."""

    def refuse(self, center: CostCenter, constraint: str, **values: Any) -> None:
        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            CostCenter.objects.filter(pk=center.pk).update(**values)

    def test_refuses_circles(self, account: Account) -> None:
        top, _, low = make_branch(account, "a", "b", "c")
        self.refuse(top, "would be below itself", parent=low)
        self.refuse(top, "would be below itself", parent=top)

    def test_refuses_parents_and_homes_of_other_accounts(self, account: Account) -> None:
        other = make_account("globex")
        foreign = make_cost_center(other, "theirs")
        center = make_cost_center(account)
        self.refuse(center, "belongs to another account", parent=foreign)
        self.refuse(center, "account cannot change", account=other)

    @pytest.mark.parametrize("values", [{"budget": -1}, {"code": ""}, {"name": ""}])
    def test_refuses_values_no_center_has(self, account: Account, values: dict[str, Any]) -> None:
        self.refuse(make_cost_center(account), f"cost_centers_{next(iter(values))}_", **values)

    def test_reads_a_deep_tree_with_one_query(self, account: Account, django_assert_num_queries: Any) -> None:
        make_branch(account, *(f"level-{number:02}" for number in range(40)))
        with django_assert_num_queries(1):
            nodes = load_tree(account.pk).nodes
        assert [node.depth for node in nodes] == list(range(40))
