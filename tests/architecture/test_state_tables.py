"""
Every pair of states of every state table: what is allowed happens, what is not is refused, here and by the database.

A new model with a `status`, or a new `…_TRANSITIONS`, fails here until `tests/support/state_tables.py` has its case.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from billing_site.kernel.errors import DomainError
from tests.support.state_tables import TABLES
from tests.support.states import StateTable, find_models_with_states, find_transition_mappings

PAIRS = [
    pytest.param(table, *pair, id=f"{table.name}-{pair[0]}-{pair[1]}")
    for table in TABLES
    for pair in table.list_pairs()
]
STARTS = [pytest.param(table, before, id=f"{table.name}-{before}") for table in TABLES for before in table.states]
EACH = pytest.mark.parametrize("table", [pytest.param(table, id=table.name) for table in TABLES])


class TestCoverage:
    def test_every_model_with_a_status_has_a_case(self) -> None:
        assert {table.name for table in TABLES} == set(find_models_with_states())
        assert len({table.name for table in TABLES}) == len(TABLES)

    def test_every_transition_mapping_is_walked(self) -> None:
        walked = {id(table.transitions) for table in TABLES}
        found = find_transition_mappings()
        assert len(found) >= 3
        assert [name for name, mapping in found.items() if id(mapping) not in walked] == []

    @EACH
    def test_a_table_says_something_of_each_of_its_states(self, table: StateTable) -> None:
        assert set(table.transitions) == set(table.states)
        assert set(itertools.chain(*table.transitions.values())) <= set(table.states)

    @EACH
    def test_what_is_not_served_is_allowed_and_what_is_quiet_is_not(self, table: StateTable) -> None:
        assert [pair for pair in table.unserved if not table.is_allowed(pair)] == []
        assert [pair for pair in table.quiet if table.is_allowed(pair)] == []
        assert [pair for pair in table.through if table.is_allowed(pair)] == []
        hops = [hop for (before, after), via in table.through.items() for hop in ((before, via), (via, after))]
        assert [hop for hop in hops if not table.is_allowed(hop)] == []

    @EACH
    def test_every_state_that_may_follow_another_is_led_to(self, table: StateTable) -> None:
        allowed = {pair for pair in table.list_pairs() if table.is_allowed(pair)} - table.unserved
        assert {after for _, after in allowed} <= set(table.moves)


@pytest.mark.django_db
class TestEveryPair:
    @pytest.fixture(autouse=True)
    def _one_person_may_publish(self, settings: Any) -> None:
        settings.BILLING_CATALOG_APPROVAL = False

    @pytest.mark.parametrize(("table", "before", "after"), PAIRS)
    def test_by_the_service(self, table: StateTable, before: str, after: str) -> None:
        row = table.arrange(before, after)
        row.refresh_from_db()
        assert row.status == before
        if table.allows is not None:
            assert table.allows(row, after) is table.is_allowed((before, after))
        if after not in table.moves or (before, after) in table.unserved:
            return
        led = table.is_allowed((before, after)) or (before, after) in table.through
        if led or (before, after) in table.quiet:
            table.moves[after](row)
        else:
            with pytest.raises(DomainError) as refused:
                table.moves[after](row)
            assert refused.value.status == table.refusal
        row.refresh_from_db()
        assert row.status == (after if led else before)

    @pytest.mark.parametrize(("table", "before"), STARTS)
    def test_by_a_bare_update(self, table: StateTable, before: str) -> None:
        row: Any = None if table.arranges_for_second else table.arrange(before, before)
        for after in table.states:
            constraint = table.held(before, after)
            with transaction.atomic(), connection.cursor() as cursor:
                if table.arranges_for_second:
                    row = table.arrange(before, after)
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                if constraint:
                    with pytest.raises(IntegrityError) as refused, transaction.atomic():
                        set_by_hand(cursor, row, after)
                    assert refused.value.__cause__.diag.constraint_name == constraint  # type: ignore[union-attr]
                    row.refresh_from_db()
                    assert row.status == before
                else:
                    set_by_hand(cursor, row, after)
                    assert cursor.rowcount == 1
                transaction.set_rollback(True)


def set_by_hand(cursor: Any, row: Any, status: str) -> None:
    cursor.execute(f"UPDATE {row._meta.db_table} SET status = %s WHERE id = %s", [status, row.pk])
