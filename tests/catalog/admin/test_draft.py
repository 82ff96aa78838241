"""The way of a catalog through the admin: draft, edit, compare, submit, approve."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from billing_site.kernel.ids import new_uuid
from billing_site.platform.models import Event
from catalog.documents.formatting import format_document
from catalog.models import CatalogDraft, CatalogRevision, DraftStatus
from catalog.services.drafts import create_draft, hash_document
from tests.factories.catalog import AT, PUBLISHER, find_entry, get_version, make_document, publish_catalog
from tests.support.world import open_account, subscribe

pytestmark = pytest.mark.django_db

LIST = "admin:catalog_catalogdraft_changelist"
SignIn = Callable[..., Client]
PageOf = Callable[[Client, str], str]


def url_of(draft: CatalogDraft, name: str = "change", *arguments: object) -> str:
    return reverse(f"admin:catalog_catalogdraft_{name}", args=[draft.pk, *arguments])


def save(client: Client, draft: CatalogDraft, text: str, **values: Any) -> Any:
    data = {"document": text, "seen": hash_document(draft.document), **values}
    return client.post(url_of(draft, "document"), data, follow=True)


def act(client: Client, draft: CatalogDraft, name: str, reason: str = "agreed with sales") -> Any:
    path = url_of(draft).replace("/change/", f"/{name}/")
    return client.post(path, {"_confirmed": "1", "reason": reason}, follow=True)


def action_links(client: Client, draft: CatalogDraft) -> set[str]:
    page = client.get(url_of(draft)).content.decode()
    names = ("submit", "publish", "take-back", "rebase", "discard")
    return {name for name in names if re.search(rf'{draft.pk}/{name}/?"', page)}


class TestDocument:
    def test_is_shown_as_text_and_stored_as_edited(self, draft: CatalogDraft, sign_in: SignIn, page_of: PageOf) -> None:
        document = draft.document
        find_entry(document, "plans", "pro")["prices"][0]["unit_amount"] = 3900
        client = sign_in("billing")
        page = html.unescape(save(client, draft, format_document(document), seen="").content.decode())
        assert '"unit_amount": 3900' in page
        assert "Saved." in page
        draft.refresh_from_db()
        assert draft.document == document
        event = Event.objects.latest("sequence")
        assert (event.actor_id, event.reason) == ("billing", "document edited as JSON")

    def test_mistakes_are_stored_and_listed_with_links_to_their_places(
        self, draft: CatalogDraft, sign_in: SignIn, page_of: PageOf
    ) -> None:
        document = draft.document
        find_entry(document, "plans", "pro")["prices"][0]["unit_amount"] = -1
        del find_entry(document, "plans", "free")["name"]
        client = sign_in("billing")
        save(client, draft, format_document(document), seen="")
        page = page_of(client, url_of(draft))
        assert "2 findings keep this draft from being published." in page
        assert "/plans/0/name" in page
        assert "/plans/1/prices/0/unit_amount" in page
        assert "Plan pro, price 1, unit amount" in page
        assert url_of(draft, "entry", "plans", 1) in page
        assert "Mend the findings first" in page_of(client, url_of(draft, "changes"))
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
    def test_what_was_typed_is_kept_when_it_is_no_json(
        self, draft: CatalogDraft, sign_in: SignIn, text: str, says: str
    ) -> None:
        page = html.unescape(save(sign_in("billing"), draft, text).content.decode())
        assert says in page
        assert text in page
        draft.refresh_from_db()
        assert draft.document["plans"]

    def test_a_secret_is_never_stored(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        document = {**draft.document, "products": [{"id": "x", "name": "sk_" + "live_abc"}]}
        page = html.unescape(save(sign_in("billing"), draft, format_document(document)).content.decode())
        assert "looks like a provider's secret key" in page
        draft.refresh_from_db()
        assert draft.document != document
        assert not CatalogDraft.objects.filter(document__icontains="sk_live").exists()

    def test_an_edit_of_an_older_text_is_refused(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        client = sign_in("billing")
        save(client, draft, format_document({**make_document(), "plans": []}))
        answer = save(client, draft, format_document(make_document()))
        assert answer.status_code == 409
        assert "Somebody saved this draft while you edited it" in answer.content.decode()
        draft.refresh_from_db()
        assert draft.document["plans"] == []

    def test_a_file_takes_the_place_of_the_text(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        client = sign_in("billing")
        document = {**make_document(), "plans": []}
        upload = SimpleUploadedFile("catalog.json", format_document(document).encode(), "application/json")
        save(client, draft, "{}", upload=upload)
        draft.refresh_from_db()
        assert draft.document == document
        wrong = SimpleUploadedFile("catalog.json", b"\xff\xfe{}", "application/json")
        assert "no text in UTF-8" in save(client, draft, "{}", upload=wrong).content.decode()

    def test_can_be_taken_away_as_a_file(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        answer = sign_in("viewer").get(url_of(draft, "export"))
        assert json.loads(answer.content) == draft.document
        assert answer["Content-Disposition"] == 'attachment; filename="default-spring-prices.json"'

    def test_is_not_for_viewers(self, draft: CatalogDraft, sign_in: SignIn, page_of: PageOf) -> None:
        client = sign_in("viewer")
        page = page_of(client, url_of(draft, "document"))
        assert '"unit_amount": 2900' in page
        assert "<textarea" not in page
        assert save(client, draft, "{}").status_code == 403
        assert client.post(url_of(draft), {"title": "Mine"}).status_code == 403
        assert action_links(client, draft) == set()

    def test_a_closed_draft_is_only_shown(self, draft: CatalogDraft, sign_in: SignIn, page_of: PageOf) -> None:
        client = sign_in("finance_lead")
        act(client, draft, "discard")
        page = page_of(client, url_of(draft, "document"))
        assert '"unit_amount": 2900' in page
        assert "<textarea" not in page
        assert "This draft was discarded." in page
        assert save(client, draft, "{}").status_code == 403


class TestChanges:
    def test_stand_side_by_side_in_words(self, draft: CatalogDraft, sign_in: SignIn, page_of: PageOf) -> None:
        document = draft.document
        find_entry(document, "plans", "pro")["prices"][0]["unit_amount"] = 3900
        find_entry(document, "plans", "pro")["prices"].append(
            {
                "currency": "usd",
                "meter": "api",
                "model": "graduated",
                "interval": "month",
                "tiers": [{"up_to": 1000, "unit_amount": "1"}, {"up_to": None, "unit_amount": "0.5"}],
            }
        )
        document["plans"] = [plan for plan in document["plans"] if plan["id"] != "ai-payg"]
        CatalogDraft.objects.filter(pk=draft.pk).update(document=document)
        page = page_of(sign_in("viewer"), url_of(draft, "changes"))
        assert "Published (revision 1)" in page
        assert "<del>29.00 USD / month</del>" in page
        assert "<ins>39.00 USD / month</ins>" in page
        assert "+10.00 USD, +34.5 %" in page  # 3900 - 2900 = 1000; 1000 / 2900 = 0.3448
        assert "<ins>up to 1,000: 0.01 USD / request</ins>" in page
        assert "<ins>above 1,000: 5.00 USD / 1,000 requests</ins>" in page  # half a cent each
        assert "2 prices unchanged" in page
        assert "becomes inactive" in page
        assert "AI pay as you go" in page

    def test_say_when_there_are_none(self, draft: CatalogDraft, sign_in: SignIn, page_of: PageOf) -> None:
        assert "says the same as the published catalog" in page_of(sign_in("viewer"), url_of(draft, "changes"))


class TestOverview:
    def test_shows_products_plans_and_meters(self, draft: CatalogDraft, sign_in: SignIn, page_of: PageOf) -> None:
        document = draft.document
        find_entry(document, "plans", "pro")["name"] = "Professional"
        document["plans"].append({"id": "team", "product_id": "platform", "name": "Team", "prices": []})
        CatalogDraft.objects.filter(pk=draft.pk).update(document=document)
        page = page_of(sign_in("billing"), url_of(draft))
        for expected in ("Platform", "Professional", "29.00 USD / month", "290.00 USD / year", "27.00 EUR / month"):
            assert expected in page
        assert "API requests" in page
        assert re.search(r'ch-good">new<', page)
        assert re.search(r'ch-info">changed<', page)

    def test_says_how_many_run_on_which_version(self, draft: CatalogDraft, sign_in: SignIn, page_of: PageOf) -> None:
        account = open_account()
        subscribe(account, "pro", at=AT)
        document = draft.document
        find_entry(document, "plans", "pro")["prices"][0]["unit_amount"] = 3900
        CatalogDraft.objects.filter(pk=draft.pk).update(document=document)
        page = page_of(sign_in("billing"), url_of(draft))
        assert "1 subscription on 1 plan" in page
        # 29.00 a month now, 39.00 on the version to come
        for expected in ("29.00 USD", "39.00 USD", "+10.00 USD"):
            assert expected in page[page.index('id="impact"') :]
        assert reverse("admin:catalog_planversion_change", args=[get_version("pro").pk]) in page

    def test_prices_many_subscriptions_only_when_asked(
        self, draft: CatalogDraft, sign_in: SignIn, page_of: PageOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("catalog.admin.draft_impact.PRICED_AT_ONCE", 1)
        for handle in ("acme", "globex"):
            subscribe(open_account(handle), "pro", at=AT)
        document = draft.document
        find_entry(document, "plans", "pro")["prices"][0]["unit_amount"] = 1900
        document["plans"] = [plan for plan in document["plans"] if plan["id"] != "free"]
        CatalogDraft.objects.filter(pk=draft.pk).update(document=document)
        client = sign_in("billing")
        page = page_of(client, url_of(draft, "changes"))
        assert "2 subscriptions on 2 plans" in page
        assert "Compute what moving them would change" in page
        assert "If moved" not in page
        page = page_of(client, url_of(draft, "changes") + "?impact=money")
        assert "\N{MINUS SIGN}20.00 USD" in page  # 2 x (19.00 - 29.00)

    def test_takes_another_title(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        client = sign_in("billing")
        client.post(url_of(draft), {"title": "Summer prices"})
        draft.refresh_from_db()
        assert draft.title == "Summer prices"
        assert "A draft needs a title." in client.post(url_of(draft), {"title": " "}, follow=True).content.decode()

    def test_teaches_when_a_draft_is_empty(self, sign_in: SignIn, page_of: PageOf) -> None:
        empty = create_draft(title="First", at=AT, actor=PUBLISHER).draft
        assert "Begin with a product" in page_of(sign_in("billing"), url_of(empty))

    def test_shows_its_history(self, draft: CatalogDraft, sign_in: SignIn, page_of: PageOf) -> None:
        assert "catalog_draft.created" in page_of(sign_in("viewer"), url_of(draft, "log"))

    @pytest.mark.parametrize("name", ["change", "changes", "document", "log"])
    def test_a_draft_that_does_not_exist_is_not_found(self, sign_in: SignIn, name: str) -> None:
        path = reverse(f"admin:catalog_catalogdraft_{name}", args=[new_uuid()])
        assert sign_in("viewer").get(path).status_code == 404


class TestStarting:
    def test_copies_the_published_catalog(self, sign_in: SignIn, page_of: PageOf) -> None:
        publish_catalog()
        client = sign_in("billing")
        path = reverse(LIST) + "new-from-published/"
        assert "Start the draft" in page_of(client, path)
        data = {"_confirmed": "1", "title": "Summer", "org_id": "default", "reason": "a new season"}
        response = client.post(path, data, follow=True)
        draft = CatalogDraft.objects.get()
        assert response.redirect_chain[-1][0] == url_of(draft)
        assert (draft.title, draft.base_revision, draft.created_by) == ("Summer", 1, "staff:billing")
        event = Event.objects.latest("sequence")
        assert (event.type, event.reason) == ("catalog_draft.created", "a new season")

    def test_takes_a_document_as_well(self, sign_in: SignIn) -> None:
        data = {"title": "From a file", "org_id": "default", "document": format_document(make_document())}
        sign_in("billing").post(reverse("admin:catalog_catalogdraft_add"), data)
        assert CatalogDraft.objects.get().document == make_document()

    def test_an_empty_document_means_the_published_one(self, sign_in: SignIn) -> None:
        publish_catalog()
        data = {"title": "Copy", "org_id": "default", "document": " "}
        sign_in("billing").post(reverse("admin:catalog_catalogdraft_add"), data)
        assert find_entry(CatalogDraft.objects.get().document, "plans", "pro")


class TestApproval:
    def test_submitting_asks_first_and_locks(self, draft: CatalogDraft, sign_in: SignIn, page_of: PageOf) -> None:
        _change_price(draft)
        client = sign_in("billing", name="ada")
        assert action_links(client, draft) == {"submit", "discard"}
        asked = page_of(client, url_of(draft).replace("/change/", "/submit/"))
        assert "It replaces revision 1. Plans: pro changed." in asked
        page = html.unescape(act(client, draft, "submit").content.decode())
        assert "another person must approve it" in page
        assert "Waiting for another person." in page
        assert "Nobody else may approve it yet" in page
        draft.refresh_from_db()
        assert draft.status == DraftStatus.SUBMITTED
        assert save(client, draft, "{}").status_code == 403
        assert action_links(client, draft) == {"take-back"}
        assert CatalogRevision.objects.count() == 1

    def test_the_second_person_sees_the_change_and_publishes_it(
        self, draft: CatalogDraft, sign_in: SignIn, page_of: PageOf
    ) -> None:
        _change_price(draft)
        act(sign_in("billing", name="ada"), draft, "submit")
        draft.refresh_from_db()
        request = reverse("admin:platform_approval_change", args=[draft.approval_id])
        client = sign_in("finance_lead", name="bob")
        page = page_of(client, request)
        for expected in (
            "<del>29.00 USD / month</del>",
            "<ins>39.00 USD / month</ins>",
            "agreed with sales",
            url_of(draft),
        ):
            assert expected in page
        client.post(request.replace("/change/", "/approve/"), {"_confirmed": "1", "reason": ""}, follow=True)
        assert get_version("pro").prices.get(currency="usd", interval="month").unit_amount == 3900
        page = page_of(client, url_of(draft))
        assert "Published as revision 2 by ada, approved by bob." in page
        assert "<ins>39.00 USD / month</ins>" in page_of(client, url_of(draft, "changes"))

    def test_the_person_who_submitted_cannot_approve(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        _change_price(draft)
        client = sign_in("finance_lead", name="ada")
        act(client, draft, "submit")
        draft.refresh_from_db()
        request = reverse("admin:platform_approval_approve_request", args=[draft.approval_id])
        page = client.post(request, {"_confirmed": "1", "reason": ""}, follow=True).content.decode()
        assert "another person must approve it" in page
        assert CatalogRevision.objects.count() == 1

    def test_a_rejected_draft_comes_back_with_the_comment(
        self, draft: CatalogDraft, sign_in: SignIn, page_of: PageOf
    ) -> None:
        _change_price(draft)
        ada = sign_in("billing", name="ada")
        act(ada, draft, "submit")
        draft.refresh_from_db()
        request = reverse("admin:platform_approval_change", args=[draft.approval_id])
        bob = sign_in("finance_lead", name="bob")
        bob.post(request.replace("/change/", "/reject/"), {"_confirmed": "1", "reason": "too dear by far"})
        page = page_of(ada, url_of(draft))
        assert "bob handed this back: “too dear by far”" in page
        assert action_links(ada, draft) == {"submit", "discard"}
        find_entry(draft.document, "plans", "pro")["prices"][0]["unit_amount"] = 3000
        save(ada, draft, format_document(draft.document), seen="")
        assert "The draft was edited since." in page_of(bob, request)

    def test_only_the_person_who_submitted_takes_it_back(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        _change_price(draft)
        ada = sign_in("billing", name="ada")
        act(ada, draft, "submit")
        assert (
            "Only the person who submitted" in act(sign_in("billing", name="eve"), draft, "take-back").content.decode()
        )
        act(ada, draft, "take-back")
        draft.refresh_from_db()
        assert draft.status == DraftStatus.DRAFT

    def test_publishing_alone_is_not_offered_and_refused(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        _change_price(draft)
        client = sign_in("finance_lead")
        assert "publish" not in action_links(client, draft)
        act(client, draft, "publish")
        assert CatalogRevision.objects.count() == 1


def _change_price(draft: CatalogDraft) -> None:
    find_entry(draft.document, "plans", "pro")["prices"][0]["unit_amount"] = 3900
    draft.save()


class TestPublishingAlone:
    """Where one person may publish: `BILLING_CATALOG_APPROVAL` is off."""

    @pytest.fixture(autouse=True)
    def _one_person_publishes(self, settings: Any) -> None:
        settings.BILLING_CATALOG_APPROVAL = False

    def test_needs_its_own_permission(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        client = sign_in("billing")
        assert action_links(client, draft) == {"discard"}
        assert act(client, draft, "publish").status_code == 403
        assert CatalogRevision.objects.count() == 1

    def test_asks_first_and_says_what_will_happen(self, draft: CatalogDraft, sign_in: SignIn, page_of: PageOf) -> None:
        find_entry(draft.document, "plans", "pro")["name"] = "Professional"
        draft.save()
        client = sign_in("finance_lead")
        assert action_links(client, draft) == {"publish", "discard"}
        page = page_of(client, url_of(draft).replace("/change/", "/publish/"))
        assert "It replaces revision 1. Plans: pro changed." in page
        assert CatalogRevision.objects.count() == 1

    def test_wants_a_reason(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        act(sign_in("finance_lead"), draft, "publish", reason=" ")
        assert CatalogRevision.objects.count() == 1

    def test_publishes(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        find_entry(draft.document, "plans", "pro")["prices"][0]["unit_amount"] = 3900
        draft.save()
        page = html.unescape(act(sign_in("finance_lead"), draft, "publish").content.decode())
        assert "Revision 2 is the active catalog now." in page
        draft.refresh_from_db()
        assert draft.status == DraftStatus.PUBLISHED
        assert get_version("pro").prices.get(currency="usd", interval="month").unit_amount == 3900
        event = Event.objects.get(type="catalog.published", data__revision=2)
        assert (event.actor_type, event.actor_id, event.reason) == ("staff", "finance_lead", "agreed with sales")

    def test_refuses_findings(self, draft: CatalogDraft, sign_in: SignIn) -> None:
        draft.document["plans"][0]["product_id"] = "gone"
        draft.save()
        page = html.unescape(act(sign_in("finance_lead"), draft, "publish").content.decode())
        assert "/plans/0/product_id" in page
        assert CatalogRevision.objects.count() == 1

    def test_an_outdated_draft_must_be_rebased(self, draft: CatalogDraft, sign_in: SignIn) -> None:
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
