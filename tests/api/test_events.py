"""`GET /api/v1/billing/events`: what happened to the accounts a caller may see."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import transaction

from accounts.models import Account, Member, MemberRole
from billing_site.kernel.ids import new_uuid
from billing_site.platform.models import Event
from billing_site.platform.services import events
from tests.factories.platform import AT, make_new_event
from tests.support.api import make_client
from tests.support.problems import findings, problem

pytestmark = [pytest.mark.urls("tests.api.probe"), pytest.mark.django_db]
URL = "/api/v1/billing/events"


@dataclass
class Books:
    """Two accounts of two organizations, each with an event, and an event of no account."""

    alice: Account
    bob: Account
    of_alice: Event
    of_bob: Event
    of_nobody: Event


@pytest.fixture
def books() -> Books:
    alice = Account.objects.create(external_id="acme/alice", org_id="acme", name="Alice")
    bob = Account.objects.create(external_id="beta/bob", org_id="beta", name="Bob")
    Member.objects.create(
        account=alice, user_id="alice", email="alice@example.org", role=MemberRole.MEMBER, added_at=AT
    )
    with transaction.atomic():
        made = events.emit_many(
            [
                make_new_event(alice.pk, "invoice.voided", data={"total": 5}, previous={"status": "open"}),
                make_new_event(bob.pk, "invoice.paid"),
                make_new_event(None, "catalog.published"),
            ]
        )
    return Books(alice, bob, *made)


def types(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [item["type"] for item in response.json()["items"]]


class TestList:
    def test_shape(self, books: Books) -> None:
        item = make_client().get(URL, {"account": "acme/alice"}).json()["items"][0]
        assert item == {
            "id": books.of_alice.public_id,
            "type": "invoice.voided",
            "object_type": "widget",
            "object_id": books.of_alice.object_id,
            "account_id": books.alice.public_id,
            "data": {"total": 5},
            "previous_data": {"status": "open"},
            "pending": False,
            "livemode": False,
            "created_at": "2026-03-01T12:30:15.123456Z",
        }

    def test_internal_caller_sees_all_newest_first(self, books: Books) -> None:
        assert types(make_client().get(URL)) == ["catalog.published", "invoice.paid", "invoice.voided"]

    def test_organization_limits_the_list(self, books: Books) -> None:
        assert types(make_client(org="beta").get(URL)) == ["invoice.paid"]
        problem(make_client(org="beta").get(URL, {"account": "acme/alice"}), "not_found", 404)

    def test_public_caller_sees_its_own_account(self, books: Books) -> None:
        assert types(make_client("public", "alice").get(URL)) == ["invoice.voided"]
        problem(make_client("public", "alice").get(URL, {"account": "beta/bob"}), "account_forbidden", 403)

    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            ("invoice.paid", ["invoice.paid"]),
            ("invoice.*", ["invoice.paid", "invoice.voided"]),
            ("invoice", []),
            ("inv%", []),
            ("invoice.p_id.*", []),
        ],
    )
    def test_type_exact_or_prefix(self, books: Books, kind: str, expected: list[str]) -> None:
        assert types(make_client().get(URL, {"type": kind})) == expected

    def test_object(self, books: Books) -> None:
        assert types(make_client().get(URL, {"objectId": books.of_bob.object_id})) == ["invoice.paid"]

    def test_period_is_half_open_and_an_end_date_is_inclusive(self, books: Books) -> None:
        later = datetime(2026, 3, 2, tzinfo=UTC)
        with transaction.atomic():
            events.emit_many([make_new_event(None, "later", at=later)])
        assert types(make_client().get(URL, {"start": "2026-03-02"})) == ["later"]
        assert "later" not in types(make_client().get(URL, {"end": "2026-03-01"}))
        assert types(make_client().get(URL, {"end": AT.isoformat()})) == []

    def test_wrong_period(self, books: Books) -> None:
        problem(make_client().get(URL, {"start": "2026-03-02", "end": "2026-03-01"}), "period_invalid", 400)
        body = problem(make_client().get(URL, {"start": "soon"}), "validation_failed", 400)
        assert findings(body) == [("start", "invalid")]

    def test_at_most_a_hundred(self, books: Books) -> None:
        assert findings(problem(make_client().get(URL, {"limit": 101}), "validation_failed")) == [("limit", "invalid")]

    def test_keys_inside_snapshots_are_never_renamed(self, books: Books) -> None:
        with transaction.atomic():
            events.emit_many([make_new_event(None, data={"some_key": {"otherKey": 1}}, previous={"a_b": 1})])
        item = make_client().get(URL, headers={"Accept": "application/vnd.billing.camel+json"}).json()["items"][0]
        assert item["data"] == {"some_key": {"otherKey": 1}}
        assert item["previousData"] == {"a_b": 1}


class TestRetrieve:
    def test_visible(self, books: Books) -> None:
        assert make_client().get(f"{URL}/{books.of_nobody.public_id}").json()["account_id"] is None
        assert make_client("public", "alice").get(f"{URL}/{books.of_alice.public_id}").status_code == 200

    def test_unknown_and_invisible_look_the_same(self, books: Books) -> None:
        unknown = Event(id=new_uuid()).public_id
        for client, key in [
            (make_client(), unknown),
            (make_client(), str(uuid.uuid4())),
            (make_client(), "nonsense"),
            (make_client("public", "alice"), books.of_bob.public_id),
            (make_client("public", "alice"), books.of_nobody.public_id),
            (make_client(org="beta"), books.of_alice.public_id),
            (make_client(org="beta"), books.of_nobody.public_id),
        ]:
            assert problem(client.get(f"{URL}/{key}"), "not_found", 404)["object_type"] == "billing_event"
