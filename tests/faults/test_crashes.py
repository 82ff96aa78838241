"""A crash between any two statements leaves all of an action or nothing, and repeating it gives its effect once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection, transaction
from django.db.utils import InterfaceError, OperationalError

from accounts.queries.proof import prove_ledger
from billing_site.platform.services.events import verify_all
from invoicing.services.verification import verify_invoice
from tests.faults.actions import ACTIONS, Action, Run
from tests.faults.crashes import (
    Crash,
    Statements,
    crash,
    terminate_session,
    watched,
)
from tests.support import world
from tests.support.stored import describe_rows, hash_database

RUN_TABLES = ("billing_runs", "billing_run_outcomes", "event_chains")
TERMINATED = (
    "start a subscription with a coupon and stored money",
    "upgrade now",
    "resume after a renewal that was skipped",
    "void an invoice that stored money paid",
    "deposit",
)
Effect = dict[str, list[str]]


def describe(action: Action) -> Effect:
    """Return what is stored; of an action of several transactions without the progress of the run that did it."""
    if action.is_whole:
        return describe_rows()
    effect = describe_rows(without=RUN_TABLES)
    return {table: [row for row in rows if '"type": "billing_run.' not in row] for table, rows in effect.items()}


def require_proven() -> None:
    """Everything that is stored twice agrees: ledger, invoices, events."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    assert prove_ledger().fault is None
    assert [report.fault for report in verify_all() if report.fault is not None] == []
    assert [str(found) for invoice in world.list_invoices() for found in verify_invoice(invoice).differences] == []


def rehearse(action: Action, run: Run) -> tuple[Statements, Effect]:
    """Do the action, take it back, and return the statements it sent and what it stored."""
    with transaction.atomic():
        with watched(Statements()) as statements:
            run()
        require_proven()
        effect = describe(action)
        transaction.set_rollback(True)
    return statements, effect


def stop_before(number: int, run: Run) -> None:
    with pytest.raises(Crash), watched(Statements(number, crash)):
        run()


@contextmanager
def ending_session(number: int, at_commit: int) -> Iterator[None]:
    """End the session before statement `number`, or before the commit that follows the last one."""
    with watched(Statements(number, terminate_session, is_gone=False)), pytest.MonkeyPatch.context() as patch:
        if number == at_commit:
            commit = connection.commit

            def end_and_commit() -> None:
                terminate_session()
                commit()

            patch.setattr(connection, "commit", end_and_commit)
        yield


@pytest.mark.django_db
@pytest.mark.parametrize("action", ACTIONS, ids=str)
def test_stopped_before_any_statement_stores_nothing_and_repeats(action: Action) -> None:
    run = action.arrange()
    require_proven()
    before, nothing = hash_database(), describe(action)
    statements, everything = rehearse(action, run)
    assert everything != nothing
    assert hash_database() == before
    jobs = len(connection.run_on_commit)
    for number in statements.list_points():
        with transaction.atomic():
            stop_before(number, run)
            if hash_database() != before:
                assert not action.is_whole, f"something is left when it stops before statement {number}"
                assert describe(action) in (nothing, everything), number
                run()
                assert describe(action) == everything, number
            transaction.set_rollback(True)
        assert len(connection.run_on_commit) == jobs
    run()
    assert describe(action) == everything
    require_proven()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("action", [each for each in ACTIONS if each.name in TERMINATED], ids=str)
def test_whose_session_is_ended_stores_nothing_and_repeats(action: Action) -> None:
    run = action.arrange()
    before, nothing = hash_database(), describe(action)
    statements, everything = rehearse(action, run)
    last = len(statements.sent) - 1  # without the savepoint, which is a transaction here
    at_commit = last + 1
    points = statements.list_points()
    for number in (1, points[len(points) // 2], last, at_commit):
        assert hash_database() == before
        with pytest.raises((OperationalError, InterfaceError)), ending_session(number, at_commit):
            run()
        connection.close()
        assert describe(action) == nothing, f"something is left when its session ends at {number} of {at_commit}"
    assert hash_database() == before
    run()
    assert describe(action) == everything
    require_proven()
