"""Drafts: edited with findings, published or discarded once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, NotFound, ValidationFailed
from billing_site.kernel.ids import new_uuid
from billing_site.platform.models import Event
from catalog.models import CatalogDraft, CatalogRevision, DraftStatus
from catalog.services.documents import CatalogContainsSecret, CatalogInvalid
from catalog.services.drafts import (
    DraftChanged,
    DraftNeedsApproval,
    DraftResult,
    create_draft,
    discard_draft,
    hash_document,
    publish_draft,
    rebase_draft,
    update_draft,
)
from catalog.services.publishing import RevisionConflict
from tests.factories.catalog import AT, find_entry, get_version, make_document, publish_catalog

pytestmark = pytest.mark.django_db
STAFF = Actor("staff", "ada")


@pytest.fixture(autouse=True)
def _one_person_publishes(settings: Any) -> None:
    settings.BILLING_CATALOG_APPROVAL = False


def start(**arguments: Any) -> DraftResult:
    return create_draft(**{"title": "Spring prices", "at": AT, "actor": STAFF, **arguments})


def edit(draft: CatalogDraft, document: Any, **arguments: Any) -> DraftResult:
    return update_draft(draft_id=draft.pk, document=document, at=AT, actor=STAFF, **arguments)


class TestCreateDraft:
    def test_starts_from_the_published_catalog(self) -> None:
        publish_catalog()
        result = start()
        assert result.findings.is_valid
        assert (result.draft.base_revision, result.draft.created_by) == (1, "staff:ada")
        assert find_entry(result.draft.document, "plans", "pro")["prices"][0] == {
            "currency": "usd",
            "unit_amount": 2900,
            "interval": "month",
            "billing_timing": "advance",
        }

    def test_starts_empty_without_one(self) -> None:
        result = start()
        assert result.draft.document == {"version": 1, "products": [], "meters": [], "plans": []}
        assert result.draft.base_revision is None

    def test_publishing_it_untouched_changes_nothing(self) -> None:
        revision = publish_catalog()
        result = publish_draft(draft_id=start().draft.pk, at=AT, actor=STAFF)
        assert not result.changed
        assert result.revision == revision

    @pytest.mark.parametrize("title", ["", "  \n ", "x" * 201])
    def test_wants_a_title(self, title: str) -> None:
        with pytest.raises(ValidationFailed):
            start(title=title)


class TestUpdateDraft:
    def test_stores_the_document_with_its_findings(self) -> None:
        draft = start(document=make_document()).draft
        document = make_document()
        document["plans"][1]["prices"][0]["unit_amount"] = -1
        result = edit(draft, document, title=" Summer   prices ")
        assert [(finding.pointer, finding.code) for finding in result.findings] == [
            ("/plans/1/prices/0/unit_amount", "negative")
        ]
        draft.refresh_from_db()
        assert draft.document == document
        assert draft.title == "Summer prices"
        assert Event.objects.latest("sequence").data["findings"] == 1

    def test_says_nothing_when_nothing_changed(self) -> None:
        draft = start(document=make_document()).draft
        edit(draft, make_document())
        assert not Event.objects.filter(type="catalog_draft.updated").exists()

    def test_never_stores_a_secret(self) -> None:
        draft = start(document=make_document()).draft
        document = make_document()
        document["plans"][0]["name"] = "wh" + "sec_abcdef"
        with pytest.raises(CatalogContainsSecret):
            edit(draft, document)
        draft.refresh_from_db()
        assert draft.document == make_document()

    @pytest.mark.parametrize("document", [[], "text", None, {"products": "\x00"}])
    def test_refuses_what_cannot_be_stored(self, document: object) -> None:
        draft = start(document=make_document()).draft
        with pytest.raises(CatalogInvalid):
            edit(draft, document)

    def test_refuses_an_edit_of_another_document_than_the_stored_one(self) -> None:
        draft = start(document=make_document()).draft
        seen = hash_document(draft.document)
        document = make_document()
        document["plans"][0]["name"] = "Gratis"
        edit(draft, document, seen=seen, what="plan free")
        assert Event.objects.latest("sequence").reason == "plan free"
        with pytest.raises(DraftChanged):
            edit(draft, make_document(), seen=seen)
        draft.refresh_from_db()
        assert draft.document == document


class TestPublishDraft:
    def test_takes_a_second_person_unless_switched_off(self, settings: Any) -> None:
        settings.BILLING_CATALOG_APPROVAL = True
        draft = start(document=make_document()).draft
        with pytest.raises(DraftNeedsApproval):
            publish_draft(draft_id=draft.pk, at=AT, actor=STAFF)
        assert not CatalogRevision.objects.exists()

    def test_publishes_and_closes(self) -> None:
        publish_catalog()
        draft = start().draft
        find_entry(draft.document, "plans", "pro")["prices"][0]["unit_amount"] = 3900
        edit(draft, draft.document)
        result = publish_draft(draft_id=draft.pk, at=AT, actor=STAFF, reason="new prices")
        draft.refresh_from_db()
        assert (draft.status, draft.published_revision) == (DraftStatus.PUBLISHED, result.revision)
        assert (result.revision.published_by, result.revision.reason) == ("staff:ada", "new prices")
        assert get_version("pro").version == 2
        assert list(Event.objects.order_by("sequence").values_list("type", flat=True)) == [
            "catalog.published",
            "catalog_draft.created",
            "catalog_draft.updated",
            "catalog.published",
            "catalog_draft.published",
        ]

    def test_refuses_findings_and_stays_open(self) -> None:
        draft = start(document={**make_document(), "plans": [{"id": "x"}]}).draft
        with pytest.raises(CatalogInvalid):
            publish_draft(draft_id=draft.pk, at=AT, actor=STAFF)
        draft.refresh_from_db()
        assert draft.status == DraftStatus.DRAFT
        assert not CatalogRevision.objects.exists()

    def test_refuses_when_somebody_published_since(self) -> None:
        draft = start(document=make_document()).draft
        publish_catalog()
        with pytest.raises(RevisionConflict):
            publish_draft(draft_id=draft.pk, at=AT, actor=STAFF)
        rebase_draft(draft_id=draft.pk, at=AT, actor=STAFF, reason="seen it")
        assert publish_draft(draft_id=draft.pk, at=AT, actor=STAFF).revision.revision == 1

    def test_knows_no_other_draft(self) -> None:
        with pytest.raises(NotFound):
            publish_draft(draft_id=new_uuid(), at=AT, actor=STAFF)


def _publish(draft: CatalogDraft) -> object:
    return publish_draft(draft_id=draft.pk, at=AT, actor=STAFF)


def _discard(draft: CatalogDraft) -> object:
    return discard_draft(draft_id=draft.pk, at=AT, actor=STAFF, reason="not needed")


def _rebase(draft: CatalogDraft) -> object:
    return rebase_draft(draft_id=draft.pk, at=AT, actor=STAFF)


def _edit(draft: CatalogDraft) -> object:
    return edit(draft, {**make_document(), "plans": []})


class TestClosedDrafts:
    def test_discarding_keeps_the_document(self) -> None:
        draft = start(document=make_document()).draft
        assert discard_draft(draft_id=draft.pk, at=AT, actor=STAFF, reason="no").status == DraftStatus.DISCARDED
        event = Event.objects.latest("sequence")
        assert (event.type, event.reason, event.previous_data) == ("catalog_draft.discarded", "no", {"status": "draft"})

    @pytest.mark.parametrize("close", [_publish, _discard])
    @pytest.mark.parametrize("then", [_publish, _discard, _rebase, _edit])
    def test_stay_as_they_are(
        self, close: Callable[[CatalogDraft], object], then: Callable[[CatalogDraft], object]
    ) -> None:
        draft = start(document=make_document()).draft
        close(draft)
        draft.refresh_from_db()
        with pytest.raises(InvalidState) as refusal:
            then(draft)
        assert refusal.value.members == {"current_status": draft.status}
