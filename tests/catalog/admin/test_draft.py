"""The way of a catalog through the admin: draft, edit, compare, publish."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from billing_site.platform.models import Event
from catalog.documents.formatting import format_document
from catalog.models import CatalogDraft, CatalogRevision, DraftStatus
from catalog.services.drafts import create_draft
from tests.factories.catalog import AT, PUBLISHER, find_entry, get_version, make_document, publish_catalog

pytestmark = pytest.mark.django_db

LIST = "admin:catalog_catalogdraft_changelist"
CHANGE = "admin:catalog_catalogdraft_change"


@pytest.fixture
def sign_in() -> Callable[[str], Client]:
    def make(role: str) -> Client:
        user = User.objects.create_user(role, password="a-long-password", is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def draft() -> CatalogDraft:
    publish_catalog()
    return create_draft(title="Spring prices", at=AT, actor=PUBLISHER).draft


def page_of(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def save(client: Client, draft: CatalogDraft, text: str, **values: str) -> Any:
    data = {"title": draft.title, "document": text, "_continue": "1", **values}
    return client.post(reverse(CHANGE, args=[draft.pk]), data, follow=True)


def act(client: Client, draft: CatalogDraft, name: str, reason: str = "agreed with sales") -> Any:
    path = reverse(CHANGE, args=[draft.pk]).replace("/change/", f"/{name}/")
    return client.post(path, {"_confirmed": "1", "reason": reason}, follow=True)


def action_links(client: Client, draft: CatalogDraft) -> set[str]:
    page = page_of(client, reverse(CHANGE, args=[draft.pk]))
    return {name for name in ("publish", "rebase", "discard") if re.search(rf'{draft.pk}/{name}/?"', page)}


class TestEditing:
    def test_shows_the_document_as_text_with_findings_and_changes(
        self, draft: CatalogDraft, sign_in: Callable[[str], Client]
    ) -> None:
        document = draft.document
        find_entry(document, "plans", "pro")["prices"][0]["unit_amount"] = 3900
        client = sign_in("billing")
        page = html.unescape(save(client, draft, format_document(document)).content.decode())
        assert '"unit_amount": 3900' in page
        assert "This document can be published." in page
        assert "plan pro" in page
        assert "price usd:month unit_amount" in page
        assert "<del>2900</del>" in page
        assert "<ins>3900</ins>" in page
        draft.refresh_from_db()
        assert draft.document == document
        assert Event.objects.latest("sequence").actor_id == "billing"

    def test_stores_mistakes_and_lists_them(self, draft: CatalogDraft, sign_in: Callable[[str], Client]) -> None:
        document = draft.document
        find_entry(document, "plans", "pro")["prices"][0]["unit_amount"] = -1
        del find_entry(document, "plans", "free")["name"]
        page = html.unescape(save(sign_in("billing"), draft, format_document(document)).content.decode())
        assert "2 findings keep this draft from being published." in page
        assert "/plans/0/name" in page
        assert "/plans/1/prices/0/unit_amount" in page
        assert "Mend the findings first" in page
        draft.refresh_from_db()
        assert draft.document == document

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ('{"version": 1,\n "products": [}', "Line 2, column 15"),
            ("[]", "A catalog document is a JSON object."),
            ('{"version": 1, "version": 1}', "twice"),
        ],
    )
    def test_keeps_what_was_typed_when_it_is_no_json(
        self, draft: CatalogDraft, sign_in: Callable[[str], Client], text: str, says: str
    ) -> None:
        page = html.unescape(save(sign_in("billing"), draft, text).content.decode())
        assert says in page
        assert text in page
        draft.refresh_from_db()
        assert draft.document["plans"]

    def test_never_stores_a_secret(self, draft: CatalogDraft, sign_in: Callable[[str], Client]) -> None:
        document = {**draft.document, "products": [{"id": "x", "name": "sk_" + "live_abc"}]}
        page = html.unescape(save(sign_in("billing"), draft, format_document(document)).content.decode())
        assert "looks like a provider's secret key" in page
        draft.refresh_from_db()
        assert draft.document != document
        assert not CatalogDraft.objects.filter(document__icontains="sk_live").exists()

    def test_is_not_for_viewers(self, draft: CatalogDraft, sign_in: Callable[[str], Client]) -> None:
        client = sign_in("viewer")
        page = page_of(client, reverse(CHANGE, args=[draft.pk]))
        assert '"unit_amount": 2900' in page
        assert "<textarea" not in page
        assert save(client, draft, "{}").status_code == 403
        assert action_links(client, draft) == set()

    def test_a_closed_draft_is_only_shown(self, draft: CatalogDraft, sign_in: Callable[[str], Client]) -> None:
        client = sign_in("finance_lead")
        act(client, draft, "discard")
        page = page_of(client, reverse(CHANGE, args=[draft.pk]))
        assert '"unit_amount": 2900' in page
        assert "<textarea" not in page
        assert save(client, draft, "{}").status_code == 403


class TestStarting:
    def test_copies_the_published_catalog(self, sign_in: Callable[[str], Client]) -> None:
        publish_catalog()
        client = sign_in("billing")
        path = reverse(LIST) + "new-from-published/"
        assert "Start the draft" in page_of(client, path)
        data = {"_confirmed": "1", "title": "Summer", "org_id": "default", "reason": "a new season"}
        response = client.post(path, data, follow=True)
        draft = CatalogDraft.objects.get()
        assert response.redirect_chain[-1][0] == reverse(CHANGE, args=[draft.pk])
        assert (draft.title, draft.base_revision, draft.created_by) == ("Summer", 1, "staff:billing")
        event = Event.objects.latest("sequence")
        assert (event.type, event.reason) == ("catalog_draft.created", "a new season")

    def test_takes_a_document_as_well(self, sign_in: Callable[[str], Client]) -> None:
        data = {"title": "From a file", "org_id": "default", "document": format_document(make_document())}
        sign_in("billing").post(reverse("admin:catalog_catalogdraft_add"), data)
        assert CatalogDraft.objects.get().document == make_document()

    def test_an_empty_document_means_the_published_one(self, sign_in: Callable[[str], Client]) -> None:
        publish_catalog()
        data = {"title": "Copy", "org_id": "default", "document": " "}
        sign_in("billing").post(reverse("admin:catalog_catalogdraft_add"), data)
        assert find_entry(CatalogDraft.objects.get().document, "plans", "pro")


class TestPublishing:
    def test_needs_its_own_permission(self, draft: CatalogDraft, sign_in: Callable[[str], Client]) -> None:
        client = sign_in("billing")
        assert action_links(client, draft) == {"discard"}
        assert act(client, draft, "publish").status_code == 403
        assert CatalogRevision.objects.count() == 1

    def test_asks_first_and_says_what_will_happen(self, draft: CatalogDraft, sign_in: Callable[[str], Client]) -> None:
        find_entry(draft.document, "plans", "pro")["name"] = "Professional"
        draft.save()
        client = sign_in("finance_lead")
        assert action_links(client, draft) == {"publish", "discard"}
        page = page_of(client, reverse(CHANGE, args=[draft.pk]).replace("/change/", "/publish/"))
        assert "It replaces revision 1. Plans: pro changed." in page
        assert CatalogRevision.objects.count() == 1

    def test_wants_a_reason(self, draft: CatalogDraft, sign_in: Callable[[str], Client]) -> None:
        act(sign_in("finance_lead"), draft, "publish", reason=" ")
        assert CatalogRevision.objects.count() == 1

    def test_publishes(self, draft: CatalogDraft, sign_in: Callable[[str], Client]) -> None:
        find_entry(draft.document, "plans", "pro")["prices"][0]["unit_amount"] = 3900
        draft.save()
        page = html.unescape(act(sign_in("finance_lead"), draft, "publish").content.decode())
        assert "Revision 2 is the active catalog now." in page
        draft.refresh_from_db()
        assert draft.status == DraftStatus.PUBLISHED
        assert get_version("pro").prices.get(currency="usd", interval="month").unit_amount == 3900
        event = Event.objects.get(type="catalog.published", data__revision=2)
        assert (event.actor_type, event.actor_id, event.reason) == ("staff", "finance_lead", "agreed with sales")

    def test_refuses_findings(self, draft: CatalogDraft, sign_in: Callable[[str], Client]) -> None:
        draft.document["plans"][0]["product_id"] = "gone"
        draft.save()
        page = html.unescape(act(sign_in("finance_lead"), draft, "publish").content.decode())
        assert "/plans/0/product_id" in page
        assert CatalogRevision.objects.count() == 1

    def test_an_outdated_draft_must_be_rebased(self, draft: CatalogDraft, sign_in: Callable[[str], Client]) -> None:
        document = make_document()
        document["plans"].pop()
        publish_catalog(document)
        client = sign_in("finance_lead")
        assert action_links(client, draft) == {"publish", "rebase", "discard"}
        assert "Revision 2 is active now" in act(client, draft, "publish").content.decode()
        act(client, draft, "rebase")
        assert action_links(client, draft) == {"publish", "discard"}
        act(client, draft, "publish")
        assert CatalogRevision.objects.get(is_active=True).revision == 3
