"""Usage events one by one over HTTP: found, inspected, voided, amended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Account
from billing_site.kernel import clock
from metering.models import RejectedUsageRequest, UsageCorrection, UsageEvent
from tests.factories.cost_centers import make_cost_center
from tests.factories.metering import AT, make_account, make_meter, make_subscription, record
from tests.factories.quotas import make_quota
from tests.support.api import BillingClient, make_client
from tests.support.problems import problem

pytestmark = pytest.mark.django_db
RECORDS = "/api/internal/billing/usage-records"


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT + timedelta(hours=1)):
        yield


@pytest.fixture
def client() -> BillingClient:
    return make_client()


@pytest.fixture
def account() -> Account:
    account = make_account("acme", name="Acme")
    make_subscription(account, {make_meter("tokens", unit="tokens", dimensions=["model"]): "1"})
    return account


def public_id(recorded: Any) -> str:
    return UsageEvent(id=recorded.row.id).public_id


def find(client: BillingClient, **query: str) -> list[str]:
    response = client.get(RECORDS, query)
    assert response.status_code == 200, response.content
    return [item["idempotency_key"] for item in response.json()["items"]]


class TestFind:
    @pytest.fixture(autouse=True)
    def events(self, account: Account) -> None:
        make_meter("calls")
        make_cost_center(account, "ops")
        record(account, "tokens", 1, idempotency_key="a", dimensions={"model": "large"}, resource_id="r1")
        record(account, "tokens", 2, idempotency_key="b", at=AT - timedelta(days=1), actor_id="ann")
        record(account, "calls", 3, idempotency_key="c", at=AT - timedelta(days=2), cost_center="ops")
        record(make_account("other"), "tokens", 4, idempotency_key="a")

    @pytest.mark.parametrize(
        ("query", "keys"),
        [
            ({}, ["a", "b", "c"]),
            ({"meter": "tokens"}, ["a", "b"]),
            ({"dimension": "model:large"}, ["a"]),
            ({"dimension": "model:none"}, []),
            ({"resource_id": "r1"}, ["a"]),
            ({"actor_id": "ann"}, ["b"]),
            ({"cost_center": "ops"}, ["c"]),
            ({"start": "2026-03-14", "end": "2026-03-14"}, ["b"]),
            ({"key": "a"}, ["a"]),
        ],
    )
    def test_within_an_account(self, client: BillingClient, query: dict[str, str], keys: list[str]) -> None:
        assert find(client, account="acme", **query) == keys

    def test_by_key_in_all_accounts(self, client: BillingClient) -> None:
        found = client.get(RECORDS, {"key": "a"}).json()
        assert sorted(item["quantity"] for item in found["items"]) == ["1", "4"]
        assert found["next_cursor"] is None

    def test_by_id(self, client: BillingClient, account: Account) -> None:
        event = UsageEvent.objects.get(idempotency_key="b")
        assert find(client, id=event.public_id) == ["b"]
        assert find(client, id=event.public_id, account="acme") == ["b"]

    def test_comes_in_pages(self, client: BillingClient) -> None:
        first = client.get(RECORDS, {"account": "acme", "limit": "2"}).json()
        assert [item["idempotency_key"] for item in first["items"]] == ["a", "b"]
        rest = client.get(RECORDS, {"account": "acme", "limit": "2", "cursor": first["next_cursor"]}).json()
        assert [item["idempotency_key"] for item in rest["items"]] == ["c"]

    @pytest.mark.parametrize(
        ("query", "code", "status"),
        [
            ({}, "account_required", 400),
            ({"account": "nobody"}, "not_found", 404),
            ({"account": "acme", "meter": "nothing"}, "meter_not_found", 404),
            ({"account": "acme", "dimension": "large"}, "validation_failed", 400),
            ({"account": "acme", "cost_center": "x"}, "not_found", 404),
            ({"account": "acme", "start": "2026-03-02", "end": "2026-03-01T00:00:00Z"}, "period_invalid", 400),
            ({"id": "evu_nonsense"}, "not_found", 404),
        ],
    )
    def test_says_what_is_wrong(self, client: BillingClient, query: dict[str, str], status: int, code: str) -> None:
        problem(client.get(RECORDS, query), code, status)

    def test_an_organization_sees_its_own(self, account: Account) -> None:
        event = UsageEvent.objects.get(idempotency_key="b")
        other = make_client(org="elsewhere")
        problem(other.get(f"{RECORDS}/{event.public_id}"), "not_found", 404)
        assert find(other, key="b") == []
        assert find(make_client(org="default"), key="b") == ["b"]

    def test_is_not_for_the_public(self) -> None:
        problem(make_client("public").get(RECORDS), "audience_rejected", 403)


class TestInspect:
    def test_says_what_became_of_it(self, client: BillingClient, account: Account) -> None:
        quota = make_quota(account, "tokens", 100, "day")
        recorded = record(account, "tokens", "7.5", idempotency_key="k", dimensions={"model": "large"})
        record(account, "tokens", 2, at=AT - timedelta(hours=2))
        refusal = RejectedUsageRequest.objects.create(
            rejected_at=AT,
            door="usage_record",
            account=account,
            caller="internal:svc",
            request_id="q",
            http_status=400,
            code="validation_failed",
            codes=["validation_failed"],
            excerpt=[{"index": 0, "content": '{"idempotency_key": "k", "quantity": "-1"}'}],
        )
        RejectedUsageRequest.objects.create(
            rejected_at=AT,
            door="usage_record",
            account=account,
            caller="internal:svc",
            request_id="q2",
            http_status=400,
            code="validation_failed",
            codes=[],
            excerpt=[{"index": 0, "content": '{"idempotency_key": "k2"}'}],
        )
        found = client.get(f"{RECORDS}/{public_id(recorded)}").json()
        assert found["event"]["quantity"] == "7.5"
        assert found["event"]["dimensions"] == {"model": "large"}
        assert found["counted"] is True
        assert [(bucket["span"], bucket["quantity"], bucket["event_count"]) for bucket in found["buckets"]] == [
            ("hour", "7.5", 1),
            ("day", "9.5", 2),
        ]
        [use] = found["quotas"]
        assert (use["id"], use["used"], use["limit"], use["percent"]) == (quota.public_id, "9.5", "100", 9)
        assert found["billing"]["state"] == "next_invoice"
        assert found["billing"]["due_at"] is None
        assert found["rejected_request_ids"] == [refusal.public_id]
        assert found["correction"] is None

    def test_of_another_kind_of_id_is_not_found(self, client: BillingClient, account: Account) -> None:
        problem(client.get(f"{RECORDS}/{account.public_id}"), "not_found", 404)


class TestCorrect:
    def test_voids_once(self, client: BillingClient, account: Account) -> None:
        recorded = record(account, "tokens", 7)
        url = f"{RECORDS}/{public_id(recorded)}"
        answer = client.post(f"{url}/void", {"reason": "Sent twice"})
        assert answer.status_code == 201
        shown = answer.json()
        assert shown["correction"]["reason"] == "Sent twice"
        assert (shown["correction"]["quantity"], shown["correction"]["replacement_quantity"]) == ("7", None)
        assert shown["billing"]["state"] == "next_invoice"
        problem(client.post(f"{url}/void", {"reason": "Again"}), "usage_event_already_corrected", 409)
        after = client.get(url).json()
        assert (after["counted"], after["buckets"][1]["quantity"]) == (False, "0")
        assert after["correction"]["id"] == shown["correction"]["id"]
        taking = client.get(f"{RECORDS}/{shown['correction']['void_id']}").json()
        assert (taking["event"]["weight"], taking["event"]["quantity"]) == (-1, "-7")
        assert taking["event"]["corrects"] == public_id(recorded)
        problem(
            client.post(f"{RECORDS}/{shown['correction']['void_id']}/void", {"reason": "Back again"}),
            "usage_event_not_correctable",
            409,
        )

    def test_a_repeated_request_answers_the_first(self, client: BillingClient, account: Account) -> None:
        url = f"{RECORDS}/{public_id(record(account, 'tokens', 7))}/void"
        answers = [client.post(url, {"reason": "Sent twice"}, HTTP_IDEMPOTENCY_KEY="one") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 201]
        assert answers[0].json() == answers[1].json()
        assert UsageCorrection.objects.count() == 1

    def test_amends(self, client: BillingClient, account: Account) -> None:
        recorded = record(account, "tokens", 7)
        url = f"{RECORDS}/{public_id(recorded)}"
        answer = client.post(f"{url}/amend", {"reason": "Wrong unit", "quantity": "0.7", "idempotency_key": "again"})
        assert answer.status_code == 201
        new = client.get(f"{RECORDS}/{answer.json()['correction']['replacement_id']}").json()
        assert (new["event"]["quantity"], new["event"]["idempotency_key"], new["counted"]) == ("0.7", "again", True)
        assert new["buckets"][0]["quantity"] == "0.7"

    @pytest.mark.parametrize(
        ("action", "body", "code", "status"),
        [
            ("void", {}, "validation_failed", 400),
            ("amend", {"reason": "Wrong unit"}, "validation_failed", 400),
            ("amend", {"reason": "Wrong unit", "quantity": "-1"}, "validation_failed", 400),
            ("amend", {"reason": "Wrong unit", "quantity": "7"}, "usage_event_not_correctable", 409),
            ("amend", {"reason": "Wrong", "quantity": "1", "idempotency_key": "taken"}, "usage_key_taken", 409),
        ],
    )
    def test_writes_nothing_when_refused(
        self, client: BillingClient, account: Account, action: str, body: dict[str, str], status: int, code: str
    ) -> None:
        recorded = record(account, "tokens", 7)
        record(account, "tokens", 1, idempotency_key="taken")
        problem(client.post(f"{RECORDS}/{public_id(recorded)}/{action}", body), code, status)
        assert UsageEvent.objects.count() == 2
        assert not UsageCorrection.objects.exists()

    def test_needs_the_scope_for_money(self, account: Account) -> None:
        client = make_client(scopes=["billing:read", "billing:usage:write"])
        url = f"{RECORDS}/{public_id(record(account, 'tokens', 7))}"
        problem(client.post(f"{url}/void", {"reason": "Sent twice"}), "scope_missing", 403)
        assert client.get(url).status_code == 200
