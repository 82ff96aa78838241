"""The event log: chained, append-only, in the transaction of the change."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, connections, transaction
from django.db.transaction import TransactionManagementError

from billing_site.kernel.actors import Actor
from billing_site.platform.models import PLATFORM_CHAIN, Event, EventChain
from billing_site.platform.services import events
from tests.factories.platform import AT, Widget, make_new_event

ACCOUNT = uuid.UUID(int=7)


def write(*accounts: uuid.UUID | None) -> list[Event]:
    with transaction.atomic():
        return events.emit_many([make_new_event(account) for account in accounts])


def tamper(sql: str, *parameters: str | uuid.UUID | datetime) -> None:
    """Change rows as someone would who can switch triggers off."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(sql, parameters)
        cursor.execute("SET LOCAL session_replication_role = origin")


@pytest.mark.django_db
class TestEmit:
    def test_keeps_subject_actor_reason_and_both_snapshots(self) -> None:
        widget = Widget()
        with transaction.atomic():
            row = events.emit(
                "widget.painted",
                subject=widget,
                account_id=ACCOUNT,
                at=AT,
                actor=Actor("staff", "ada"),
                data={"colour": "red"},
                previous={"colour": "blue"},
                reason="ordered so",
            )
        row = Event.objects.get(pk=row.pk)
        assert (row.object_type, row.object_id) == ("widget", widget.public_id)
        assert (row.actor_type, row.actor_id, row.reason) == ("staff", "ada", "ordered so")
        assert (row.data, row.previous_data) == ({"colour": "red"}, {"colour": "blue"})
        assert (row.created_at, row.chain, row.sequence, row.previous_hash) == (AT, str(ACCOUNT), 1, "")

    def test_chains_each_account_apart_and_numbers_without_gaps(self) -> None:
        other = uuid.UUID(int=8)
        rows = write(ACCOUNT, other, None, ACCOUNT, None)
        assert [(row.chain, row.sequence) for row in rows] == [
            (str(ACCOUNT), 1),
            (str(other), 1),
            (PLATFORM_CHAIN, 1),
            (str(ACCOUNT), 2),
            (PLATFORM_CHAIN, 2),
        ]
        assert rows[3].previous_hash == rows[0].hash
        assert all(report.is_intact for report in events.verify_all())

    def test_needs_the_transaction_of_the_change(self, transactional_db: None) -> None:
        with pytest.raises(TransactionManagementError):
            events.emit_many([make_new_event()])
        assert not Event.objects.exists()

    def test_goes_away_with_the_change_it_tells_of(self) -> None:
        with pytest.raises(RuntimeError), transaction.atomic():
            events.emit_many([make_new_event(ACCOUNT)])
            raise RuntimeError
        assert not Event.objects.exists()
        assert write(ACCOUNT)[0].sequence == 1

    def test_query_count_does_not_grow_with_the_number_of_events(self, django_assert_num_queries: Any) -> None:
        accounts = [uuid.UUID(int=100 + number % 10) for number in range(200)]
        write(*accounts)
        # The savepoint and its release; lock chains, insert events, advance chains.
        with django_assert_num_queries(2 + 3), transaction.atomic():
            events.emit_many([make_new_event(account) for account in accounts])

    def test_survives_jsonb_with_every_kind_of_value(self) -> None:
        data = {
            "decimal": Decimal("0.000000000010"),
            "big": 2**70,
            "ratio": 1e22,
            "tiny": 1e-7,
            "instant": datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
            "day": date(2026, 2, 28),
            "id": ACCOUNT,
            "list": [None, True, {"ü": "x\u2028y", "a": -0}],
        }
        with transaction.atomic():
            events.emit_many([make_new_event(ACCOUNT, data=data)])
        row = Event.objects.get()
        assert row.data["decimal"] == "0.000000000010"
        assert row.data["instant"] == "2026-01-01T00:00:00Z"
        assert row.data["big"] == 2**70
        assert events.verify_chain(str(ACCOUNT)).is_intact

    def test_refuses_what_it_could_not_read_back(self) -> None:
        for value in (object(), datetime(2026, 1, 1), b"bytes"):  # noqa: DTZ001 - naive on purpose
            with pytest.raises(TypeError), transaction.atomic():
                events.emit_many([make_new_event(data={"value": value})])


