"""The account and member doors, with real requests."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import Account, Member
from billing_site.kernel.ids import encode_id, new_uuid
from billing_site.platform.models import Event
from tests.factories.accounts import make_account, make_entry, make_member, publish_catalog
from tests.support.api import make_client
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db

ACCOUNTS = "/api/v1/billing/accounts"
FIELDS = {
    "id", "external_id", "org_id", "org_name", "name", "email", "phone", "company", "address", "tax_id", "currency",
    "timezone", "language", "tier", "status", "split_by_cost_center", "grace_hours", "billing_threshold",
    "invoice_grouping",
    "metadata", "created_at", "updated_at",
}  # fmt: skip


class TestCreate:
    def test_by_a_service_answers_the_whole_account(self) -> None:
        response = make_client().post(
            ACCOUNTS,
            {
                "name": "Acme",
                "external_id": "acme/shop",
                "email": "billing@acme.example",
                "address": {"line1": "1 Main St", "country": "us"},
                "currency": "EUR",
                "metadata": {"crmId": 7},
                "owner_user_id": "alice",
                "timezone": "Europe/Berlin",
                "language": "de_at",
            },
        )
        assert response.status_code == 201
        body = response.json()
        assert body.keys() == FIELDS
        assert body["language"] == "de-AT"
        assert (body["org_id"], body["currency"], body["address"]["country"]) == ("acme", "eur", "US")
        assert body["metadata"] == {"crmId": 7}
        account = Account.objects.get()
        assert account.public_id == body["id"]
        assert Member.objects.get().user_id == "alice"
        assert Event.objects.get().actor_id == "svc"

    def test_by_a_person_makes_them_the_owner(self) -> None:
        body = make_client("public", "alice").post(ACCOUNTS, {"name": "Alice"}).json()
        assert (body["external_id"], body["role"]) == ("alice", "owner")

    def test_starts_the_free_default_plan(self) -> None:
        publish_catalog()
        account_id = make_client().post(ACCOUNTS, {"name": "Acme"}).json()["id"]
        shown = make_client().get(f"/api/v1/billing/tenants/{account_id}/subscription").json()
        assert (shown["plan_id"], shown["status"], shown["plan"]["price"]) == ("free", "active", 0)

    def test_speaks_camel_case(self) -> None:
        response = make_client().generic(
            "POST",
            ACCOUNTS,
            '{"name": "Acme", "externalId": "acme", "address": {"postalCode": "10115"}, "metadata": {"a_b": 1}}',
            content_type="application/vnd.billing.camel+json",
            headers={"Accept": "application/vnd.billing.camel+json"},
        )
        body = response.json()
        assert (body["externalId"], body["address"]["postalCode"], body["metadata"]) == ("acme", "10115", {"a_b": 1})

    @pytest.mark.parametrize(
        ("body", "code", "pointers"),
        [
            ({}, "validation_failed", ["/name"]),
            ({"name": "x", "currency": "xyz"}, "currency_unsupported", ["/currency"]),
            ({"name": "x", "email": "nobody"}, "validation_failed", ["/email"]),
            ({"name": "x", "nmae": "y"}, "validation_failed", ["/nmae"]),
            ({"name": "x", "address": {"street": "y"}}, "validation_failed", ["/address/street"]),
            ({"name": "x", "address": {"country": "QQ"}}, "validation_failed", ["/address/country"]),
            ({"name": "x", "timezone": "Mars/Base"}, "validation_failed", ["/timezone"]),
            ({"name": "x", "language": "klingon"}, "validation_failed", ["/language"]),
            ({"name": "x", "metadata": []}, "validation_failed", ["/metadata"]),
            ([], "validation_failed", [""]),
        ],
    )
    def test_refuses_and_writes_nothing(self, body: Any, code: str, pointers: list[str]) -> None:
        shown = problem(make_client().post(ACCOUNTS, body), code, 400)
        assert [pointer for pointer, _ in findings(shown)] == pointers
        assert not Account.objects.exists()
        assert not Event.objects.exists()

    def test_refuses_a_handle_in_use(self) -> None:
        make_account("acme")
        problem(make_client().post(ACCOUNTS, {"name": "x", "external_id": "ACME"}), "external_id_taken", 409)
        assert Account.objects.count() == 1

    @pytest.mark.parametrize("extra", [{"owner_user_id": "bob"}, {"external_id": "acme/bob"}, {"org_id": "acme"}])
    def test_gives_people_nothing_of_others(self, extra: dict[str, str]) -> None:
        problem(make_client("public", "alice").post(ACCOUNTS, {"name": "x", **extra}), "validation_failed", 400)
        assert not Account.objects.exists()

    def test_stays_in_the_organization_of_the_token(self) -> None:
        client = make_client(org="acme")
        assert client.post(ACCOUNTS, {"name": "x"}).json()["org_id"] == "acme"
        problem(client.post(ACCOUNTS, {"name": "x", "org_id": "globex"}), "validation_failed", 400)

    def test_happens_once_per_key(self) -> None:
        client = make_client()
        first = client.post(ACCOUNTS, {"name": "x"}, headers={"Idempotency-Key": "k"})
        again = client.post(ACCOUNTS, {"name": "x"}, headers={"Idempotency-Key": "k"})
        assert (again.status_code, again.json()) == (201, first.json())
        assert again.headers["Idempotent-Replayed"] == "true"
        assert Account.objects.count() == 1


class TestList:
    def test_shows_people_their_memberships_and_role(self) -> None:
        mine = make_account("alice")
        other = make_account("bob")
        make_member(other, "alice", "member")
        make_account("carol")
        items = make_client("public", "alice").get(ACCOUNTS).json()["items"]
        assert [(item["id"], item["role"]) for item in items] == [
            (other.public_id, "member"),
            (mine.public_id, "owner"),
        ]

    def test_shows_services_all_or_their_organization(self) -> None:
        acme, globex = make_account("acme/a"), make_account("globex/b")
        everything = make_client().get(ACCOUNTS).json()["items"]
        assert [item["id"] for item in everything] == [globex.public_id, acme.public_id]
        assert "role" not in everything[0]
        limited = make_client(org="acme").get(ACCOUNTS).json()["items"]
        assert [item["id"] for item in limited] == [acme.public_id]

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({"external_id": "ACME/a"}, ["acme/a"]),
            ({"externalId": "acme/a"}, ["acme/a"]),
            ({"org_id": "acme"}, ["acme/b", "acme/a"]),
            ({"email": "B@acme.example"}, ["acme/b"]),
            ({"status": "closed"}, []),
            ({"external_id": "acme"}, []),
        ],
    )
    def test_filters(self, query: dict[str, str], expected: list[str]) -> None:
        make_account("acme/a", email="a@acme.example")
        make_account("acme/b", email="b@acme.example")
        make_account("globex/c")
        items = make_client().get(ACCOUNTS, query).json()["items"]
        assert [item["external_id"] for item in items] == expected

    def test_comes_in_pages(self) -> None:
        for name in "abcde":
            make_account(name)
        first = make_client().get(ACCOUNTS, {"limit": 3}).json()
        rest = make_client().get(ACCOUNTS, {"limit": 3, "cursor": first["next_cursor"]}).json()
        assert [item["external_id"] for item in first["items"] + rest["items"]] == ["e", "d", "c", "b", "a"]
        assert (first["has_more"], rest["has_more"]) == (True, False)

    def test_refuses_an_unknown_status(self) -> None:
        problem(make_client().get(ACCOUNTS, {"status": "gone"}), "validation_failed", 400)


class TestGet:
    @pytest.mark.parametrize("spelling", ["acme/shop", "ACME/shop", "acme%2Fshop", "id"])
    def test_takes_id_and_external_id(self, spelling: str) -> None:
        account = make_account("acme/shop")
        reference = account.public_id if spelling == "id" else spelling
        assert make_client().get(f"{ACCOUNTS}/{reference}").json()["id"] == account.public_id

    @pytest.mark.parametrize("client", [("public", "bob"), ("internal", "svc")])
    def test_finds_only_what_is_visible(self, client: tuple[Any, str]) -> None:
        make_account("acme/shop")
        org = "globex" if client[0] == "internal" else None
        shown = problem(make_client(*client, org=org).get(f"{ACCOUNTS}/acme/shop"), "not_found", 404)
        assert shown["object_type"] == "account"


class TestUpdate:
    def test_changes_what_is_named(self) -> None:
        make_account("acme", line1="1 Main St", phone="1")
        body = make_client().patch(
            f"{ACCOUNTS}/acme", {"name": "New", "address": {"city": "Bonn"}, "tier": "pro", "metadata": {"a": 1}}
        )
        shown = body.json()
        assert (shown["name"], shown["tier"], shown["phone"]) == ("New", "pro", "1")
        assert (shown["address"]["line1"], shown["address"]["city"]) == ("1 Main St", "Bonn")
        event = Event.objects.get(type="account.updated")
        assert event.previous_data is not None
        assert event.previous_data.keys() == {"name", "city", "tier", "metadata"}

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({}, ""),
            ({"external_id": "other"}, "/external_id"),
            ({"livemode": True}, "/livemode"),
            ({"name": ""}, "/name"),
            ({"tier": "gold"}, "/tier"),
        ],
    )
    def test_refuses_and_writes_nothing(self, body: dict[str, Any], pointer: str) -> None:
        account = make_account("acme")
        shown = problem(make_client().patch(f"{ACCOUNTS}/acme", body), "validation_failed", 400)
        assert [found for found, _ in findings(shown)] == [pointer]
        assert Account.objects.values().get() == Account.objects.values().get(pk=account.pk, name=account.name)
        assert not Event.objects.filter(type="account.updated").exists()

    def test_keeps_the_currency_once_money_was_booked(self) -> None:
        make_entry(make_account("acme"), 100)
        problem(make_client().patch(f"{ACCOUNTS}/acme", {"currency": "eur"}), "validation_failed", 400)
        assert Account.objects.get().currency == "usd"

    @pytest.mark.parametrize(
        ("role", "status", "code"), [("owner", 200, ""), ("admin", 200, ""), ("member", 403, "account_forbidden")]
    )
    def test_by_people_needs_a_writing_role(self, role: str, status: int, code: str) -> None:
        make_member(make_account("acme"), "bob", role)
        response = make_client("public", "bob").patch(f"{ACCOUNTS}/acme", {"name": "New"})
        assert response.status_code == status
        if code:
            problem(response, code)
            assert Account.objects.get().name != "New"

    def test_leaves_the_tier_to_services(self) -> None:
        make_account("alice")
        problem(make_client("public", "alice").patch(f"{ACCOUNTS}/alice", {"tier": "pro"}), "validation_failed", 400)

    def test_sets_how_the_account_is_billed_by_services_only(self) -> None:
        make_account("alice")
        settings = {"grace_hours": 24, "billing_threshold": 5000, "invoice_grouping": "account"}
        shown = make_client().patch(f"{ACCOUNTS}/alice", settings).json()
        assert {name: shown[name] for name in settings} == settings
        for name, value in settings.items():
            refusal = make_client("public", "alice").patch(f"{ACCOUNTS}/alice", {name: value})
            assert findings(problem(refusal, "validation_failed", 400)) == [(f"/{name}", "internal_only")]
        assert make_client().patch(f"{ACCOUNTS}/alice", {"grace_hours": None}).json()["grace_hours"] is None

    def test_by_a_stranger_finds_nothing(self) -> None:
        make_account("acme")
        problem(make_client("public", "bob").patch(f"{ACCOUNTS}/acme", {"name": "x"}), "not_found", 404)


class TestMembers:
    @pytest.fixture
    def members(self) -> str:
        """The address of the members of `acme/shop`: alice owns it, bob is admin, carol a member."""
        account = make_account("acme/shop", owner_user_id="alice")
        make_member(account, "bob", "admin")
        make_member(account, "carol", "member")
        return f"{ACCOUNTS}/acme/shop/members"

    def member_id(self, user_id: str) -> str:
        return Member.objects.get(user_id=user_id).public_id

    def test_are_listed_to_members(self, members: str) -> None:
        page = make_client("public", "carol").get(members).json()
        assert [item["user_id"] for item in page["items"]] == ["carol", "bob", "alice"]
        assert page["items"][0].keys() == {"id", "user_id", "email", "name", "role", "added_at"}

    @pytest.mark.parametrize("method", ["get", "post"])
    def test_are_closed_to_strangers(self, members: str, method: str) -> None:
        response = getattr(make_client("public", "dave"), method)(members, {"user_id": "eve"})
        problem(response, "account_forbidden", 403)
        assert Member.objects.count() == 3

    def test_of_an_unknown_account_are_not_found(self) -> None:
        problem(make_client().get(f"{ACCOUNTS}/nobody/members"), "not_found", 404)

    def test_are_added_by_admins(self, members: str) -> None:
        response = make_client("public", "bob").post(members, {"email": "d@acme.example", "name": "Dave"})
        assert response.status_code == 201
        assert (response.json()["role"], response.json()["email"]) == ("member", "d@acme.example")
        assert Event.objects.filter(type="account.member_added").latest("id").actor_id == "bob"

    @pytest.mark.parametrize(
        ("caller", "body", "code", "status"),
        [
            ("carol", {"user_id": "dave"}, "account_forbidden", 403),
            ("bob", {"user_id": "dave", "role": "owner"}, "account_forbidden", 403),
            ("bob", {"user_id": "carol"}, "member_exists", 409),
            ("alice", {}, "validation_failed", 400),
            ("alice", {"user_id": "dave", "role": "king"}, "validation_failed", 400),
        ],
    )
    def test_are_not_added_otherwise(
        self, members: str, caller: str, body: dict[str, str], code: str, status: int
    ) -> None:
        problem(make_client("public", caller).post(members, body), code, status)
        assert Member.objects.count() == 3

    def test_change_roles(self, members: str) -> None:
        response = make_client("public", "alice").patch(f"{members}/{self.member_id('bob')}", {"role": "owner"})
        assert (response.status_code, response.json()["role"]) == (200, "owner")

    @pytest.mark.parametrize(
        ("caller", "target", "role", "code", "status"),
        [
            ("bob", "carol", "owner", "account_forbidden", 403),
            ("bob", "alice", "member", "account_forbidden", 403),
            ("carol", "carol", "admin", "account_forbidden", 403),
            ("alice", "alice", "admin", "last_owner", 409),
            ("alice", "bob", None, "validation_failed", 400),
        ],
    )
    def test_do_not_change_roles_otherwise(
        self, members: str, caller: str, target: str, role: str | None, code: str, status: int
    ) -> None:
        before = list(Member.objects.order_by("id").values())
        body = {} if role is None else {"role": role}
        problem(make_client("public", caller).patch(f"{members}/{self.member_id(target)}", body), code, status)
        assert list(Member.objects.order_by("id").values()) == before

    def test_leave_and_are_removed(self, members: str) -> None:
        key = self.member_id("carol")
        response = make_client("public", "carol").delete(f"{members}/{key}")
        assert (response.status_code, response.json()) == (200, {"id": key, "deleted": True})
        problem(make_client().delete(f"{members}/{key}"), "not_found", 404)

    def test_keep_an_owner(self, members: str) -> None:
        problem(make_client().delete(f"{members}/{self.member_id('alice')}"), "last_owner", 409)
        assert Member.objects.count() == 3

    @pytest.mark.parametrize("method", ["patch", "delete"])
    def test_of_another_account_are_not_found(self, members: str, method: str) -> None:
        other = Member.objects.get(account=make_account("globex"))
        for key in (other.public_id, encode_id("mem", new_uuid()), "nonsense"):
            response = getattr(make_client("public", "alice"), method)(f"{members}/{key}", {"role": "admin"})
            assert problem(response, "not_found", 404)["object_type"] == "member"
        assert Member.objects.filter(pk=other.pk).exists()


class TestDoors:
    @pytest.mark.parametrize(
        ("method", "path", "scope"),
        [
            ("get", ACCOUNTS, "billing:read"),
            ("post", ACCOUNTS, "billing:account:write"),
            ("get", f"{ACCOUNTS}/acme", "billing:read"),
            ("patch", f"{ACCOUNTS}/acme", "billing:account:write"),
            ("get", f"{ACCOUNTS}/acme/members", "billing:read"),
            ("post", f"{ACCOUNTS}/acme/members", "billing:account:write"),
            ("patch", f"{ACCOUNTS}/acme/members/mem_1", "billing:account:write"),
            ("delete", f"{ACCOUNTS}/acme/members/mem_1", "billing:account:write"),
            ("get", "/api/v1/billing/balance", "billing:read"),
            ("get", "/api/v1/billing/balance/all", "billing:read"),
            ("get", "/api/v1/billing/transactions", "billing:read"),
            ("post", "/api/v1/billing/deposit", "billing:money"),
            ("get", "/api/v1/billing/subscriptions", "billing:read"),
            ("post", "/api/v1/billing/subscriptions", "billing:subscription:write"),
            ("get", "/api/v1/billing/subscriptions/sub_1", "billing:read"),
            ("get", "/api/v1/billing/tenants/acme/subscriptions", "billing:read"),
            ("post", "/api/v1/billing/tenants/acme/subscriptions", "billing:subscription:write"),
            ("get", "/api/v1/billing/tenants/acme/subscription", "billing:read"),
        ],
    )
    def test_ask_for_their_scope(self, method: str, path: str, scope: str) -> None:
        make_account("acme")
        before = Event.objects.count()
        other = {"billing:read", "billing:account:write", "billing:subscription:write", "billing:money"} - {scope}
        response = getattr(make_client(scopes=other), method)(path, {"name": "x", "account": "acme", "amount": 5})
        assert problem(response, "scope_missing", 403)["required_scope"] == scope
        anonymous = make_client()
        anonymous.credentials()
        problem(getattr(anonymous, method)(path), "token_missing", 401)
        assert Event.objects.count() == before
