"""An older catalog comes back as a new revision, checked as it would be today."""

from __future__ import annotations

from typing import Any

import pytest

from billing_site.kernel.errors import NotFound, ValidationFailed
from catalog.models import CatalogRevision, PlanVersion
from catalog.queries.revisions import list_revisions
from catalog.services.documents import CatalogInvalid
from catalog.services.publishing import PublishResult, RevisionConflict
from catalog.services.revisions import compare_revisions, republish_revision
from tests.factories.catalog import AT, PUBLISHER, find_entry, get_version, make_document, publish_catalog

pytestmark = pytest.mark.django_db


def publish_two() -> None:
    publish_catalog()
    document = make_document()
    find_entry(document, "plans", "pro")["prices"][0]["unit_amount"] = 3900
    publish_catalog(document)


def republish(number: int, **arguments: Any) -> PublishResult:
    given = {"org_id": "default", "number": number, "reason": "back", "at": AT, "actor": PUBLISHER, **arguments}
    return republish_revision(**given)


class TestRepublishRevision:
    def test_plans_get_a_version_that_says_what_the_old_one_said(self) -> None:
        publish_two()
        old = PlanVersion.objects.get(plan__key="pro", version=1)
        result = republish(1, if_match=2)
        assert (result.revision.revision, result.changed, result.revision.reason) == (3, True, "back")
        pro = get_version("pro")
        assert (pro.version, pro.content_hash) == (3, old.content_hash)
        assert get_version("free").version == 1
        first = CatalogRevision.objects.get(revision=1)
        assert (result.revision.document, result.revision.document_hash) == (first.document, first.document_hash)

    def test_refuses_what_todays_rules_refuse(self, settings: Any) -> None:
        publish_two()
        settings.BILLING_CURRENCIES = ["usd"]
        with pytest.raises(CatalogInvalid):
            republish(1)
        assert CatalogRevision.objects.count() == 2

    @pytest.mark.parametrize("reason", ["", " \n", "x" * 1_001])
    def test_wants_a_reason(self, reason: str) -> None:
        publish_two()
        with pytest.raises(ValidationFailed):
            republish(1, reason=reason)

    def test_keeps_to_the_organization_and_the_revision_that_was_seen(self) -> None:
        publish_two()
        publish_catalog(org_id="acme")
        with pytest.raises(NotFound):
            republish(2, org_id="acme")
        with pytest.raises(RevisionConflict):
            republish(1, if_match=[1])


class TestCompareRevisions:
    def test_compares_with_the_active_one_by_default(self) -> None:
        publish_two()
        compared = compare_revisions(org_id="default", old=1)
        assert (compared.old.revision, compared.new.revision) == (1, 2)
        assert compared.difference.summarise() == {"plans": {"changed": ["pro"]}}
        assert compare_revisions(org_id="default", old=2, new=2).difference.is_empty


class TestListRevisions:
    def test_lists_those_of_one_organization_without_documents(self) -> None:
        publish_two()
        publish_catalog(org_id="acme")
        rows = list(list_revisions(org_id="default"))
        assert [row.revision for row in rows] == [2, 1]
        assert all("document" in row.get_deferred_fields() for row in rows)
