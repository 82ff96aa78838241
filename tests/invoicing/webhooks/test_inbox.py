"""The inbox at work: one after the other per object, tried again, parked, taken up again; nothing lost or doubled."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from billing_site.kernel.errors import InvalidState
from billing_site.platform.models import WorkItem
from billing_site.platform.services.work_items import act_on_work_item
from billing_site.schedules import BEAT_SCHEDULE
from invoicing.models import InboundEvent, LocalProviderObject
from invoicing.services.inbound_events import (
    HANDLE_JOB,
    LEASE,
    MAX_ATTEMPTS,
    WAITS,
    InboundEventNotSettled,
    claim_event,
    handle_again,
    hold_claim,
    purge_bodies,
    record_failure,
    store_event,
)
from invoicing.tasks import purge_inbound_bodies, sweep_inbound_events
from invoicing.webhooks.handling import Call, Handler, Outcome
from invoicing.webhooks.inbox import handle_event, sweep_events
from tests.factories.platform import AT
from tests.support import world
from tests.support.inbound_event_states import new_event
from tests.support.jobs import SentJobs

ClockAt = Callable[[datetime], AbstractContextManager[None]]
TYPE = "customer.subscription.updated"


class Work:
    """A handler that writes down what it did, in the database, so that what is rolled back is not there."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.broken: set[str] = set()
        self.on_fetch: Callable[[str], None] = lambda _ref: None
        self.handlers = {TYPE: Handler(self.fetch, self.apply)}

    def fetch(self, _provider: Any, ref: str) -> str:
        self.fetched.append(ref)
        self.on_fetch(ref)
        if ref in self.broken:
            raise RuntimeError("sk_" + "test_" + "0" * 24 + " does not work")
        return ref

    def apply(self, call: Call, found: str) -> Outcome:
        LocalProviderObject.objects.create(kind="done", ref=f"{call.event.event_id}-{call.mark}", data={})
        return Outcome(f"{found} is done.")

    @property
    def done(self) -> list[str]:
        rows = LocalProviderObject.objects.filter(kind="done").order_by("id")
        return [ref.partition("-")[0] for ref in rows.values_list("ref", flat=True)]


@pytest.fixture
def work() -> Work:
    return Work()


def store(event_id: str, object_id: str = "sub_1", *, seconds: int = 0, **values: Any) -> InboundEvent:
    store_event(new_event(event_id, object_id, occurred_at=AT + timedelta(seconds=seconds), **values), at=AT)
    return InboundEvent.objects.get(event_id=event_id)


def state_of(event: InboundEvent) -> tuple[str, int]:
    event.refresh_from_db()
    return event.status, event.attempts


@pytest.mark.django_db
class TestOrder:
    def test_of_one_object_is_that_of_what_happened(self, work: Work, clock_at: ClockAt) -> None:
        store("evt_late", seconds=9)
        store("evt_first", seconds=1)
        store("evt_middle", seconds=5)
        store("evt_other", "sub_2", seconds=7)
        with clock_at(AT):
            assert sweep_events(handlers=work.handlers) == 4
        assert [done for done in work.done if done != "evt_other"] == ["evt_first", "evt_middle", "evt_late"]

    def test_events_of_one_second_come_as_they_came(self, work: Work, clock_at: ClockAt) -> None:
        for number in (3, 1, 2):
            store(f"evt_{number}")
        with clock_at(AT):
            sweep_events(handlers=work.handlers)
        assert work.done == ["evt_3", "evt_1", "evt_2"]

    def test_a_later_one_waits_for_one_that_failed(self, work: Work, clock_at: ClockAt) -> None:
        first, second = store("evt_1", seconds=1), store("evt_2", seconds=2)
        work.broken.add("sub_1")
        with clock_at(AT):
            assert not handle_event(event_id=first.pk, handlers=work.handlers)
            work.broken.clear()
            assert not handle_event(event_id=second.pk, handlers=work.handlers)
        assert (state_of(first), state_of(second)) == (("pending", 1), ("pending", 0))
        with clock_at(AT + WAITS[0]):
            assert sweep_events(handlers=work.handlers) == 2
        assert work.done == ["evt_1", "evt_2"]

    def test_a_later_one_waits_for_one_that_is_being_handled(self, work: Work, clock_at: ClockAt) -> None:
        first, second = store("evt_1", seconds=1), store("evt_2", seconds=2)
        assert claim_event(event_id=first.pk, at=AT) is not None
        with clock_at(AT + timedelta(minutes=1)):
            assert not handle_event(event_id=second.pk, handlers=work.handlers)
            assert not handle_event(event_id=first.pk, handlers=work.handlers)
        assert work.done == []

    def test_an_earlier_one_that_comes_late_waits_for_the_one_under_way(self, work: Work, clock_at: ClockAt) -> None:
        later = store("evt_2", seconds=2)
        assert claim_event(event_id=later.pk, at=AT) is not None
        early = store("evt_1", seconds=1)
        with clock_at(AT + timedelta(minutes=1)):
            assert not handle_event(event_id=early.pk, handlers=work.handlers)

    def test_one_that_is_parked_keeps_nobody(self, work: Work, clock_at: ClockAt) -> None:
        first, second = store("evt_1", seconds=1), store("evt_2", seconds=2)
        InboundEvent.objects.filter(pk=first.pk).update(status="parked", last_error="it rains")
        with clock_at(AT):
            assert handle_event(event_id=second.pk, handlers=work.handlers)

    def test_the_end_of_one_rings_for_the_next(
        self, work: Work, clock_at: ClockAt, sent_jobs: SentJobs, django_capture_on_commit_callbacks: Any
    ) -> None:
        first, second = store("evt_1", seconds=1), store("evt_2", seconds=2)
        with clock_at(AT), django_capture_on_commit_callbacks(execute=True):
            handle_event(event_id=first.pk, handlers=work.handlers)
        assert sent_jobs.of(HANDLE_JOB) == [{"event_id": str(second.pk)}]


