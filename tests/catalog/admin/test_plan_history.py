"""The page of a plan tells its story: each version beside the one before, who wanted it, who allowed it, and why."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from billing_site.kernel.actors import Actor
from billing_site.platform.services.approvals import approve
from catalog.admin.plan_history import SHOWN_VERSIONS
from catalog.models import Plan
from catalog.queries.versions import list_published_versions
from catalog.services.draft_approvals import submit_draft
from catalog.services.drafts import create_draft
from tests.factories.catalog import AT, find_entry, make_document, publish_catalog
from tests.support.world import open_account, subscribe

pytestmark = pytest.mark.django_db
ADA, BOB = Actor("staff", "ada"), Actor("staff", "bob")


def publish_price(amount: int, *, reason: str = "") -> None:
    document = make_document()
    find_entry(document, "plans", "pro")["prices"][0]["unit_amount"] = amount
    publish_catalog(document, reason=reason)


def page_of_plan(client: Client, page_of: Callable[[Client, str], str]) -> str:
    return page_of(client, reverse("admin:catalog_plan_change", args=[Plan.objects.get(key="pro").pk]))


class TestPriceHistory:
    def test_tells_each_version_beside_the_one_before(
        self, sign_in: Callable[..., Client], page_of: Callable[[Client, str], str]
    ) -> None:
        publish_catalog()
        publish_price(3900, reason="a new season")
        document = make_document()
        find_entry(document, "plans", "pro")["prices"][0]["unit_amount"] = 4900
        draft = create_draft(title="Summer", document=document, at=AT, actor=ADA).draft
        submitted = submit_draft(draft_id=draft.pk, at=AT, actor=ADA, reason="demand is high")
        assert submitted.approval is not None
        approve(approval_id=submitted.approval.pk, at=AT + timedelta(hours=1), actor=BOB)
        subscribe(open_account(), "pro", at=AT)
        page = page_of_plan(sign_in("viewer"), page_of)
        story = page[page.index("ch-history") :]
        versions = re.findall(r">v(\d)</a></strong>", story)
        assert versions == ["3", "2", "1"]
        assert "by ada, approved by bob, with" in story
        assert "by catalog-tests, with" in story
        for reason in ("“demand is high”", "“a new season”"):
            assert reason in story
        assert story.index("<ins>49.00 USD / month</ins>") < story.index("<ins>39.00 USD / month</ins>")
        assert "+10.00 USD, +25.6 %" in story  # 4900 - 3900 = 1000; 1000 / 3900 = 0.2564
        assert story.count("on sale") == 1
        assert "290.00 USD / year" in story  # the first version lists what it began with
        assert "<ins>290.00 USD / year</ins>" not in story

    def test_shows_the_newest_of_many(
        self, sign_in: Callable[..., Client], page_of: Callable[[Client, str], str]
    ) -> None:
        for amount in range(3000, 3000 + SHOWN_VERSIONS + 2):
            publish_price(amount)
        page = page_of_plan(sign_in("viewer"), page_of)
        assert "Older versions are listed below." in page
        story = page[page.index("ch-history") : page.index("Older versions")]
        assert len(re.findall(r">v(\d+)</a></strong>", story)) == SHOWN_VERSIONS


class TestListPublishedVersions:
    def test_picks_the_plan_out_of_each_document_with_one_query(self, django_assert_num_queries: object) -> None:
        publish_catalog()
        publish_price(3900)
        plan = Plan.objects.get(key="pro")
        with django_assert_num_queries(1):  # type: ignore[operator]
            found = list_published_versions(plan=plan, limit=5)
        assert [each.version.version for each in found] == [2, 1]
        amounts = [each.entry.prices[0].unit_amount for each in found if each.entry is not None]
        assert amounts == [3900, 2900]
