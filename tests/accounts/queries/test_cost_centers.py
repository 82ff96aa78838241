"""Trees of cost centers."""

from __future__ import annotations

import pytest

from accounts.models import CostCenter
from accounts.queries.cost_centers import build_tree, list_cost_centers
from tests.factories.accounts import make_account
from tests.factories.cost_centers import make_branch, make_cost_center


def center(name: str, parent: CostCenter | None = None) -> CostCenter:
    return CostCenter(name=name, code=name, parent=parent)


class TestTree:
    def test_has_siblings_by_name_and_children_behind_their_parent(self) -> None:
        b, a = center("b"), center("a")
        a2, a1, b1 = center("z", a), center("c", a), center("a", b)
        tree = build_tree([b, a2, b1, a1, a])
        assert [(node.center.name, node.depth) for node in tree.nodes] == [
            ("a", 0),
            ("c", 1),
            ("z", 1),
            ("b", 0),
            ("a", 1),
        ]

    def test_gives_a_subtree(self) -> None:
        top = center("top")
        left, right = center("left", top), center("right", top)
        leaf = center("leaf", left)
        tree = build_tree([top, left, right, leaf])
        assert tree.list_subtree(left.pk) == [left, leaf]
        assert tree.list_subtree(right.pk) == [right]
        assert tree.list_subtree(top.pk) == [top, left, leaf, right]
        assert tree.list_subtree(center("other").pk) == []

    def test_shows_a_center_without_its_parent_at_the_top(self) -> None:
        leaf = center("leaf", center("absent"))
        assert [node.depth for node in build_tree([leaf]).nodes] == [0]


@pytest.mark.django_db
class TestListing:
    def test_filters(self) -> None:
        account = make_account("acme")
        top, below = make_branch(account, "top", "below")
        off = make_cost_center(account, "off", is_active=False)
        make_cost_center(make_account("globex"), "theirs")
        assert list(list_cost_centers(account=account)) == [off, below, top]
        assert list(list_cost_centers(account=account, active=False)) == [off]
        assert list(list_cost_centers(account=account, active=True)) == [below, top]
        assert list(list_cost_centers(account=account, parent_id=top.pk)) == [below]