@pytest.mark.django_db
class TestFailing:
    def test_is_tried_again_later_and_later_and_then_parked(self, work: Work, clock_at: ClockAt) -> None:
        event, other = store("evt_1"), store("evt_2", "sub_2")
        work.broken.add("sub_1")
        at = AT
        for attempt in range(1, MAX_ATTEMPTS + 1):
            with clock_at(at):
                sweep_events(handlers=work.handlers)
            assert state_of(event) == ("pending" if attempt < MAX_ATTEMPTS else "parked", attempt)
            if attempt < MAX_ATTEMPTS:
                assert event.next_attempt_at == at + WAITS[attempt - 1]
                with clock_at(at + WAITS[attempt - 1] - timedelta(seconds=1)):
                    assert sweep_events(handlers=work.handlers) == 0
                at += WAITS[attempt - 1]
        assert work.done == ["evt_2"]
        assert state_of(other) == ("handled", 1)
        assert "sk_[redacted]" in event.last_error
        item = WorkItem.objects.get(kind="webhook_parked")
        assert (item.subject_id, item.severity, item.status) == (event.public_id, "critical", "open")
        with clock_at(at + timedelta(days=9)):
            assert sweep_events(handlers=work.handlers) == 0

    def test_an_operator_takes_it_up_again(self, work: Work, clock_at: ClockAt) -> None:
        event = store("evt_1")
        InboundEvent.objects.filter(pk=event.pk).update(attempts=MAX_ATTEMPTS)
        assert claim_event(event_id=event.pk, at=AT) is None  # it kills whoever handles it
        assert state_of(event) == ("parked", MAX_ATTEMPTS)
        item = WorkItem.objects.get(kind="webhook_parked")
        act_on_work_item(item_id=item.pk, action="retry", at=AT, actor=world.TESTER)
        assert state_of(event) == ("pending", 0)
        with clock_at(AT):
            assert handle_event(event_id=event.pk, handlers=work.handlers)
        item.refresh_from_db()
        assert (item.status, state_of(event)[0]) == ("done", "handled")

    def test_what_a_handler_did_goes_back_with_it(self, work: Work, clock_at: ClockAt) -> None:
        def apply(call: Call, found: str) -> Outcome:
            work.apply(call, found)
            raise InvalidState("Not now.", current_status="tired")

        event = store("evt_1")
        with clock_at(AT):
            assert not handle_event(event_id=event.pk, handlers={TYPE: Handler(work.fetch, apply)})
        assert work.done == []
        event.refresh_from_db()
        assert (event.status, event.last_error) == ("pending", "invalid_state: Not now.")

    def test_a_claim_whose_process_died_ends_by_itself(self, work: Work, clock_at: ClockAt) -> None:
        event = store("evt_1")
        assert claim_event(at=AT) is not None
        with clock_at(AT + LEASE - timedelta(seconds=1)):
            assert sweep_events(handlers=work.handlers) == 0
        with clock_at(AT + LEASE):
            assert sweep_events(handlers=work.handlers) == 1
        assert state_of(event) == ("handled", 2)

    def test_one_who_comes_back_late_changes_nothing(self, work: Work, clock_at: ClockAt) -> None:
        event = store("evt_1")
        late = claim_event(at=AT)
        assert late is not None
        with clock_at(AT + LEASE):
            assert sweep_events(handlers=work.handlers) == 1
        for at in (AT, AT + LEASE):
            assert hold_claim(late, at=at) is None
            assert record_failure(late, error="too late", at=at) is None
        # Nor after somebody had it handled again, when the number of the attempt is the same.
        handle_again(event_id=event.pk, at=AT, actor=world.TESTER)
        assert claim_event(at=AT + timedelta(seconds=1)) is not None
        assert hold_claim(late, at=AT) is None
        assert work.done == ["evt_1"]

    def test_a_lease_that_ended_while_the_provider_was_slow_is_void(self, work: Work, clock_at: ClockAt) -> None:
        event = store("evt_1")
        claim = claim_event(at=AT)
        assert claim is not None
        assert hold_claim(claim, at=AT + LEASE) is None
        assert state_of(event) == ("pending", 1)


