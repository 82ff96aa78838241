"""Single events of parallel threads share transactions, and each caller gets its own answer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction

from accounts.models import Account, TestClock
from billing_site.kernel.actors import SYSTEM
from billing_site.kernel.errors import ValidationFailed
from metering.models import UsageEvent
from metering.services import group_commit
from metering.services.group_commit import AccountName, GroupCommit
from metering.services.ingest import NewUsageEvent, RecordedUsage, record_usage_events
from tests.factories.metering import AT, make_account, make_meter

PATIENCE = 30


def event(account: Account, key: str, quantity: str = "1") -> NewUsageEvent:
    return NewUsageEvent(account, "requests", Decimal(quantity), timestamp=AT, idempotency_key=key)


class Gate:
    """Stands in for the recording: the first group waits until it is opened, and every group is noted."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.entered, self.opened = threading.Event(), threading.Event()

    def record(self, *, events: Sequence[NewUsageEvent], at: datetime, actor: Any) -> list[RecordedUsage]:
        self.groups.append(len(events))
        if len(self.groups) == 1:
            self.entered.set()
            assert self.opened.wait(PATIENCE)
        return record_usage_events(events=events, at=at, actor=actor)


class Crowd:
    """Threads that record one event each, the first alone, the others while it is at it."""

    def __init__(self, gate: Gate, commits: GroupCommit) -> None:
        self.gate, self.commits = gate, commits
        self.answers: dict[str, RecordedUsage | Exception | None] = {}
        self.threads: list[threading.Thread] = []

    def send(self, sent: NewUsageEvent, name: AccountName | None = None) -> None:
        def record() -> RecordedUsage | None:
            if name is None:
                return self.commits.record(event=sent, at=AT, actor=SYSTEM)
            return self.commits.record_named(name=name, event=sent, at=AT, actor=SYSTEM)

        def work() -> None:
            try:
                self.answers[sent.idempotency_key] = record()
            except Exception as error:
                self.answers[sent.idempotency_key] = error
            finally:
                connections.close_all()

        self.threads.append(threading.Thread(target=work))
        self.threads[-1].start()

    def gather(self, count: int) -> None:
        """Wait until so many stand in the queue."""
        gathered = threading.Event()
        for _ in range(PATIENCE * 100):
            if len(self.commits._queue) == count:
                return
            gathered.wait(0.01)
        raise AssertionError("they do not gather")

    def finish(self) -> None:
        self.gate.opened.set()
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


@pytest.fixture
def crowd(monkeypatch: pytest.MonkeyPatch) -> Crowd:
    gate = Gate()
    monkeypatch.setattr(group_commit, "record_usage_events", gate.record)
    return Crowd(gate, GroupCommit(most=4))


def let_in(crowd: Crowd, first: NewUsageEvent, *others: NewUsageEvent) -> None:
    crowd.send(first)
    assert crowd.gate.entered.wait(PATIENCE)
    for sent in others:
        crowd.send(sent)
    crowd.gather(len(others))
    crowd.finish()


