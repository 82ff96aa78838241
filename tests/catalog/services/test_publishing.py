"""Publishing: all or nothing, one revision at a time, a new version only where something changed."""

from __future__ import annotations

import threading
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from billing_site.platform.models import Event
from catalog.data import read_sample
from catalog.documents.differences import diff_documents
from catalog.documents.normalising import read_valid_document
from catalog.models import CatalogRevision, Feature, Meter, Plan, PlanVersion, Price, Product, QuotaRule
from catalog.services.documents import CatalogContainsSecret, CatalogInvalid
from catalog.services.publishing import PublishResult, RevisionConflict, preview_document, publish_document
from tests.factories.catalog import AT, PUBLISHER, find_entry, get_version, make_document, publish_catalog


def publish(document: dict[str, Any], **arguments: Any) -> PublishResult:
    return publish_document(**{"org_id": "default", "document": document, "at": AT, "actor": PUBLISHER, **arguments})


@pytest.mark.django_db
class TestPublishDocument:
    def test_writes_what_the_document_says(self) -> None:
        result = publish(make_document(), reason="first catalog")
        assert result.changed
        assert (result.revision.revision, result.revision.is_active) == (1, True)
        assert (result.revision.published_by, result.revision.reason) == ("token:catalog-tests", "first catalog")
        assert set(Product.objects.values_list("key", "name", "lookup_key", "is_active")) == {
            ("platform", "Platform", "platform", True),
            ("ai", "AI", "ai", True),
        }
        api = Meter.objects.get(event_name="api")
        assert (api.display_name, api.unit, api.aggregation) == ("API requests", "requests", "sum")
        assert set(Feature.objects.values_list("key", flat=True)) == {"service:api", "support:priority", "llm:proxy"}
        pro = get_version("pro")
        assert (pro.version, pro.revision, pro.popular, pro.created_at) == (1, result.revision, True, AT)
        assert [link.feature.key for link in pro.feature_links.all()] == ["service:api", "support:priority"]
        assert set(pro.prices.values_list("currency", "interval", "unit_amount", "billing_timing", "lookup_key")) == {
            ("usd", "month", Decimal(2900), "advance", "pro:usd:month"),
            ("usd", "year", Decimal(29000), "advance", "pro:usd:year"),
            ("eur", "month", Decimal(2700), "advance", "pro:eur:month"),
        }
        tokens = get_version("ai-payg").prices.get(meter__event_name="llm_input_tokens")
        assert (tokens.unit_amount, tokens.model, tokens.billing_timing) == (Decimal("0.00005"), "per_unit", "arrears")
        rule = QuotaRule.objects.get()
        assert (rule.feature.key, rule.meter.event_name, rule.window) == ("service:api", "api", "billing_period")
        assert (rule.limit, rule.enforcement, rule.upgrade_plan_key) == (Decimal(10000), "hard", "pro")

    def test_an_identical_document_keeps_the_revision(self) -> None:
        first = publish(make_document())
        same = make_document()
        find_entry(same, "plans", "pro")["prices"][0]["lookup_key"] = "pro:usd:month"  # what is derived anyway
        again = publish(same, at=AT + timedelta(days=1))
        assert not again.changed
        assert again.revision == first.revision
        assert Event.objects.filter(type="catalog.published").count() == 1

    def test_only_changed_plans_get_a_new_version(self) -> None:
        publish(make_document())
        before = {key: get_version(key) for key in ("free", "pro", "ai-payg")}
        document = make_document()
        find_entry(document, "plans", "pro")["prices"][0]["unit_amount"] = 3900
        result = publish(document)
        after = {key: get_version(key) for key in before}
        assert [key for key in before if before[key] != after[key]] == ["pro"]
        assert (after["pro"].version, after["pro"].revision) == (2, result.revision)
        old = before["pro"].prices.get(currency="usd", interval="month")
        assert old.unit_amount == 2900  # subscriptions that pin version 1 keep its price
        assert [revision.is_active for revision in CatalogRevision.objects.order_by("revision")] == [False, True]

    def test_a_version_keeps_how_parts_of_a_period_are_charged(self) -> None:
        publish(make_document())
        assert (get_version("pro").proration, get_version("pro").proration_basis) == ("", "")
        document = make_document()
        find_entry(document, "plans", "pro").update(proration="Second", proration_basis="fixed_30")
        publish(document, at=AT + timedelta(days=1))
        version = get_version("pro")
        assert (version.version, version.proration, version.proration_basis) == (2, "second", "fixed_30")
        found = diff_documents(
            read_valid_document(make_document()), read_valid_document(version.revision.document)
        ).kinds[2]
        assert [(change.pointer, change.old, change.new) for change in found.changed[0].changes] == [
            ("/plans/1/proration", None, "second"),
            ("/plans/1/proration_basis", None, "fixed_30"),
        ]

    def test_what_is_not_named_becomes_inactive_and_may_return(self) -> None:
        publish(make_document())
        smaller = make_document()
        smaller["plans"] = [find_entry(smaller, "plans", "pro")]
        smaller["products"] = smaller["products"][:1]
        smaller["meters"] = []
        publish(smaller)
        assert set(Plan.objects.filter(is_active=True).values_list("key", flat=True)) == {"pro"}
        assert not Meter.objects.filter(is_active=True).exists()
        assert set(Product.objects.filter(is_active=True).values_list("key", flat=True)) == {"platform"}
        assert set(Feature.objects.filter(is_active=True).values_list("key", flat=True)) == {
            "service:api",
            "support:priority",
        }
        publish(make_document())
        assert Plan.objects.filter(is_active=True).count() == 3
        assert get_version("free").version == 1  # its content is what it was
        assert Product.objects.count() == 2
        assert Meter.objects.count() == 3

    def test_says_what_happened(self) -> None:
        publish(make_document())
        document = make_document()
        find_entry(document, "plans", "pro")["popular"] = False
        revision = publish(document, reason="calmer").revision
        event = Event.objects.filter(type="catalog.published").latest("sequence")
        assert (event.object_id, event.actor_id, event.reason) == (revision.public_id, "catalog-tests", "calmer")
        assert event.account_id is None
        assert event.data["revision"] == 2
        assert event.data["difference"] == {"plans": {"changed": ["pro"]}}
        assert event.previous_data == {"revision": 1}

    def test_organizations_do_not_touch_each_other(self) -> None:
        publish(make_document())
        other = make_document()
        other["plans"] = other["plans"][:1]
        del other["plans"][0]["quotas"]
        result = publish(other, org_id="acme")
        assert result.revision.revision == 1
        assert Plan.objects.filter(org_id="default", is_active=True).count() == 3
        assert Plan.objects.filter(org_id="acme", is_active=True).count() == 1

    @pytest.mark.parametrize("if_match", [1, [7, 1], {1}])
    def test_takes_the_revision_the_caller_has_seen(self, if_match: Any) -> None:
        publish(make_document(), if_match=0)
        document = make_document()
        document["plans"].pop()
        assert publish(document, if_match=if_match).revision.revision == 2

    @pytest.mark.parametrize("if_match", [0, 2, [], [5, 6]])
    def test_refuses_another_revision(self, if_match: Any) -> None:
        publish(make_document())
        document = make_document()
        document["plans"].pop()
        with pytest.raises(RevisionConflict) as refusal:
            publish(document, if_match=if_match)
        assert refusal.value.members == {"active_revision": 1}
        assert CatalogRevision.objects.count() == 1

    def test_writes_nothing_of_an_invalid_document(self) -> None:
        document = make_document()
        find_entry(document, "plans", "pro")["prices"][0]["unit_amount"] = -1
        find_entry(document, "plans", "free")["product_id"] = "gone"
        with pytest.raises(CatalogInvalid) as refusal:
            publish(document)
        assert [(error.pointer, error.code) for error in refusal.value.errors] == [
            ("/plans/1/prices/0/unit_amount", "negative"),
            ("/plans/0/product_id", "product_unknown"),
        ]
        for model in (CatalogRevision, Product, Plan, PlanVersion, Price, Meter, Event):
            assert not model.objects.exists()

    def test_refuses_secrets_first(self) -> None:
        document = make_document()
        document["products"][0]["metadata"] = {"api_key": "x"}
        document["plans"][0]["product_id"] = "gone"
        with pytest.raises(CatalogContainsSecret) as refusal:
            publish(document)
        assert [error.pointer for error in refusal.value.errors] == ["/products/0/metadata/api_key"]

    def test_takes_the_configured_currencies_only(self, settings: Any) -> None:
        settings.BILLING_CURRENCIES = ["USD"]
        with pytest.raises(CatalogInvalid) as refusal:
            publish(make_document())
        assert [error.code for error in refusal.value.errors] == ["currency_unsupported"]

    def test_needs_no_more_queries_for_a_larger_document(self) -> None:
        publish_catalog(org_id="first")  # starts the chain of events
        counts = []
        for org_id, plans in (("small", 1), ("large", 60)):
            document = read_sample()
            (template,) = [plan for plan in document["plans"] if plan["id"] == "enterprise"]
            document["plans"] += [{**template, "id": f"more-{number}"} for number in range(plans)]
            with CaptureQueriesContext(connection) as queries:
                publish(document, org_id=org_id)
            counts.append(len(queries))
        assert counts[0] == counts[1]
        assert counts[0] <= 25