@pytest.mark.django_db
class TestAppendOnly:
    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE billing_events SET reason = 'nicer'",
            "DELETE FROM billing_events",
            "TRUNCATE billing_events",
            "SET LOCAL pgtrigger.ignore = '{pgtrigger_append_only_rows_724eb}'; DELETE FROM billing_events",
        ],
    )
    def test_sql_cannot_change_or_remove_events(self, statement: str) -> None:
        write(ACCOUNT)
        with (
            pytest.raises(
                IntegrityError, match=r"billing_events is append-only: (UPDATE|DELETE|TRUNCATE) refused"
            ) as caught,
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
        cause: Any = caught.value.__cause__
        assert (cause.sqlstate, cause.diag.constraint_name) == ("23001", "billing_events_append_only")
        assert Event.objects.get().reason == ""


@pytest.mark.django_db
class TestVerify:
    @pytest.mark.parametrize(
        "column", ["type", "object_id", "reason", "actor_id", "actor_type", "object_type", "account_id", "created_at"]
    )
    def test_finds_a_changed_column(self, column: str) -> None:
        rows = write(ACCOUNT, ACCOUNT, ACCOUNT)
        values: dict[str, uuid.UUID | datetime] = {
            "account_id": uuid.UUID(int=9),
            "created_at": AT + timedelta(microseconds=1),
        }
        value = values.get(column, "other")
        tamper(f"UPDATE billing_events SET {column} = %s WHERE sequence = 2", value)
        report = events.verify_chain(str(ACCOUNT))
        assert report.checked == 1
        assert report.fault is not None
        assert (report.fault.sequence, report.fault.event_id) == (2, rows[1].public_id)
        assert report.fault.what == "its content was changed"

    def test_finds_changed_data(self) -> None:
        write(ACCOUNT)
        tamper("UPDATE billing_events SET data = '{\"size\": 2}'")
        assert not events.verify_chain(str(ACCOUNT)).is_intact

    def test_finds_a_removed_row(self) -> None:
        write(ACCOUNT, ACCOUNT, ACCOUNT)
        tamper("DELETE FROM billing_events WHERE sequence = 2")
        fault = events.verify_chain(str(ACCOUNT)).fault
        assert fault is not None
        assert fault.sequence == 2
        assert "missing" in fault.what

    def test_finds_a_removed_end(self) -> None:
        write(ACCOUNT, ACCOUNT)
        tamper("DELETE FROM billing_events WHERE sequence = 2")
        fault = events.verify_chain(str(ACCOUNT)).fault
        assert fault is not None
        assert str(fault) == f"chain {ACCOUNT}, event 2 (absent): missing; 2 events were written"

    def test_finds_a_rewritten_row_with_a_fitting_hash(self) -> None:
        write(ACCOUNT, ACCOUNT)
        first = Event.objects.get(sequence=1)
        first.reason = "forged"
        tamper(
            "UPDATE billing_events SET reason = %s, hash = %s WHERE sequence = 1", "forged", events.compute_hash(first)
        )
        fault = events.verify_chain(str(ACCOUNT)).fault
        assert fault is not None
        assert (fault.sequence, fault.what) == (2, "does not follow the event before")

    def test_finds_a_removed_chain_end(self) -> None:
        write(ACCOUNT)
        EventChain.objects.all().delete()
        assert [report.is_intact for report in events.verify_all()] == [False]

    def test_command_names_the_first_wrong_row_of_each_chain(self, capsys: pytest.CaptureFixture[str]) -> None:
        rows = write(ACCOUNT, None, None)
        call_command("verify_events")
        assert capsys.readouterr().out == "3 events in 2 chains: intact.\n"
        tamper("UPDATE billing_events SET reason = 'x' WHERE chain = %s", PLATFORM_CHAIN)
        with pytest.raises(CommandError, match="1 of 2 chains are broken"):
            call_command("verify_events")
        assert capsys.readouterr().err == f"chain platform, event 1 ({rows[1].public_id}): its content was changed\n"
        call_command("verify_events", chain=str(ACCOUNT))


@pytest.mark.django_db(transaction=True)
class TestConcurrency:
    def test_parallel_writers_share_chains_without_gaps_or_deadlock(self) -> None:
        accounts = [uuid.UUID(int=number) for number in (1, 2, 3)]
        start = threading.Barrier(4)
        failures: list[BaseException] = []

        def work(shift: int) -> None:
            try:
                start.wait()
                for number in range(8):
                    order = accounts[shift % 3 :] + accounts[: shift % 3]  # each writer in an order of its own
                    with transaction.atomic():
                        events.emit_many([make_new_event(account, data={"n": number}) for account in [*order, None]])
            except BaseException as error:
                failures.append(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=work, args=(shift,)) for shift in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        reports = list(events.verify_all())
        assert [(report.checked, report.fault) for report in reports] == [(32, None)] * 4  # 4 writers x 8 events

    def test_created_at_is_the_instant_passed_in_and_recorded_at_the_real_one(self) -> None:
        before = datetime.now(UTC)
        write(ACCOUNT)
        row = Event.objects.get()
        assert row.created_at == AT
        assert before <= row.recorded_at <= datetime.now(UTC)
