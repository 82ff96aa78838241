"""Meters beside the document: making, archiving, removing, and what publishing may not do to them."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing_site.kernel.errors import ValidationFailed
from billing_site.kernel.ids import new_uuid
from billing_site.platform.models import Event
from catalog.models import CatalogRevision, Meter
from catalog.queries.meters import MeterNotFound, list_meters
from catalog.queries.references import ObjectInUse
from catalog.services.documents import CatalogInvalid
from catalog.services.meters import MeterExists, archive_meter, delete_meter, restore_meter
from catalog.services.pricing_rules import close_pricing_rule
from catalog.services.publishing import preview_document
from tests.factories.catalog import (
    AT,
    PUBLISHER,
    find_entry,
    make_document,
    make_meter,
    make_rule,
    publish_catalog,
)
from tests.factories.metering import make_account, record

pytestmark = pytest.mark.django_db


def end(service: Any, meter: Meter, **values: Any) -> Any:
    return service(meter_id=meter.pk, at=AT, actor=PUBLISHER, **values)


class TestCreateMeter:
    def test_keeps_what_it_says(self) -> None:
        meter = make_meter(aggregation="unique", currency="EUR", dimensions=["model", "region", "model"])
        meter.refresh_from_db()
        assert (meter.event_name, meter.display_name, meter.unit) == ("gpu_seconds", "Gpu seconds", "seconds")
        assert (meter.aggregation, meter.currency, meter.dimensions) == ("unique", "eur", ["model", "region"])
        assert (meter.managed_by, meter.lookup_key, meter.is_active) == ("api", "gpu_seconds", True)
        event = Event.objects.get(type="meter.created")
        assert (event.object_id, event.data["aggregation_type"]) == (meter.public_id, "unique")

    def test_has_defaults(self) -> None:
        meter = make_meter(unit=" ")
        assert (meter.unit, meter.aggregation, meter.currency) == ("unit", "sum", "usd")

    def test_names_everything_that_is_wrong(self) -> None:
        with pytest.raises(ValidationFailed) as refusal:
            make_meter("no space", name="", aggregation="mean", currency="xyz", dimensions=["fine", "a b"])
        assert [error.pointer for error in refusal.value.errors] == [
            "/name",
            "/currency",
            "/event_name",
            "/aggregation_type",
            "/dimensions/1",
        ]

    def test_event_names_are_taken_once(self) -> None:
        publish_catalog()
        make_meter()
        for event_name in ("gpu_seconds", "api"):
            with pytest.raises(MeterExists):
                make_meter(event_name)
        with pytest.raises(MeterExists):
            make_meter("api", org_id="sells-from-default")  # would hide the meter its plans price
        publish_catalog(org_id="acme")
        assert make_meter(org_id="acme").org_id == "acme"

    def test_an_archived_one_is_to_be_restored(self) -> None:
        meter = make_meter()
        end(archive_meter, meter)
        with pytest.raises(MeterExists, match="restore it"):
            make_meter()


class TestArchiveMeter:
    def test_is_always_possible_and_undone_by_restoring(self) -> None:
        publish_catalog()
        meter = Meter.objects.get(event_name="api")  # priced by nothing, limited by a quota
        assert end(archive_meter, meter, reason="unused").is_active is False
        assert meter not in list_meters(org_id="default")
        assert end(archive_meter, meter).is_active is False
        assert end(restore_meter, meter).is_active is True
        assert list(Event.objects.filter(object_id=meter.public_id).order_by("id").values_list("type", "reason")) == [
            ("meter.archived", "unused"),
            ("meter.restored", ""),
        ]

    def test_of_an_unknown_one(self) -> None:
        with pytest.raises(MeterNotFound):
            archive_meter(meter_id=new_uuid(), at=AT, actor=PUBLISHER)


class TestDeleteMeter:
    def test_removes_an_unused_one(self) -> None:
        meter = make_meter()
        end(delete_meter, meter)
        assert not Meter.objects.exists()
        assert Event.objects.get(type="meter.deleted").data["event_name"] == "gpu_seconds"

    def test_refuses_what_is_in_use_by_name(self) -> None:
        publish_catalog()
        for event_name, uses in (
            ("api", ["the published catalog", "quota rules"]),
            ("llm_input_tokens", ["the published catalog", "prices"]),
        ):
            with pytest.raises(ObjectInUse) as refusal:
                end(delete_meter, Meter.objects.get(event_name=event_name))
            assert refusal.value.members["uses"] == uses
        ruled = make_meter()
        rule = make_rule("gpu_seconds")
        close_pricing_rule(rule_id=rule.pk, at=AT, actor=PUBLISHER)
        with pytest.raises(ObjectInUse, match=r"in use by pricing rules\. Archive it"):
            end(delete_meter, ruled)
        assert Meter.objects.count() == 4

    def test_refuses_what_was_counted_on(self) -> None:
        meter = make_meter()
        record(make_account(), meter.event_name)
        with pytest.raises(ObjectInUse, match="usage events"):
            end(delete_meter, meter)


class TestPublishing:
    def test_does_not_retire_meters_made_through_the_api(self) -> None:
        publish_catalog()
        make_meter()
        document = make_document()
        find_entry(document, "plans", "pro")["name"] = "Professional"
        publish_catalog(document)
        assert Meter.objects.get(event_name="gpu_seconds").is_active

    def test_does_not_retire_a_meter_that_a_rule_prices(self) -> None:
        document = make_document()
        document["meters"] += [{"name": "ruled", "unit": "calls"}, {"name": "loose", "unit": "calls"}]
        publish_catalog(document)
        make_rule("ruled")
        publish_catalog()
        assert Meter.objects.get(event_name="ruled").is_active
        assert not Meter.objects.get(event_name="loose").is_active

    def test_a_document_that_names_one_manages_it(self) -> None:
        make_meter()
        document = make_document()
        document["meters"].append({"name": "gpu_seconds", "unit": "seconds", "display_name": "GPU time"})
        publish_catalog(document)
        meter = Meter.objects.get(event_name="gpu_seconds")
        assert (meter.display_name, meter.managed_by) == ("GPU time", "document")
        publish_catalog()
        meter.refresh_from_db()
        assert not meter.is_active

    def test_brings_an_archived_one_back(self) -> None:
        publish_catalog()
        meter = Meter.objects.get(event_name="api")
        end(archive_meter, meter)
        document = make_document()
        find_entry(document, "plans", "pro")["name"] = "Professional"
        publish_catalog(document)
        meter.refresh_from_db()
        assert meter.is_active


class TestMeanings:
    @pytest.mark.parametrize(
        ("event_name", "index"), [("api", 0), ("llm_output_tokens", 2)], ids=["with a quota", "with a price"]
    )
    def test_of_meters_in_use_do_not_change(self, event_name: str, index: int) -> None:
        publish_catalog()
        document = make_document()
        find_entry(document, "meters", event_name).update({"unit": "calls", "aggregation_type": "max"})
        for attempt in (publish_catalog, lambda changed: preview_document(org_id="default", document=changed)):
            with pytest.raises(CatalogInvalid) as refusal:
                attempt(document)
            assert [(error.pointer, error.code) for error in refusal.value.errors] == [
                (f"/meters/{index}/aggregation_type", "meter_in_use"),
                (f"/meters/{index}/unit", "meter_in_use"),
            ]
        assert CatalogRevision.objects.count() == 1

    def test_of_meters_with_a_rule_do_not_change(self) -> None:
        make_meter()
        make_rule("gpu_seconds")
        document = make_document()
        document["meters"].append({"name": "gpu_seconds", "unit": "hours"})
        with pytest.raises(CatalogInvalid, match="Name a new meter"):
            publish_catalog(document)

    def test_of_unused_meters_may_change(self) -> None:
        document = make_document()
        document["meters"].append({"name": "loose", "unit": "calls"})
        publish_catalog(document)
        find_entry(document, "meters", "loose").update({"unit": "bytes", "aggregation_type": "max"})
        publish_catalog(document)
        assert Meter.objects.get(event_name="loose").aggregation == "max"

    def test_everything_else_of_a_meter_may_change(self) -> None:
        publish_catalog()
        document = make_document()
        find_entry(document, "meters", "api").update({"display_name": "Calls", "dimensions": ["region"]})
        publish_catalog(document)
        assert Meter.objects.get(event_name="api").dimensions == ["region"]

    def test_are_another_organizations_own(self) -> None:
        publish_catalog()
        document = make_document()
        find_entry(document, "meters", "api")["unit"] = "calls"
        publish_catalog(document, org_id="acme")
        assert Meter.objects.get(org_id="acme", event_name="api").unit == "calls"

    def test_take_one_query(self) -> None:
        publish_catalog()
        with CaptureQueriesContext(connection) as queries:
            preview_document(org_id="default", document=make_document())
        assert len(queries) == 2  # the active revision, the meters in use
