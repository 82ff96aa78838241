"""Work items: told once while open, closed once, acted upon by one person."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import IntegrityError, connections, transaction

from billing_site.kernel.actors import SYSTEM
from billing_site.kernel.errors import InvalidState, NotFound, ValidationFailed
from billing_site.kernel.ids import new_uuid
from billing_site.platform.models import Event, WorkItem
from billing_site.platform.services.work_items import (
    Subject,
    WorkItemActionUnknown,
    WorkItemKindUnknown,
    WorkItemNotOpen,
    act_on_work_item,
    close_work_item,
    find_open,
    open_work_item,
    settle_work_item,
)
from tests.factories.platform import AT, Widget
from tests.factories.work_items import BOB, KIND, Plumber, call_plumber, report

LATER = AT + timedelta(hours=2)


@pytest.fixture(autouse=True)
def plumber() -> Plumber:
    return call_plumber()


def event_types() -> list[str]:
    return list(Event.objects.filter(object_type="work_item").order_by("sequence").values_list("type", flat=True))


@pytest.mark.django_db
class TestOpenWorkItem:
    def test_says_what_it_is_about(self) -> None:
        widget, account_id = Widget(id=new_uuid()), new_uuid()
        made = open_work_item(
            kind=KIND,
            subject=widget,
            title="It leaks",
            detail="For hours.",
            data={"since": AT},
            account_id=account_id,
            severity="critical",
            at=AT,
            actor=SYSTEM,
        )
        item = WorkItem.objects.get(pk=made.pk)
        assert (item.subject_type, item.subject_id) == ("widget", widget.public_id)
        assert (item.title, item.detail, item.severity, item.account_id) == (
            "It leaks",
            "For hours.",
            "critical",
            account_id,
        )
        assert item.data["since"].startswith("2026-03-01T12:30:15")
        assert (item.occurrences, item.opened_at, item.last_seen_at) == (1, AT, AT)
        assert event_types() == ["work_item.opened"]

    def test_a_repeat_is_counted_and_says_the_newest(self) -> None:
        first = report(detail="A drop.")
        second = report(detail="A flood.", severity="critical", at=LATER)
        assert second.pk == first.pk
        item = WorkItem.objects.get()
        assert (item.occurrences, item.detail, item.severity) == (2, "A flood.", "critical")
        assert (item.opened_at, item.last_seen_at) == (AT, LATER)
        assert event_types() == ["work_item.opened"]

    def test_a_repeat_from_an_account_whose_clock_is_behind_is_counted(self) -> None:
        report()
        report(at=AT - timedelta(days=400))
        item = WorkItem.objects.get()
        assert (item.occurrences, item.last_seen_at) == (2, AT)

    def test_another_subject_is_another_item_and_so_is_one_after_the_end(self) -> None:
        first = report()
        report("pipe-2")
        close_work_item(item_id=first.pk, at=AT, actor=BOB)
        assert report().pk != first.pk
        assert WorkItem.objects.count() == 3

    def test_the_kind_must_be_known(self) -> None:
        with pytest.raises(WorkItemKindUnknown):
            open_work_item(kind="tests.nothing", subject=Subject("pipe", "1"), title="x", at=AT, actor=SYSTEM)

    def test_a_broken_rule_other_than_the_open_one_is_raised(self) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            report(pipe="")


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_many_who_tell_the_same_make_one_item(self) -> None:
        tellers = 6
        gate = threading.Barrier(tellers)

        def tell() -> None:
            try:
                gate.wait(timeout=30)
                report()
            finally:
                connections.close_all()

        threads = [threading.Thread(target=tell) for _ in range(tellers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        item = WorkItem.objects.get()
        assert item.occurrences == tellers
        assert event_types() == ["work_item.opened"]


@pytest.mark.django_db
class TestClosing:
    def test_keeps_who_when_and_why(self) -> None:
        item = close_work_item(item_id=report().pk, at=LATER, actor=BOB, comment=" turned the tap off ")
        item.refresh_from_db()
        assert (item.status, item.closed_by, item.closed_at) == ("done", "staff:bob", LATER)
        assert item.comment == "turned the tap off"
        event = Event.objects.get(type="work_item.done")
        assert (event.reason, event.previous_data) == ("turned the tap off", {"status": "open"})

    def test_a_dismissal_says_why(self) -> None:
        item = report()
        with pytest.raises(ValidationFailed):
            close_work_item(item_id=item.pk, at=AT, actor=BOB, status="dismissed", comment=" ")
        assert find_open(kind=KIND, subject=Subject("pipe", "pipe-1")) == item
        close_work_item(item_id=item.pk, at=AT, actor=BOB, status="dismissed", comment="an old pipe")
        assert event_types() == ["work_item.opened", "work_item.dismissed"]

    def test_is_done_once(self) -> None:
        item = report()
        close_work_item(item_id=item.pk, at=AT, actor=BOB)
        with pytest.raises(WorkItemNotOpen):
            close_work_item(item_id=item.pk, at=AT, actor=BOB)
        with pytest.raises(NotFound):
            close_work_item(item_id=new_uuid(), at=AT, actor=BOB)

    def test_what_settles_by_itself_closes_its_item(self) -> None:
        report()
        closed = settle_work_item(
            kind=KIND, subject=Subject("pipe", "pipe-1"), at=LATER, actor=SYSTEM, comment="dry again"
        )
        assert closed is not None
        assert (closed.status, closed.closed_by, closed.comment) == ("done", str(SYSTEM), "dry again")
        assert settle_work_item(kind=KIND, subject=Subject("pipe", "pipe-1"), at=LATER, actor=SYSTEM) is None

    def test_the_database_keeps_what_is_closed(self) -> None:
        item = close_work_item(item_id=report().pk, at=AT, actor=BOB)
        for change in ({"comment": "nobody was here"}, {"status": "open", "closed_by": "", "closed_at": None}):
            with pytest.raises(IntegrityError, match="closed once"), transaction.atomic():
                WorkItem.objects.filter(pk=item.pk).update(**change)
        with pytest.raises(IntegrityError, match="kept"), transaction.atomic():
            WorkItem.objects.filter(pk=item.pk).delete()


@pytest.mark.django_db
class TestActing:
    def test_does_it_and_closes(self, plumber: Plumber) -> None:
        item, said = act_on_work_item(item_id=report().pk, action="repair", at=LATER, actor=BOB, comment="new gasket")
        assert plumber.done == [("pipe-1", "staff:bob")]
        assert said == "pipe-1 is tight."
        item.refresh_from_db()
        assert (item.status, item.comment) == ("done", "repair: new gasket")

    def test_a_refusal_leaves_it_open(self, plumber: Plumber) -> None:
        plumber.refusal = "No gasket."
        item = report()
        with pytest.raises(InvalidState, match="No gasket"):
            act_on_work_item(item_id=item.pk, action="repair", at=LATER, actor=BOB)
        item.refresh_from_db()
        assert item.is_open

    def test_needs_an_action_of_the_kind_and_an_open_item(self, plumber: Plumber) -> None:
        item = report()
        with pytest.raises(WorkItemActionUnknown):
            act_on_work_item(item_id=item.pk, action="burn", at=LATER, actor=BOB)
        act_on_work_item(item_id=item.pk, action="repair", at=LATER, actor=BOB)
        with pytest.raises(WorkItemNotOpen):
            act_on_work_item(item_id=item.pk, action="repair", at=LATER, actor=BOB)
        with pytest.raises(NotFound):
            act_on_work_item(item_id=new_uuid(), action="repair", at=LATER, actor=BOB)
        assert plumber.done == [("pipe-1", "staff:bob")]
