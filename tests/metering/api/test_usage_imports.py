"""Usage files over HTTP: handed in as the body, followed, called off."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

import pytest

from accounts.models import Account
from billing_site.kernel import clock
from metering.models import UsageEvent, UsageImport
from metering.tasks import work_usage_import
from tests.factories.metering import AT, make_account, make_meter
from tests.support.api import make_client
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db
PATH: Final = "/api/internal/billing/usage-imports"
CSV: Final = "text/csv"
CONTENT: Final = "timestamp,service,quantity\n2026-03-01,api,1\n2026-03-02,api,2\n"


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


@pytest.fixture(autouse=True)
def account() -> Account:
    make_meter("api")
    return make_account("acme/alice", org_id="acme")


def send(content: str | bytes, query: str = "?account=acme/alice", kind: str = CSV, **headers: str) -> Any:
    client: Any = make_client(org=headers.pop("org", None))
    raw = content.encode() if isinstance(content, str) else content
    return client.generic("POST", f"{PATH}{query}", raw, content_type=kind, headers=headers)


def work(shown: dict[str, Any]) -> dict[str, Any]:
    key = UsageImport.parse_id(shown["id"])
    work_usage_import(str(key))
    answer: dict[str, Any] = make_client().get(f"{PATH}/{shown['id']}").json()
    return answer


class TestCreate:
    def test_takes_a_file_in_and_writes_it_in_the_background(self, account: Account) -> None:
        response = send(CONTENT, "?account=ACME/alice&file_name=march.csv&reason=moved%20here")
        assert response.status_code == 201, response.content
        body = response.json()
        assert body == {
            "id": UsageImport.objects.get().public_id,
            "status": "pending",
            "phase": "check",
            "file_name": "march.csv",
            "file_format": "csv",
            "file_hash": hashlib.sha256(CONTENT.encode()).hexdigest(),
            "size_bytes": len(CONTENT),
            "account_id": account.public_id,
            "check_only": False,
            "lines_total": None,
            "lines_done": 0,
            "created": 0,
            "duplicates": 0,
            "counted_before": False,
            "error_count": 0,
            "error_code": None,
            "error_detail": "",
            "requested_by": "token:svc",
            "reason": "moved here",
            "requested_at": "2026-03-15T12:00:00Z",
            "started_at": None,
            "finished_at": None,
            "earlier_import_id": None,
        }
        done = work(body)
        assert (done["status"], done["lines_total"], done["created"]) == ("succeeded", 2, 2)
        again = send(CONTENT).json()
        assert again["earlier_import_id"] == body["id"]
        repeated = work(again)
        assert (repeated["created"], repeated["duplicates"], repeated["counted_before"]) == (0, 2, True)

    def test_takes_json_lines(self) -> None:
        body = send('{"account": "acme/alice", "service": "api", "quantity": 1}\n', "", "application/x-ndjson").json()
        assert (body["file_name"], body["file_format"]) == ("usage.jsonl", "jsonl")
        assert work(body)["created"] == 1

    def test_only_checks_where_that_is_asked(self) -> None:
        done = work(send(CONTENT, "?account=acme/alice&check_only=true").json())
        assert (done["status"], done["lines_total"], done["created"], done["counted_before"]) == (
            "succeeded",
            2,
            0,
            False,
        )
        assert not UsageEvent.objects.exists()

    def test_a_keyed_repeat_answers_the_first_and_another_content_is_refused(self) -> None:
        answers = [send(CONTENT, **{"Idempotency-Key": "k"}).json()["id"] for _ in range(2)]
        assert len(set(answers)) == UsageImport.objects.count() == 1
        changed = send(CONTENT.replace("2\n", "3\n"), **{"Idempotency-Key": "k"})
        problem(changed, "idempotency_key_reused", 422)

    @pytest.mark.parametrize(
        ("content", "query", "kind", "code", "status"),
        [
            ("", "?account=acme/alice", CSV, "usage_file_invalid", 400),
            ("service\n", "?account=acme/alice", CSV, "usage_file_invalid", 400),
            (CONTENT, "?account=acme/alice&file_name=a.xlsx", CSV, "usage_file_invalid", 400),
            (CONTENT, "", CSV, "account_required", 400),
            (CONTENT, "?account=nobody", CSV, "not_found", 404),
            (CONTENT, "?account=acme/alice&check_only=maybe", CSV, "validation_failed", 400),
            (CONTENT, "?account=acme/alice", "application/json", "unsupported_media_type", 415),
        ],
    )
    def test_refuses_what_it_cannot_take(self, content: str, query: str, kind: str, code: str, status: int) -> None:
        problem(send(content, query, kind), code, status)
        assert not UsageImport.objects.exists()

    def test_refuses_a_file_one_byte_too_large(self, settings: Any) -> None:
        settings.BILLING_USAGE_IMPORT_MAX_BYTES = len(CONTENT) - 1
        assert findings(problem(send(CONTENT), "validation_failed", 400)) == [("", "body_too_large")]
        settings.BILLING_USAGE_IMPORT_MAX_BYTES = len(CONTENT)
        assert send(CONTENT).status_code == 201

    def test_an_organization_sees_and_names_its_own(self) -> None:
        make_account("globex/bob", org_id="globex")
        problem(send(CONTENT, "?account=globex/bob", org="acme"), "not_found", 404)
        lines = "account,service,quantity\nacme/alice,api,1\nglobex/bob,api,1\n"
        own = send(lines, "", org="acme").json()
        assert work(own)["error_count"] == 1
        other = make_client(org="globex")
        assert other.get(PATH).json()["items"] == []
        problem(other.get(f"{PATH}/{own['id']}"), "not_found", 404)
        problem(other.post(f"{PATH}/{own['id']}/cancel"), "not_found", 404)


class TestFollowing:
    def test_errors_come_in_pages_in_the_order_of_the_file(self) -> None:
        content = "service,quantity\n" + "api,1\nnope,x\nnope,1\n" * 2
        done = work(send(content).json())
        assert (done["status"], done["error_code"], done["error_count"]) == ("failed", "lines_invalid", 4)
        client = make_client()
        first = client.get(f"{PATH}/{done['id']}/errors?limit=3").json()
        second = client.get(f"{PATH}/{done['id']}/errors?limit=3&cursor={first['next_cursor']}").json()
        found = [(error["line"], error["column"], error["code"]) for error in first["items"] + second["items"]]
        assert found == [
            (3, "quantity", "invalid"),
            (4, "service", "meter_not_found"),
            (6, "quantity", "invalid"),
            (7, "service", "meter_not_found"),
        ]

    def test_lists_by_status(self) -> None:
        first, second = send(CONTENT).json(), send(CONTENT.replace("2\n", "3\n")).json()
        work(first)
        client = make_client()
        assert [item["id"] for item in client.get(PATH).json()["items"]] == [second["id"], first["id"]]
        assert [item["id"] for item in client.get(f"{PATH}?status=succeeded").json()["items"]] == [first["id"]]
        problem(client.get(f"{PATH}?status=odd"), "validation_failed", 400)

    def test_canceling(self) -> None:
        body = send(CONTENT).json()
        client: Any = make_client()
        answer = client.post(f"{PATH}/{body['id']}/cancel", {}, **{"HTTP_IDEMPOTENCY_KEY": "k"})
        assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
        problem(client.generic("POST", f"{PATH}/{body['id']}/cancel"), "usage_import_finished", 409)
        problem(client.generic("POST", f"{PATH}/uim_nothing/cancel"), "not_found", 404)
        assert work(body)["status"] == "canceled"
        assert not UsageEvent.objects.exists()