@pytest.mark.django_db
class TestHandlingAgain:
    def test_is_harmless(self, work: Work, clock_at: ClockAt) -> None:
        event = store("evt_1")
        with clock_at(AT):
            sweep_events(handlers=work.handlers)
            handle_again(event_id=event.pk, at=AT, actor=world.TESTER)
            sweep_events(handlers=work.handlers)
        event.refresh_from_db()
        assert (event.status, event.replays, event.outcome) == ("handled", 1, "sub_1 is done.")

    def test_of_what_waits_is_refused(self) -> None:
        event = store("evt_1")
        with pytest.raises(InboundEventNotSettled):
            handle_again(event_id=event.pk, at=AT, actor=world.TESTER)


@pytest.mark.django_db
class TestKeeping:
    def test_types_nobody_follows_are_kept(self, clock_at: ClockAt) -> None:
        event = store("evt_1", type="radar.early_fraud_warning.created")
        with clock_at(AT):
            sweep_events()
        event.refresh_from_db()
        assert (event.status, event.outcome) == ("stored", "Kept: nothing here follows events of this type.")

    def test_objects_the_provider_has_no_more_are_kept(self, clock_at: ClockAt) -> None:
        event = store("evt_1")
        with clock_at(AT):
            sweep_events()
        event.refresh_from_db()
        assert (event.status, event.outcome) == (
            "stored",
            "Not applied: local has no such subscription, or not any more.",
        )

    def test_bodies_are_forgotten_after_a_while(self, work: Work, clock_at: ClockAt, settings: Any) -> None:
        old, waiting = store("evt_1"), store("evt_2", "sub_2")
        work.broken.add("sub_2")
        with clock_at(AT):
            sweep_events(handlers=work.handlers)
        later = AT + timedelta(days=settings.BILLING_WEBHOOK_BODY_DAYS)
        with clock_at(later):
            assert purge_inbound_bodies() == 0
        with clock_at(later + timedelta(seconds=1)):
            assert purge_inbound_bodies() == 1
        old.refresh_from_db()
        waiting.refresh_from_db()
        assert (bytes(old.body), old.purged_at is None) == (b"", False)
        assert bytes(waiting.body) == b"{}"
        assert purge_bodies(before=later, at=later) == 0

    def test_the_sweep_runs_by_itself(self, sent_jobs: SentJobs) -> None:
        tasks = {entry["task"] for entry in BEAT_SCHEDULE.values()}
        assert {"invoicing.sweep_inbound_events", "invoicing.purge_inbound_bodies"} <= tasks
        store("evt_1", type="balance.available")
        assert sweep_inbound_events() == 1


@pytest.mark.django_db
class TestCommand:
    def test_handles_and_counts(self, work: Work) -> None:
        store("evt_1", type="balance.available")
        parked = store("evt_2", "sub_2", type="balance.available")
        InboundEvent.objects.filter(pk=parked.pk).update(status="parked", last_error="it rains")
        out = StringIO()
        call_command("handle_webhooks", stdout=out)
        assert out.getvalue() == "1 settled, 0 pending, 1 parked\n"
        out = StringIO()
        call_command("handle_webhooks", "--parked", "--event", "evt_1", stdout=out)
        assert out.getvalue() == "2 settled, 0 pending, 0 parked\n"
