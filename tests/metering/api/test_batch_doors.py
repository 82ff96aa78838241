"""What all batch doors have in common: their limits to the event and to the byte, and the short answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from accounts.models import Account
from billing_site.api.dialect import CAMEL_MEDIA_TYPE
from billing_site.kernel import clock
from metering.models import RejectedUsageRequest, UsageEvent
from tests.factories.metering import AT, make_account, make_meter
from tests.support.api import make_client
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db
TENANT: Final = "/api/v1/billing/tenants/acme%2Falice/usage"
EVENTS: Final = "/api/v1/billing/meter-events"
CLOUD: Final = "application/cloudevents-batch+json"
MAX_BYTES: Final = 5 * 1024 * 1024


@dataclass(frozen=True)
class Batch:
    """A batch door in one of its forms: how `count` events are written, and how many it takes."""

    path: str
    kind: str
    maximum: int
    write: Callable[[int], Any]

    def __str__(self) -> str:
        return f"{self.path.rsplit('/', 1)[-1]} {self.kind.rsplit('/', 1)[-1]}"


def usage(number: int) -> dict[str, Any]:
    return {"metric_type": "api", "quantity": 1, "idempotency_key": f"k{number}"}


def meter_event(number: int) -> dict[str, Any]:
    return {"meter_id": "api", "value": 1, "account": "acme/alice", "idempotency": f"k{number}"}


def cloud(number: int) -> dict[str, Any]:
    attributes = {"specversion": "1.0", "id": f"k{number}", "source": "/s", "type": "api", "subject": "acme/alice"}
    return {**attributes, "data": {"quantity": 1}}


DOORS: Final = [
    Batch(f"{TENANT}/batch", "application/json", 1000, lambda count: {"events": list(map(usage, range(count)))}),
    Batch(f"{TENANT}/batch", "application/json", 1000, lambda count: list(map(usage, range(count)))),
    Batch(f"{TENANT}/batch", CLOUD, 1000, lambda count: list(map(cloud, range(count)))),
    Batch(EVENTS, "application/json", 100, lambda count: {"events": list(map(meter_event, range(count)))}),
    Batch(EVENTS, CLOUD, 100, lambda count: list(map(cloud, range(count)))),
]
EACH = pytest.mark.parametrize("door", DOORS, ids=str)


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


@pytest.fixture(autouse=True)
def account() -> Account:
    make_meter("api", unit="requests")
    return make_account("acme/alice", org_id="acme")


def post(path: str, content: bytes, kind: str = "application/json", **headers: str) -> Any:
    client: Any = make_client()
    return client.generic("POST", path, content, content_type=kind, headers=headers)


def send(door: Batch, count: int, **headers: str) -> Any:
    return post(door.path, json.dumps(door.write(count)).encode(), door.kind, **headers)


class TestLimits:
    @EACH
    def test_as_many_events_as_it_takes(self, door: Batch) -> None:
        response = send(door, door.maximum)
        assert (response.status_code, response.json()["created"]) == (201, door.maximum)
        assert UsageEvent.objects.count() == door.maximum

    @EACH
    def test_and_not_one_more(self, door: Batch) -> None:
        body = problem(send(door, door.maximum + 1), "batch_too_large", 400)
        assert body["maximum"] == door.maximum
        assert not UsageEvent.objects.exists()
        assert RejectedUsageRequest.objects.get().event_count == door.maximum + 1

    @EACH
    def test_and_not_one_more_where_events_are_read_one_by_one(self, door: Batch) -> None:
        content = json.dumps(door.write(door.maximum + 1)).replace('"k0"', "7").encode()
        problem(post(door.path, content, door.kind), "batch_too_large", 400)

    @pytest.mark.parametrize(
        ("path", "kind", "body"),
        [
            (TENANT, "application/json", usage(0)),
            (TENANT, "application/cloudevents+json", cloud(0)),
            *[(door.path, door.kind, door.write(3)) for door in DOORS],
        ],
    )
    def test_five_megabytes_and_not_one_byte_more(self, path: str, kind: str, body: Any) -> None:
        content = json.dumps(body).encode().ljust(MAX_BYTES)
        assert len(content) == 5_242_880
        refused = problem(post(path, content + b" ", kind), "validation_failed", 400)
        assert findings(refused) == [("", "body_too_large")]
        assert not UsageEvent.objects.exists()
        assert post(path, content, kind).status_code == 201


class TestPrefer:
    @EACH
    @pytest.mark.parametrize("preference", ["return=minimal", 'wait=5, Return = "minimal"; x=1'])
    def test_minimal_answers_counts_only(self, door: Batch, preference: str) -> None:
        send(door, 2)
        response = send(door, 5, Prefer=preference)
        assert (response.status_code, response.json()) == (201, {"count": 5, "created": 3, "duplicates": 2})
        assert response.headers["Preference-Applied"] == "return=minimal"

    @EACH
    @pytest.mark.parametrize("preference", ["return=representation", "return=minimalist", "respond-async"])
    def test_anything_else_is_answered_event_by_event(self, door: Batch, preference: str) -> None:
        send(door, 2)
        response = send(door, 5, Prefer=preference)
        body = response.json()
        assert [item["status"] for item in body.get("items") or body["events"]] == ["duplicate"] * 2 + ["created"] * 3
        assert (body["created"], body["duplicates"]) == (3, 2)
        assert "Preference-Applied" not in response.headers

    @EACH
    def test_a_refusal_names_every_event_all_the_same(self, door: Batch) -> None:
        content = json.dumps(door.write(4)).replace(": 1", ': "-1"').encode()
        body = problem(post(door.path, content, door.kind, Prefer="return=minimal"), "validation_failed", 400)
        assert [code for _, code in findings(body)] == ["min_value"] * 4

    def test_in_the_other_spelling(self) -> None:
        content = b'{"events": [{"metricType": "api", "quantity": 1}]}'
        response = post(f"{TENANT}/batch", content, CAMEL_MEDIA_TYPE, Prefer="return=minimal", Accept=CAMEL_MEDIA_TYPE)
        assert response.headers["Content-Type"] == CAMEL_MEDIA_TYPE
        assert response.json() == {"count": 1, "created": 1, "duplicates": 0}
