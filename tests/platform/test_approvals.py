"""Approvals: two people, one decision, done in the transaction of the decision; the database holds it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, connections, transaction

from billing_site.kernel import clock
from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.errors import DomainError, InvalidState, NotFound, ValidationFailed
from billing_site.kernel.ids import new_uuid
from billing_site.kernel.money import Money
from billing_site.platform.models import Approval, ApprovalStatus, Event
from billing_site.platform.services import approvals
from billing_site.platform.services.approvals import (
    ApprovalAlreadyPending,
    ApprovalChanged,
    ApprovalExpired,
    ApprovalKindUnknown,
    ApprovalNeedsPerson,
    ApprovalNotPending,
    ApprovalSelfDecision,
    approve,
    cancel,
    expire_due,
    reject,
    request_approval,
)
from billing_site.platform.tasks import expire_approvals
from billing_site.schedules import BEAT_SCHEDULE
from tests.factories.approvals import ADA, BOB, KIND, LIFETIME, Workshop, ask, open_workshop
from tests.factories.platform import AT, Widget

LATER = AT + timedelta(hours=2)
DONE = "decided_at = now(), executed_at = now()"


@pytest.fixture
def workshop() -> Workshop:
    return open_workshop()


def event_types() -> list[str]:
    return list(Event.objects.filter(object_type="approval").order_by("sequence").values_list("type", flat=True))


def write(sql: str, *parameters: Any) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, parameters)


@pytest.mark.django_db
class TestRequestApproval:
    def test_keeps_what_exactly_is_asked_for(self, workshop: Workshop) -> None:
        widget = Widget(id=new_uuid())
        approval = Approval.objects.get(pk=ask(subject=widget, effect=Money(2500, "usd")).pk)
        assert (approval.subject_type, approval.subject_id) == ("widget", widget.public_id)
        assert (approval.payload, approval.amount, approval.currency) == ({"colour": "red"}, 2500, "usd")
        assert (approval.requested_by, approval.reason) == ("staff:ada", "ordered by sales")
        assert approval.expires_at == AT + LIFETIME
        assert approval.payload_hash == approvals.hash_payload({"colour": "red"})
        assert event_types() == ["approval.requested"]
        assert workshop.done == []

    def test_is_made_once_per_kind_and_subject(self, workshop: Workshop) -> None:
        widget = Widget(id=new_uuid())
        first = ask(subject=widget)
        with pytest.raises(ApprovalAlreadyPending) as refusal:
            ask(subject=widget, colour="blue", actor=BOB)
        assert refusal.value.members == {"approval_id": first.public_id}
        cancel(approval_id=first.pk, at=AT, actor=ADA)
        assert ask(subject=widget, colour="blue").is_pending

    def test_wants_a_reason(self, workshop: Workshop) -> None:
        with pytest.raises(ValidationFailed):
            ask(reason="  ")

    def test_knows_only_registered_kinds(self) -> None:
        request = approvals.Request("tests.unheard_of", Widget(id=new_uuid()), "Unheard of", {})
        with pytest.raises(ApprovalKindUnknown):
            request_approval(request, at=AT, actor=ADA, reason="why not")


@pytest.mark.django_db
class TestApprove:
    def test_does_it_as_the_second_person(self, workshop: Workshop) -> None:
        approval = approve(approval_id=ask().pk, at=LATER, actor=BOB, comment=" looks right ")
        approval = Approval.objects.get(pk=approval.pk)
        assert workshop.done == [("executed", {"colour": "red"}, "staff:bob")]
        assert (approval.status, approval.decided_by, approval.comment) == ("approved", "staff:bob", "looks right")
        assert (approval.decided_at, approval.executed_at, approval.result) == (LATER, LATER, {"colour": "red"})
        event = Event.objects.latest("sequence")
        assert (event.type, event.actor_id, event.data["requested_by"]) == ("approval.approved", "bob", "staff:ada")

    @pytest.mark.parametrize("actor", [ADA, Actor("token", "ada"), Actor("staff", "Ada")])
    @pytest.mark.parametrize("decide", [approve, reject])
    def test_is_not_for_the_person_who_asked_by_whatever_door(
        self, workshop: Workshop, decide: Callable[..., Approval], actor: Actor
    ) -> None:
        approval = ask()
        with pytest.raises(ApprovalSelfDecision):
            decide(approval_id=approval.pk, at=LATER, actor=actor, comment="looks right")
        approval.refresh_from_db()
        assert (approval.is_pending, workshop.done) == (True, [])

    @pytest.mark.parametrize("decide", [approve, reject])
    def test_is_not_for_the_product_itself(self, workshop: Workshop, decide: Callable[..., Approval]) -> None:
        with pytest.raises(ApprovalNeedsPerson):
            decide(approval_id=ask().pk, at=LATER, actor=SYSTEM, comment="looks right")

    def test_stays_open_when_it_cannot_be_done(self, workshop: Workshop) -> None:
        workshop.refusal = "The paint is dry."
        approval = ask()
        with pytest.raises(InvalidState, match="The paint is dry"):
            approve(approval_id=approval.pk, at=LATER, actor=BOB)
        approval.refresh_from_db()
        assert approval.is_pending
        assert event_types() == ["approval.requested"]

    def test_does_nothing_after_its_time(self, workshop: Workshop) -> None:
        with pytest.raises(ApprovalExpired):
            approve(approval_id=ask().pk, at=AT + LIFETIME, actor=BOB)
        assert workshop.done == []

    def test_refuses_a_payload_somebody_rewrote(self, workshop: Workshop) -> None:
        approval = ask()
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute("""UPDATE approvals SET payload = '{"colour": "gold"}'""")
            cursor.execute("SET LOCAL session_replication_role = origin")
        with pytest.raises(ApprovalChanged):
            approve(approval_id=approval.pk, at=LATER, actor=BOB)
        assert workshop.done == []

    def test_knows_no_other_request(self, workshop: Workshop) -> None:
        with pytest.raises(NotFound):
            approve(approval_id=new_uuid(), at=LATER, actor=BOB)


@pytest.mark.django_db
class TestRejectAndCancel:
    def test_rejecting_lets_go_and_says_why(self, workshop: Workshop) -> None:
        approval = reject(approval_id=ask().pk, at=LATER, actor=BOB, comment="too bright")
        assert workshop.done == [("released", {"colour": "red"}, "staff:bob")]
        assert (approval.status, approval.comment, approval.executed_at) == ("rejected", "too bright", None)
        assert Event.objects.latest("sequence").reason == "too bright"

    def test_rejecting_wants_a_comment(self, workshop: Workshop) -> None:
        with pytest.raises(ValidationFailed):
            reject(approval_id=ask().pk, at=LATER, actor=BOB, comment=" ")
        assert workshop.done == []

    def test_the_person_who_asked_may_take_it_back(self, workshop: Workshop) -> None:
        approval = cancel(approval_id=ask().pk, at=LATER, actor=ADA, comment="a mistake")
        assert (approval.status, approval.decided_by) == ("canceled", "staff:ada")
        assert workshop.done == [("released", {"colour": "red"}, "staff:ada")]


def _approve(approval: Approval) -> object:
    return approve(approval_id=approval.pk, at=LATER, actor=BOB)


def _reject(approval: Approval) -> object:
    return reject(approval_id=approval.pk, at=LATER, actor=BOB, comment="too bright")


def _cancel(approval: Approval) -> object:
    return cancel(approval_id=approval.pk, at=LATER, actor=ADA)


def _expire(approval: Approval) -> object:
    return expire_due(at=AT + LIFETIME)


@pytest.mark.django_db
class TestDecided:
    @pytest.mark.parametrize("first", [_approve, _reject, _cancel, _expire])
    @pytest.mark.parametrize("then", [_approve, _reject, _cancel])
    def test_is_decided_once(
        self, workshop: Workshop, first: Callable[[Approval], object], then: Callable[[Approval], object]
    ) -> None:
        approval = ask()
        first(approval)
        done = list(workshop.done)
        with pytest.raises(ApprovalNotPending) as refusal:
            then(approval)
        approval.refresh_from_db()
        assert refusal.value.members == {"current_status": approval.status}
        assert workshop.done == done


@pytest.mark.django_db
class TestExpireDue:
    def test_closes_what_is_due_and_nothing_else(self, workshop: Workshop) -> None:
        due, fresh = ask(), ask(at=AT + timedelta(seconds=1))
        assert expire_due(at=AT + LIFETIME) == 1
        due.refresh_from_db()
        fresh.refresh_from_db()
        assert (due.status, due.decided_by, fresh.status) == ("expired", "system:scheduler", "pending")
        assert workshop.done == [("released", {"colour": "red"}, "system:scheduler")]
        assert expire_due(at=AT + LIFETIME) == 0

    def test_also_closes_requests_of_an_app_that_is_gone(self, workshop: Workshop) -> None:
        approval = ask()
        approvals._kinds.pop(KIND)
        with pytest.raises(ApprovalKindUnknown):
            approve(approval_id=approval.pk, at=LATER, actor=BOB)
        assert expire_due(at=AT + LIFETIME) == 1

    def test_one_that_cannot_be_closed_does_not_keep_the_others(
        self, workshop: Workshop, caplog: pytest.LogCaptureFixture
    ) -> None:
        stuck, other = ask(), ask(colour="blue")

        def release(approval: Approval, *_: object) -> None:
            if approval.pk == stuck.pk:
                raise InvalidState("Its subject is busy.", current_status="busy")

        open_workshop(release=release)
        assert expire_due(at=AT + LIFETIME) == 1
        stuck.refresh_from_db()
        other.refresh_from_db()
        assert (stuck.status, other.status) == ("pending", "expired")
        assert "could not be closed" in caplog.text

    def test_is_rung_every_five_minutes(self, workshop: Workshop) -> None:
        ask()
        with clock.travel(AT + LIFETIME):
            assert expire_approvals() == 1
        assert BEAT_SCHEDULE["expire-approvals"] == {
            "task": "platform.expire_approvals",
            "schedule": timedelta(minutes=5),
        }


@pytest.mark.django_db
class TestDatabase:
    @pytest.mark.parametrize(
        ("assignments", "constraint"),
        [
            (
                "status = 'approved', decided_by = requested_by, decided_at = now(), executed_at = now()",
                "second_person",
            ),
            ("status = 'rejected', decided_by = requested_by, decided_at = now()", "second_person"),
            ("status = 'approved', decided_by = 'system:x', decided_at = now(), executed_at = now()", "by_a_person"),
            ("status = 'approved', decided_by = 'staff:bob', decided_at = now()", "executed_when_approved"),
            (
                "status = 'rejected', decided_by = 'staff:bob', decided_at = now(), executed_at = now()",
                "executed_when_approved",
            ),
            ("status = 'rejected'", "decided_by_status"),
            ("decided_by = 'staff:bob', decided_at = now()", "decided_by_status"),
            ("payload = '{}'", "immutable"),
            ("amount = 1, currency = 'usd'", "immutable"),
            ("requested_by = 'staff:eve'", "immutable"),
            ("expires_at = expires_at + interval '1 day'", "immutable"),
        ],
    )
    def test_refuses_what_the_services_would(self, workshop: Workshop, assignments: str, constraint: str) -> None:
        ask()
        with pytest.raises(IntegrityError) as refusal:
            write(f"UPDATE approvals SET {assignments}")
        assert f"approvals_{constraint}" in _constraint_of(refusal.value)

    @pytest.mark.parametrize("first", [_approve, _reject, _cancel, _expire])
    @pytest.mark.parametrize("assignments", ["comment = 'other'", "decided_by = 'staff:eve'", "status = 'pending'"])
    def test_keeps_a_decision(self, workshop: Workshop, first: Callable[[Approval], object], assignments: str) -> None:
        first(ask())
        with pytest.raises(IntegrityError, match="decided once"):
            write(f"UPDATE approvals SET {assignments}")

    def test_keeps_the_rows(self, workshop: Workshop) -> None:
        ask()
        for statement in ("DELETE FROM approvals", "TRUNCATE approvals CASCADE"):
            with pytest.raises(IntegrityError, match="kept"):
                write(statement)

    def test_takes_no_row_that_is_decided_from_the_start(self, workshop: Workshop) -> None:
        approval = ask()
        copied = {field.attname: getattr(approval, field.attname) for field in Approval._meta.concrete_fields}
        decided = {"status": "approved", "decided_by": "staff:bob", "decided_at": AT, "executed_at": AT}
        with pytest.raises(IntegrityError, match="begins open"), transaction.atomic():
            Approval.objects.create(**{**copied, **decided, "id": new_uuid()})

    def test_takes_one_open_request_per_kind_and_subject(self, workshop: Workshop) -> None:
        approval = ask()
        copied = {field.attname: getattr(approval, field.attname) for field in Approval._meta.concrete_fields}
        with pytest.raises(IntegrityError, match="approvals_one_pending"), transaction.atomic():
            Approval.objects.create(**{**copied, "id": new_uuid()})


@pytest.mark.django_db(transaction=True)
class TestConcurrency:
    def test_two_people_who_approve_at_once_do_it_once(self, workshop: Workshop) -> None:
        approval = ask()
        start = threading.Barrier(3)
        outcomes: list[str] = []

        def decide(name: str) -> None:
            start.wait()
            try:
                approve(approval_id=approval.pk, at=LATER, actor=Actor("staff", name))
                outcomes.append("done")
            except DomainError as error:
                outcomes.append(type(error).__name__)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=decide, args=(name,)) for name in ("bob", "carol", "dan")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["ApprovalNotPending", "ApprovalNotPending", "done"]
        assert len(workshop.done) == 1
        assert Approval.objects.get().status == ApprovalStatus.APPROVED


def _constraint_of(error: IntegrityError) -> str:
    diagnostics = getattr(error.__cause__, "diag", None)
    return str(getattr(diagnostics, "constraint_name", ""))
