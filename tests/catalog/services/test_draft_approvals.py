"""A draft on its way through a second person: locked, published once, or handed back with a comment."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, connections, transaction

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, InvalidState, NotFound, ValidationFailed
from billing_site.kernel.ids import new_uuid
from billing_site.platform.models import Approval, Event
from billing_site.platform.services.approvals import (
    DEFAULT_LIFETIME,
    ApprovalChanged,
    ApprovalSelfDecision,
    approve,
    expire_due,
    reject,
)
from catalog.models import CatalogDraft, CatalogRevision, DraftStatus
from catalog.services.documents import CatalogInvalid
from catalog.services.draft_approvals import DraftChangesNothing, find_submitted_draft, submit_draft, withdraw_draft
from catalog.services.drafts import create_draft, discard_draft, rebase_draft, update_draft
from catalog.services.publishing import RevisionConflict
from tests.factories.catalog import AT, find_entry, get_version, make_document, publish_catalog

ADA, BOB = Actor("staff", "ada"), Actor("staff", "bob")
LATER = AT + timedelta(hours=3)


def start(*, amount: int = 3900, published: bool = True) -> CatalogDraft:
    """Start a draft in which the plan Pro costs `amount`."""
    if published:
        publish_catalog()
    draft = create_draft(title="Spring prices", at=AT, actor=ADA, document=make_document()).draft
    document = make_document()
    find_entry(document, "plans", "pro")["prices"][0]["unit_amount"] = amount
    return update_draft(draft_id=draft.pk, document=document, at=AT, actor=ADA).draft


def submit(draft: CatalogDraft, **values: Any) -> Approval:
    return _request_of(submit_draft(**{"draft_id": draft.pk, "at": AT, "actor": ADA, "reason": "new season", **values}))


def _request_of(draft: CatalogDraft) -> Approval:
    assert draft.approval is not None
    return draft.approval


@pytest.mark.django_db
class TestSubmitDraft:
    def test_locks_the_draft_and_asks_for_exactly_its_document(self) -> None:
        draft = start()
        approval = submit(draft)
        draft.refresh_from_db()
        assert (draft.status, draft.approval, len(draft.submitted_hash)) == ("submitted", approval, 64)
        assert approval.title == "Publish “Spring prices” as the catalog of default"
        assert approval.payload == {
            "draft": draft.public_id,
            "title": "Spring prices",
            "org_id": "default",
            "replaces_revision": 1,
            "document_hash": draft.submitted_hash,
            "changes": {"plans": {"changed": ["pro"]}},
        }
        assert find_submitted_draft(approval) == draft
        event = Event.objects.get(type="catalog_draft.submitted")
        assert (event.reason, event.previous_data) == ("new season", {"status": "draft"})

    def test_takes_the_first_catalog_as_well(self) -> None:
        approval = submit(start(published=False))
        assert approval.payload["replaces_revision"] == 0
        approve(approval_id=approval.pk, at=LATER, actor=BOB)
        assert CatalogRevision.objects.get().revision == 1

    def test_refuses_findings(self) -> None:
        draft = start(amount=-1)
        with pytest.raises(CatalogInvalid):
            submit(draft)
        draft.refresh_from_db()
        assert draft.status == DraftStatus.DRAFT
        assert not Approval.objects.exists()

    def test_refuses_what_changes_nothing(self) -> None:
        with pytest.raises(DraftChangesNothing):
            submit(start(amount=2900))

    def test_refuses_when_somebody_published_since(self) -> None:
        draft = start()
        document = make_document()
        document["plans"].pop()
        publish_catalog(document)
        with pytest.raises(RevisionConflict):
            submit(draft)

    def test_wants_a_reason(self) -> None:
        with pytest.raises(ValidationFailed):
            submit(start(), reason=" ")

    def test_happens_once(self) -> None:
        draft = start()
        submit(draft)
        with pytest.raises(InvalidState, match="waits for approval"):
            submit(draft)


@pytest.mark.django_db
class TestLock:
    def test_a_submitted_draft_cannot_be_touched(self) -> None:
        draft = start()
        submit(draft)
        for attempt in (
            lambda: update_draft(draft_id=draft.pk, document=make_document(), at=AT, actor=BOB),
            lambda: discard_draft(draft_id=draft.pk, at=AT, actor=BOB),
            lambda: rebase_draft(draft_id=draft.pk, at=AT, actor=BOB),
        ):
            with pytest.raises(InvalidState) as refusal:
                attempt()
            assert refusal.value.members == {"current_status": "submitted"}

    @pytest.mark.parametrize("assignment", ["document = '{}'", "base_revision = 7", "org_id = 'other'"])
    def test_not_even_past_the_services(self, assignment: str) -> None:
        submit(start())
        with pytest.raises(IntegrityError, match="keeps its document"), transaction.atomic():
            connection.cursor().execute(f"UPDATE catalog_drafts SET {assignment}")

    def test_a_draft_cannot_claim_to_be_submitted(self) -> None:
        start()
        with pytest.raises(IntegrityError, match="catalog_drafts_submitted_has_request"), transaction.atomic():
            CatalogDraft.objects.update(status="submitted")


@pytest.mark.django_db
class TestApproval:
    def test_publishes_as_the_second_person(self) -> None:
        draft = start()
        approval = approve(approval_id=submit(draft).pk, at=LATER, actor=BOB, comment="checked")
        draft.refresh_from_db()
        revision = CatalogRevision.objects.get(is_active=True)
        assert (draft.status, draft.published_revision) == ("published", revision)
        assert (revision.revision, revision.published_by, revision.reason) == (2, "staff:bob", "new season")
        assert approval.result == {"revision": 2, "revision_id": revision.public_id}
        assert get_version("pro").prices.get(currency="usd", interval="month").unit_amount == 3900
        event = Event.objects.get(type="catalog_draft.published")
        assert (event.actor_id, event.data["requested_by"], event.reason) == ("bob", "staff:ada", "checked")
        assert event.previous_data == {"status": "submitted"}

    def test_is_refused_to_the_person_who_submitted(self) -> None:
        approval = submit(start())
        with pytest.raises(ApprovalSelfDecision):
            approve(approval_id=approval.pk, at=LATER, actor=ADA)
        assert CatalogRevision.objects.count() == 1

    def test_is_refused_when_another_revision_became_active(self) -> None:
        draft = start()
        approval = submit(draft)
        document = make_document()
        document["plans"].pop()
        publish_catalog(document)
        with pytest.raises(RevisionConflict):
            approve(approval_id=approval.pk, at=LATER, actor=BOB)
        draft.refresh_from_db()
        approval.refresh_from_db()
        assert (draft.status, approval.status) == ("submitted", "pending")
        reject(approval_id=approval.pk, at=LATER, actor=BOB, comment="rebase it")

    def test_is_refused_for_another_document_than_the_submitted_one(self) -> None:
        draft = start()
        approval = submit(draft)
        other = make_document()
        find_entry(other, "plans", "pro")["prices"][0]["unit_amount"] = 1
        with connection.cursor() as cursor:  # as someone would who can switch triggers off
            cursor.execute("SET LOCAL session_replication_role = replica")
            CatalogDraft.objects.filter(pk=draft.pk).update(document=other)
            cursor.execute("SET LOCAL session_replication_role = origin")
        with pytest.raises(ApprovalChanged):
            approve(approval_id=approval.pk, at=LATER, actor=BOB)
        assert CatalogRevision.objects.count() == 1


@pytest.mark.django_db
class TestHandingBack:
    def test_a_rejected_draft_can_be_edited_and_submitted_again(self) -> None:
        draft = start()
        first = submit(draft)
        reject(approval_id=first.pk, at=LATER, actor=BOB, comment="ten dollars less")
        draft.refresh_from_db()
        assert (draft.status, draft.submitted_hash, _request_of(draft)) == ("draft", "", first)
        assert _request_of(draft).comment == "ten dollars less"
        event = Event.objects.get(type="catalog_draft.reopened")
        assert (event.data["decision"], event.reason) == ("rejected", "ten dollars less")
        document = make_document()
        find_entry(document, "plans", "pro")["prices"][0]["unit_amount"] = 3000
        update_draft(draft_id=draft.pk, document=document, at=LATER, actor=ADA)
        approve(approval_id=submit(draft, at=LATER).pk, at=LATER, actor=BOB)
        assert get_version("pro").prices.get(currency="usd", interval="month").unit_amount == 3000

    def test_the_person_who_submitted_takes_it_back(self) -> None:
        draft = start()
        approval = submit(draft)
        assert withdraw_draft(draft_id=draft.pk, at=LATER, actor=ADA, reason="a typo").status == "draft"
        approval.refresh_from_db()
        assert (approval.status, approval.comment) == ("canceled", "a typo")

    def test_only_what_waits_can_be_taken_back(self) -> None:
        with pytest.raises(InvalidState):
            withdraw_draft(draft_id=start().pk, at=LATER, actor=ADA)
        with pytest.raises(NotFound):
            withdraw_draft(draft_id=new_uuid(), at=LATER, actor=ADA)

    def test_nobody_deciding_hands_it_back_as_well(self) -> None:
        draft = start()
        submit(draft)
        assert expire_due(at=AT + DEFAULT_LIFETIME) == 1
        draft.refresh_from_db()
        assert draft.status == DraftStatus.DRAFT


@pytest.mark.django_db(transaction=True)
class TestConcurrency:
    def test_taking_back_while_somebody_approves_does_one_of_both(self) -> None:
        draft = start()
        approval = submit(draft)
        ready = threading.Barrier(2)
        outcomes: list[str] = []

        def run(name: str, act: Any) -> None:
            ready.wait()
            try:
                act()
                outcomes.append(name)
            except DomainError:
                outcomes.append("refused")
            finally:
                connections.close_all()

        threads = [
            threading.Thread(
                target=run, args=("approved", lambda: approve(approval_id=approval.pk, at=LATER, actor=BOB))
            ),
            threading.Thread(
                target=run, args=("taken back", lambda: withdraw_draft(draft_id=draft.pk, at=LATER, actor=ADA))
            ),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        draft.refresh_from_db()
        expected = {"approved": ("published", 2), "taken back": ("draft", 1)}
        [done] = [outcome for outcome in outcomes if outcome != "refused"]
        assert (draft.status, CatalogRevision.objects.count()) == expected[done]