@pytest.mark.django_db
class TestPreviewDocument:
    def test_shows_what_would_change_and_writes_nothing(self) -> None:
        publish_catalog()
        document = make_document()
        find_entry(document, "plans", "pro")["name"] = "Professional"
        with CaptureQueriesContext(connection) as queries:
            preview = preview_document(org_id="default", document=document)
        assert preview.difference.summarise() == {"plans": {"changed": ["pro"]}}
        assert len(queries) == 2  # the active revision, meters in use
        assert CatalogRevision.objects.count() == 1

    def test_before_anything_was_published(self) -> None:
        preview = preview_document(org_id="default", document=make_document())
        assert preview.active is None
        assert preview.difference.summarise()["plans"] == {"added": ["free", "pro", "ai-payg"]}

    def test_refuses_as_publishing_would(self) -> None:
        with pytest.raises(RevisionConflict):
            preview_document(org_id="default", document=make_document(), if_match=4)


@pytest.mark.django_db(transaction=True)
class TestConcurrentPublishing:
    def run_both(self, documents: list[dict[str, Any]], **arguments: Any) -> list[object]:
        outcomes: list[object] = [None, None]
        gate = threading.Barrier(2)

        def work(place: int) -> None:
            try:
                gate.wait(5)
                outcomes[place] = publish(documents[place], **arguments)
            except Exception as error:
                outcomes[place] = error
            finally:
                connections.close_all()

        threads = [threading.Thread(target=work, args=(place,)) for place in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        return outcomes

    def make_two(self) -> list[dict[str, Any]]:
        documents = [make_document(), make_document()]
        for number, document in enumerate(documents):
            find_entry(document, "plans", "pro")["name"] = f"Pro {number}"
        return documents

    def test_two_at_once_make_two_revisions(self) -> None:
        publish_catalog()
        outcomes = self.run_both(self.make_two())
        assert {outcome.revision.revision for outcome in outcomes if isinstance(outcome, PublishResult)} == {2, 3}
        assert CatalogRevision.objects.get(is_active=True).revision == 3
        assert sorted(PlanVersion.objects.filter(plan__key="pro").values_list("version", flat=True)) == [1, 2, 3]

    def test_two_that_saw_the_same_revision_leave_one(self) -> None:
        publish_catalog()
        outcomes = self.run_both(self.make_two(), if_match=1)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["PublishResult", "RevisionConflict"]
        assert CatalogRevision.objects.count() == 2

    def test_two_of_the_same_document_make_one_revision(self) -> None:
        outcomes = self.run_both([make_document(), make_document()])
        assert sorted(outcome.changed for outcome in outcomes if isinstance(outcome, PublishResult)) == [False, True]
        assert CatalogRevision.objects.count() == 1