@pytest.mark.django_db(transaction=True)
class TestRecord:
    def test_writes_what_gathers_while_another_writes_in_groups(self, crowd: Crowd) -> None:
        account, _ = make_account(), make_meter()
        let_in(crowd, *(event(account, f"k{number}", str(number)) for number in range(8)))
        assert crowd.gate.groups == [1, 4, 3]
        for number in range(8):
            answer = crowd.answers[f"k{number}"]
            assert isinstance(answer, RecordedUsage)
            assert (answer.created, int(answer.row.value)) == (True, number)
        assert UsageEvent.objects.count() == 8

    def test_one_key_counts_once_in_a_group(self, crowd: Crowd) -> None:
        account, _ = make_account(), make_meter()
        let_in(crowd, event(account, "a"), event(account, "b", "2"), event(account, "c", "3"))
        commits = GroupCommit()
        assert commits.record(event=event(account, "b", "9"), at=AT, actor=SYSTEM).created is False
        assert UsageEvent.objects.count() == 3

    def test_nobody_gets_the_error_of_another(self, crowd: Crowd) -> None:
        account, _ = make_account(), make_meter()
        let_in(crowd, event(account, "a"), event(account, "b"), event(account, "c", "-1"), event(account, "d"))
        refused = crowd.answers.pop("c")
        assert isinstance(refused, ValidationFailed)
        assert [error.pointer for error in refused.errors] == ["/events/0/quantity"]
        assert all(isinstance(answer, RecordedUsage) and answer.created for answer in crowd.answers.values())
        assert UsageEvent.objects.count() == 3

    def test_counts_once_when_a_commit_only_seems_to_fail(self, crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
        def lose_the_answer(*, events: Sequence[NewUsageEvent], at: datetime, actor: Any) -> list[RecordedUsage]:
            recorded = crowd.gate.record(events=events, at=at, actor=actor)
            if len(events) > 1:
                raise OperationalError("the connection was lost")
            return recorded

        monkeypatch.setattr(group_commit, "record_usage_events", lose_the_answer)
        account, _ = make_account(), make_meter()
        let_in(crowd, event(account, "a"), *(event(account, "") for _ in range(3)))
        assert UsageEvent.objects.count() == 4

    def test_the_next_leads_after_a_failure(self, crowd: Crowd) -> None:
        account, _ = make_account(), make_meter()
        let_in(crowd, event(account, "a", "-1"), event(account, "b"))
        assert isinstance(crowd.answers["a"], ValidationFailed)
        assert isinstance(crowd.answers["b"], RecordedUsage)

    def test_is_part_of_the_callers_transaction(self) -> None:
        account, _ = make_account(), make_meter()
        with transaction.atomic():
            GroupCommit().record(event=event(account, "a"), at=datetime.now(UTC), actor=SYSTEM)
            transaction.set_rollback(True)
        assert not UsageEvent.objects.exists()
        assert not connection.in_atomic_block


@pytest.mark.django_db(transaction=True)
class TestRecordNamed:
    def test_finds_the_accounts_of_a_group_by_what_their_callers_call_them(self, crowd: Crowd) -> None:
        ours, theirs = make_account(external_id="Acme/1"), make_account(org_id="other")
        make_meter()
        names = {
            "first": AccountName(" aCME/1 ", None),
            "by_id": AccountName(ours.public_id, ours.org_id),
            "foreign": AccountName(theirs.public_id, ours.org_id),
            "unknown": AccountName("nobody", None),
        }
        nobody = Account()
        crowd.send(event(nobody, "first"), names.pop("first"))
        assert crowd.gate.entered.wait(PATIENCE)
        for key, name in names.items():
            crowd.send(event(nobody, key), name)
        crowd.gather(len(names))
        crowd.finish()
        assert crowd.gate.groups == [1, 1]
        assert crowd.answers["foreign"] is crowd.answers["unknown"] is None
        for key in ("first", "by_id"):
            answer = crowd.answers[key]
            assert isinstance(answer, RecordedUsage)
            assert (answer.account, answer.created) == (ours, True)
        assert set(UsageEvent.objects.values_list("account_id", "idempotency_key")) == {
            (ours.pk, "first"),
            (ours.pk, "by_id"),
        }

    def test_leaves_wrong_events_to_their_callers(self) -> None:
        account = make_account()
        make_meter()
        name = AccountName(account.public_id, None)
        wrong = event(account, "a", "-1")
        assert GroupCommit().record_named(name=name, event=wrong, at=AT, actor=SYSTEM) is None
        assert not UsageEvent.objects.exists()

    def test_counts_by_the_clock_of_the_account(self) -> None:
        account = make_account()
        clock = TestClock.objects.create(name="Later", now_at=AT + timedelta(days=400))
        Account.objects.filter(pk=account.pk).update(test_clock=clock)
        make_meter()
        later = NewUsageEvent(account, "requests", Decimal(1), idempotency_key="a")
        recorded = GroupCommit().record_named(
            name=AccountName(account.public_id, None), event=later, at=AT, actor=SYSTEM
        )
        assert recorded is not None
        assert recorded.row.timestamp == clock.now_at
        assert recorded.account.test_clock == clock
