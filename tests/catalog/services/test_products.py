"""Products: archiving, restoring, removing."""

from __future__ import annotations

from typing import Any

import pytest

from billing_site.kernel.errors import NotFound
from billing_site.kernel.ids import new_uuid
from billing_site.platform.models import Event
from catalog.models import Plan, Product
from catalog.queries.plans import PlanNotFound, get_sellable_plan
from catalog.queries.references import ObjectInUse
from catalog.services.products import archive_product, delete_product, restore_product
from tests.factories.catalog import AT, PUBLISHER, find_entry, make_document, publish_catalog

pytestmark = pytest.mark.django_db


def end(service: Any, product: Product, **values: Any) -> Any:
    return service(product_id=product.pk, at=AT, actor=PUBLISHER, **values)


class TestArchiveProduct:
    def test_takes_its_plans_off_the_offer_until_restored(self) -> None:
        publish_catalog()
        product = Product.objects.get(key="ai")
        end(archive_product, product, reason="sold to a partner")
        with pytest.raises(PlanNotFound):
            get_sellable_plan(org_id="default", key="ai-payg")
        assert Plan.objects.get(key="ai-payg").is_active  # what the catalog says of the plan stays
        end(restore_product, product)
        assert get_sellable_plan(org_id="default", key="ai-payg").plan.key == "ai-payg"
        assert list(Event.objects.filter(object_id=product.public_id).order_by("id").values_list("type", "reason")) == [
            ("product.archived", "sold to a partner"),
            ("product.restored", ""),
        ]

    def test_repeating_changes_nothing(self) -> None:
        publish_catalog()
        product = Product.objects.get(key="ai")
        end(archive_product, product)
        end(archive_product, product)
        assert Event.objects.filter(type="product.archived").count() == 1

    def test_of_an_unknown_one(self) -> None:
        with pytest.raises(NotFound):
            archive_product(product_id=new_uuid(), at=AT, actor=PUBLISHER)


class TestDeleteProduct:
    def test_removes_one_without_plans_that_no_document_names(self) -> None:
        document = make_document()
        document["products"].append({"id": "mistake", "name": "Mistake"})
        publish_catalog(document)
        product = Product.objects.get(key="mistake")
        with pytest.raises(ObjectInUse, match="in use by the published catalog"):
            end(delete_product, product)
        publish_catalog()
        end(delete_product, product)
        assert not Product.objects.filter(key="mistake").exists()
        assert Event.objects.get(type="product.deleted").data["key"] == "mistake"

    def test_refuses_one_that_has_plans_by_name(self) -> None:
        publish_catalog()
        document = make_document()
        document["products"] = [find_entry(document, "products", "platform")]
        document["plans"] = document["plans"][:2]
        publish_catalog(document)
        with pytest.raises(ObjectInUse) as refusal:
            end(delete_product, Product.objects.get(key="ai"))
        assert refusal.value.members["uses"] == ["plans"]
        assert "Archive it" in refusal.value.detail
