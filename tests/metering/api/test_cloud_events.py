"""CloudEvents 1.0 on the usage doors: what they become, and how everything wrong with them is named."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account
from billing_site.kernel import clock
from metering.api.cloud_events import make_key
from metering.models import RejectedUsageRequest, UsageEvent
from tests.factories.metering import AT, make_account, make_meter
from tests.support.api import make_client
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db
ONE: Final = "application/cloudevents+json"
MANY: Final = "application/cloudevents-batch+json"
TENANT: Final = "/api/v1/billing/tenants/acme%2Falice/usage"
BATCH: Final = f"{TENANT}/batch"
EVENTS: Final = "/api/v1/billing/meter-events"


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


@pytest.fixture
def account() -> Account:
    make_meter("tokens", unit="tokens")
    make_meter("requests", unit="requests", aggregation="count")
    return make_account("acme/alice", org_id="acme")


def post(path: str, body: Any, kind: str, **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    client: Any = make_client()
    return client.generic("POST", path, content, content_type=kind, headers=headers)


def event(**values: Any) -> dict[str, Any]:
    defaults = {
        "specversion": "1.0",
        "id": "00001",
        "source": "/gateway/eu",
        "type": "tokens",
        "subject": "acme/alice",
        "time": "2026-03-14T09:30:00.5+01:00",
        "data": {"quantity": 12},
    }
    return {name: value for name, value in {**defaults, **values}.items() if value is not None}


def describe(stored: UsageEvent) -> dict[str, Any]:
    return {
        "account": stored.account.external_id,
        "meter": stored.meter.event_name,
        "key": stored.idempotency_key,
        "value": stored.value,
        "time": stored.timestamp.isoformat(),
        "resource": (stored.resource_type, stored.resource_id),
        "actor": stored.actor_id,
        "dimensions": stored.dimensions,
        "metadata": stored.metadata,
    }


FULL: Final = {
    "quantity": "12.5",
    "unit": "tokens",
    "resource_id": "vm-1",
    "resource_type": "vm",
    "actor_id": "ada",
    "metadata": {"trace": "abc"},
    "model": "large",
    "cached": 0.5,
}
EXPECTED: Final = {
    "account": "acme/alice",
    "meter": "tokens",
    "key": "/gateway/eu 00001",
    "value": Decimal("12.5"),
    "time": "2026-03-14T08:30:00.500000+00:00",
    "resource": ("vm", "vm-1"),
    "actor": "ada",
    "dimensions": {"model": "large", "cached": 0.5},
    "metadata": {"trace": "abc"},
}


class TestMapping:
    @pytest.mark.parametrize(
        ("path", "kind"),
        [(TENANT, ONE), (BATCH, ONE), (BATCH, MANY), (EVENTS, ONE), (EVENTS, f"{MANY}; charset=utf-8")],
    )
    def test_is_the_same_at_every_door(self, account: Account, path: str, kind: str) -> None:
        body = event(data=FULL, extension="passed over")
        response = post(path, [body] if MANY in kind else body, kind)
        assert response.status_code == 201, response.content
        assert describe(UsageEvent.objects.get()) == EXPECTED
        again = post(path, [body] if MANY in kind else body, kind)
        assert again.status_code == (200 if path == TENANT else 201)
        assert "duplicate" in again.content.decode()
        assert UsageEvent.objects.count() == 1

    @pytest.mark.parametrize("path", [TENANT, BATCH, EVENTS])
    def test_attributes_may_come_as_headers(self, account: Account, path: str) -> None:
        headers = {
            "ce-specversion": "1.0",
            "ce-id": "00001",
            "ce-source": "/gateway/eu",
            "ce-type": "tokens",
            "ce-subject": "acme%2Falice",
            "ce-time": "2026-03-14T09:30:00.5+01:00",
        }
        response = post(path, FULL, "application/json", **headers)
        assert response.status_code == 201, response.content
        assert describe(UsageEvent.objects.get()) == EXPECTED
        wrong = problem(
            post(path, {"quantity": "x"}, "application/json", **{**headers, "ce-time": "soon"}), "validation_failed"
        )
        assert findings(wrong) == [("/time", "invalid")]
        problem(post(path, b"{", "application/json", **headers), "malformed_body", 400)
        problem(post(path, FULL, "application/json", **{**headers, "ce-id": "a%00b"}), "malformed_body", 400)

    @pytest.mark.parametrize("text", ["0.1", "0.123456789012", "12345678901234567890123456.5"])
    @pytest.mark.parametrize("word", ["quantity", "value"])
    def test_numbers_are_taken_exactly(self, account: Account, text: str, word: str) -> None:
        body = json.dumps(event(data={})).replace('"data": {}', f'"data": {{"{word}": {text}}}')
        assert post(TENANT, body.encode(), ONE).json()["quantity"] == text

    def test_data_may_name_the_meter(self, account: Account) -> None:
        body = event(type="com.example.llm.completion", data={"meter": "tokens", "quantity": 3})
        assert post(TENANT, body, ONE).json()["metric_type"] == "tokens"

    def test_an_event_on_a_counting_meter_needs_no_data(self, account: Account) -> None:
        make_meter("users", aggregation="unique")
        events = [
            event(id="1", type="requests", data=None),
            event(id="2", type="requests", data={"route": "/hello"}),
            event(id="3", type="users", data={"actor_id": "ada"}),
            {**event(id="4", type="requests"), "data": None},
        ]
        assert post(BATCH, events, MANY).json()["created"] == 4
        assert {row.value for row in UsageEvent.objects.all()} == {Decimal(1)}
        events = [event(id="5", type="requests", data={}), event(id="6", data={"route": "/"}), event(id="7", type="no")]
        refused = problem(post(BATCH, [*events[:2], {**events[2], "data": {}}], MANY), "validation_failed")
        assert findings(refused) == [("/1/data/quantity", "required"), ("/2/type", "meter_not_found")]

    def test_the_time_is_now_where_there_is_none(self, account: Account) -> None:
        assert post(TENANT, event(time=None), ONE).json()["timestamp"] == "2026-03-15T12:00:00Z"

    def test_source_and_id_make_the_key_together(self, account: Account) -> None:
        events = [event(), event(source="/gateway/us"), event(id="00002"), event()]
        body = post(BATCH, events, MANY).json()
        assert (body["created"], body["duplicates"]) == (3, 1)

    def test_no_two_pairs_make_one_key(self) -> None:
        pairs = [
            ("a", "b c"),
            ("a", "b"),
            ("ab", "c"),
            ("a", "bc"),
            ("a", "b c "),
            ("a#b", "c"),
            ("a", "#b c"),
            ("a", " b"),
        ]
        assert len({make_key(*pair) for pair in pairs}) == len(pairs)
        assert make_key("s", "i" * 253) == "s " + "i" * 253  # 255 characters
        long = make_key("s", "i" * 254)
        assert (len(long), long != make_key("s", "i" * 255)) == (len("sha256:") + 64, True)

    def test_a_batch_takes_no_more_queries_than_our_own_form(self, account: Account) -> None:
        counted = []
        for count in (1, 300):
            with CaptureQueriesContext(connection) as queries:
                post(BATCH, [event(id=f"{count}-{number}") for number in range(count)], MANY)
            counted.append(len(queries))
        with CaptureQueriesContext(connection) as queries:
            own = [{"metric_type": "tokens", "quantity": 1, "idempotency_key": f"k{number}"} for number in range(300)]
            post(BATCH, own, "application/json")
        assert counted == [len(queries)] * 2

    def test_subjects_choose_among_accounts(self, account: Account) -> None:
        make_account("acme/bob", org_id="acme")
        body = post(EVENTS, [event(subject=account.public_id), event(subject="ACME/Bob")], MANY).json()
        assert (body["count"], body["created"], body["duplicates"]) == (2, 2, 0)
        assert {row.account.external_id for row in UsageEvent.objects.all()} == {"acme/alice", "acme/bob"}


class TestRefusals:
    @pytest.mark.parametrize(
        ("values", "found"),
        [
            ({"specversion": "0.3"}, [("/specversion", "invalid")]),
            ({"id": None}, [("/id", "required")]),
            ({"id": "", "type": ""}, [("/id", "blank"), ("/type", "blank")]),
            ({"source": "two words"}, [("/source", "invalid")]),
            ({"time": "2026-03-14T09:30:00"}, [("/time", "invalid")]),
            ({"time": "2026-03-15T12:05:01Z"}, [("/time", "in_future")]),
            ({"data": [1]}, [("/data", "invalid")]),
            ({"data": '{"quantity": 1}'}, [("/data", "invalid")]),
            ({"data": {"quantity": "x", "unit": 5}}, [("/data/quantity", "invalid"), ("/data/unit", "invalid")]),
            ({"data": {"quantity": "-1"}}, [("/data/quantity", "min_value")]),
            ({"data": {"quantity": 1, "value": 2}}, [("/data/value", "ambiguous")]),
            ({"data": {"quantity": 1, "unit": "bytes"}}, [("/data/unit", "unit_not_convertible")]),
            ({"data": {"quantity": 1, "cost_center": "ops"}}, [("/data/cost_center", "unknown_cost_center")]),
            ({"data": {}}, [("/data/quantity", "required")]),
            ({"data": {"quantity": 1, "big": "x" * 20_000}}, [("/data", "too_large")]),
            ({"data": None, "data_base64": "eA=="}, [("/data_base64", "invalid")]),
            ({"datacontenttype": "text/xml"}, [("/datacontenttype", "invalid")]),
            ({"subject": "acme/bob"}, [("/subject", "account_ambiguous")]),
        ],
    )
    def test_name_the_attribute(self, account: Account, values: dict[str, Any], found: list[tuple[str, str]]) -> None:
        refused = problem(post(TENANT, event(**values), ONE), "validation_failed", 400)
        assert findings(refused) == found
        assert not UsageEvent.objects.exists()

    def test_a_number_out_of_range_is_named_and_not_dropped(self, account: Account) -> None:
        body = json.dumps(event(data={"quantity": 1, "big": 7})).replace("7}", "1e400}")
        assert findings(problem(post(TENANT, body.encode(), ONE), "validation_failed", 400)) == [("/data", "invalid")]

    def test_name_every_bad_event_and_store_nothing(self, account: Account) -> None:
        events = [
            event(),
            event(id="2", type="nope"),
            7,
            event(id="3", time="soon", data={"quantity": "y"}),
            event(id="4", data={"quantity": "-2"}),
        ]
        body = problem(post(BATCH, events, MANY), "validation_failed", 400)
        assert findings(body) == [
            ("/1/type", "meter_not_found"),
            ("/2", "invalid"),
            ("/3/time", "invalid"),
            ("/4/data/quantity", "min_value"),
        ]
        assert not UsageEvent.objects.exists()
        kept = RejectedUsageRequest.objects.get()
        assert [entry["index"] for entry in kept.findings] == [1, 2, 3, 4]
        assert kept.account == account

    def test_subjects_that_lead_nowhere(self, account: Account) -> None:
        body = problem(post(EVENTS, [event(), event(subject="nobody"), event(subject=None)], MANY), "validation_failed")
        assert findings(body) == [("/1/subject", "not_found"), ("/2/subject", "required")]

    def test_an_unknown_meter_alone_is_not_found(self, account: Account) -> None:
        assert findings(problem(post(TENANT, event(type="nope"), ONE), "meter_not_found", 404)) == [
            ("/type", "meter_not_found")
        ]

    @pytest.mark.parametrize("path", [BATCH, EVENTS])
    @pytest.mark.parametrize(("body", "found"), [(b"[]", [("", "empty")]), (b"{}", [("", "invalid")])])
    def test_a_batch_is_a_list_with_events(
        self, account: Account, path: str, body: bytes, found: list[tuple[str, str]]
    ) -> None:
        assert findings(problem(post(path, body, MANY), "validation_failed", 400)) == found

    @pytest.mark.parametrize("kind", [ONE, MANY])
    @pytest.mark.parametrize("body", [b"", b"{", b'{"id": "\\u0000"}', b"[" * 100_000])
    def test_what_is_no_json(self, account: Account, kind: str, body: bytes) -> None:
        problem(post(BATCH, body, kind), "malformed_body", 400)

    def test_the_door_for_one_takes_no_batch(self, account: Account) -> None:
        problem(post(TENANT, [event()], MANY), "unsupported_media_type", 415)

    def test_the_same_body_in_another_form_is_another_request(self, account: Account) -> None:
        problem(post(BATCH, [event()], "application/json", **{"Idempotency-Key": "k"}), "validation_failed")
        problem(post(BATCH, [event()], MANY, **{"Idempotency-Key": "k"}), "idempotency_key_reused", 422)


class TestDocumentation:
    def test_its_examples_work(self, account: Account) -> None:
        make_meter("api")
        text = (Path(settings.BASE_DIR) / "docs" / "usage-import.md").read_text(encoding="utf-8")
        section = text.partition("## CloudEvents")[2].partition("## Limits")[0]
        commands = re.findall(r"^curl (.*?)(?=^curl |^#|^```)", section, flags=re.DOTALL | re.MULTILINE)
        assert len(commands) == 3
        for command in commands:
            words = shlex.split(command)
            options = list(itertools.pairwise(words))
            headers = dict(value.split(": ", 1) for option, value in options if option == "-H")
            address = next(word for word in words if word.startswith("$BILLING")).removeprefix("$BILLING")
            body = next(value for option, value in options if option == "--data")
            kind = headers.pop("Content-Type")
            del headers["Authorization"]
            assert post(address, body.encode(), kind, **headers).status_code == 201, command
        assert sorted(UsageEvent.objects.values_list("idempotency_key", flat=True)) == [
            f"/gateway/eu 0000{number}" for number in (1, 2, 3, 4)
        ]
