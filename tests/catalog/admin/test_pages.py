"""Every page of the catalog opens, shows what matters, and lets nobody edit what was published."""

from __future__ import annotations

import html

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from catalog.data import read_sample
from catalog.models import CatalogRevision, Meter, Plan, PlanVersion, Price, Product
from tests.factories.catalog import find_entry, get_version, make_document, publish_catalog

pytestmark = pytest.mark.django_db

MODELS = ("product", "feature", "meter", "plan", "planversion", "price", "quotarule", "catalogrevision")


@pytest.fixture
def client() -> Client:
    User.objects.create_superuser("root", password="a-long-password")
    client = Client()
    client.force_login(User.objects.get())
    return client


def text_of(client: Client, name: str, *arguments: object) -> str:
    response = client.get(reverse(f"admin:catalog_{name}", args=arguments))
    assert response.status_code == 200
    return html.unescape(response.content.decode())


class TestPages:
    @pytest.mark.parametrize("name", MODELS)
    def test_open_and_refuse_changes(self, client: Client, name: str) -> None:
        publish_catalog(read_sample())
        model = apps.get_model("catalog", name)
        row = model.objects.order_by("pk").first()
        text_of(client, f"{name}_changelist")
        text_of(client, f"{name}_change", row.pk)
        assert client.post(reverse(f"admin:catalog_{name}_change", args=[row.pk]), {}).status_code == 403
        assert client.post(reverse(f"admin:catalog_{name}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
        assert client.get(reverse(f"admin:catalog_{name}_add")).status_code == 403

    @pytest.mark.parametrize("name", MODELS)
    def test_lists_take_a_constant_number_of_queries(self, client: Client, name: str) -> None:
        counts = []
        text_of(client, f"{name}_changelist")  # content types and permissions are read once
        for org_id in ("a", "b", "c"):
            publish_catalog(read_sample(), org_id=org_id)
            with CaptureQueriesContext(connection) as queries:
                text_of(client, f"{name}_changelist")
            counts.append(len(queries))
        assert counts[1] == counts[2], counts

    @pytest.mark.parametrize("name", [*MODELS, "catalogdraft"])
    def test_teach_when_empty(self, client: Client, name: str) -> None:
        assert text_of(client, f"{name}_changelist")

    def test_prices_are_readable(self, client: Client) -> None:
        publish_catalog()
        page = text_of(client, "plan_changelist")
        assert "29.00 USD / month" in page
        assert "290.00 USD / year" in page
        assert "0.50 USD / 1,000,000 tokens" in page  # 0.00005 cents x 1,000,000 = 50 cents
        assert "1.50 USD / 1,000,000 tokens" in page

    def test_a_plan_shows_its_versions(self, client: Client) -> None:
        publish_catalog()
        document = make_document()
        find_entry(document, "plans", "pro")["name"] = "Professional"
        publish_catalog(document)
        page = text_of(client, "plan_change", Plan.objects.get(key="pro").pk)
        for version in PlanVersion.objects.filter(plan__key="pro"):
            assert reverse("admin:catalog_planversion_change", args=[version.pk]) in page

    def test_a_version_shows_prices_and_quotas(self, client: Client) -> None:
        publish_catalog()
        page = text_of(client, "planversion_change", get_version("free").pk)
        assert "0.00 USD / month" in page
        assert "10,000" in page
        assert "service:api" in page

    def test_a_revision_shows_its_document_and_what_changed(self, client: Client) -> None:
        publish_catalog()
        document = make_document()
        document["plans"].pop()
        find_entry(document, "plans", "pro")["prices"][0]["unit_amount"] = 3900
        revision = publish_catalog(document)
        page = text_of(client, "catalogrevision_change", revision.pk)
        assert '"unit_amount": 3900' in page
        assert "becomes inactive" in page
        assert "plan ai-payg" in page
        assert "<del>29.00 USD / month</del>" in page
        first = CatalogRevision.objects.get(revision=1)
        assert "plan ai-payg" in text_of(client, "catalogrevision_change", first.pk)

    def test_rows_are_found(self, client: Client) -> None:
        publish_catalog()
        for name, term in (
            ("product", "plat"),
            ("plan", "payg"),
            ("planversion", "Pro"),
            ("price", "pro:usd"),
            ("meter", "input"),
            ("feature", "llm"),
            ("quotarule", "free"),
        ):
            response = client.get(reverse(f"admin:catalog_{name}_changelist"), {"q": term})
            assert response.context["cl"].result_count > 0, name
        assert Product.objects.count() and Price.objects.count() and Meter.objects.count()
