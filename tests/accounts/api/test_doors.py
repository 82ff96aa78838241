"""Who gets through which door of an account: members read, admins write, owners change owners, others see nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from django.urls import URLPattern, get_resolver

from accounts.models import Account, Member
from billing_site.kernel import clock
from billing_site.platform.models import Event
from tests.factories.accounts import make_account, make_member
from tests.factories.cost_centers import make_cost_center
from tests.factories.payment_methods import make_payment_method
from tests.support import world
from tests.support.api import BillingClient, make_client
from tests.support.problems import problem

pytestmark = pytest.mark.django_db

ROLES: Final = ("owner", "admin", "member")
SUBJECTS: Final = {"owner": "acme/shop", "admin": "ann", "member": "bob", "stranger": "eve"}
REFUSALS: Final = {"account_forbidden": 403, "not_found": 404}


@dataclass(frozen=True, slots=True)
class Door:
    """An operation on the account; what stands in braces is filled in."""

    method: str
    path: str
    body: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        role = f" {self.body['role']}" if "role" in self.body else ""
        return f"{self.method} {self.path}{role}"


READING: Final = [
    Door("get", path)
    for path in (
        "accounts/{account}",
        "accounts/{account}/members",
        "balance?account={account}",
        "balance/all?account={account}",
        "transactions?account={account}",
        "events?account={account}",
        "customer-balance?account={account}",
        "balance-transactions?account={account}",
        "credit-balance?account={account}",
        "credit-balance/breakdown?account={account}",
        "tier?account={account}",
        "subscriptions?account={account}",
        "subscriptions/{subscription}",
        "tenants/{account}/subscription",
        "tenants/{account}/subscriptions",
        "invoices?account={account}",
        "invoices/{invoice}",
        "invoices/{invoice}/pdf",
        "tenants/{account}/invoices",
        "tenants/{account}/usage",
        "tenants/{account}/usage/summary",
        "cost-centers/tenants/{account}",
        "cost-centers/{center}",
        "portal/overview?account={account}",
        "portal/invoices?account={account}",
        "portal/subscriptions?account={account}",
        "portal/payment-methods?account={account}",
        "payment-methods?account={account}",
        "payment-methods/{method}",
    )
]
WRITING: Final = [
    Door("patch", "accounts/{account}", {"phone": "+49 228 1"}),
    Door("post", "accounts/{account}/members", {"user_id": "zoe"}),
    Door("patch", "accounts/{account}/members/{bob}", {"role": "admin"}),
    Door("delete", "accounts/{account}/members/{zac}"),
    Door("post", "cost-centers", {"account": "{account}", "name": "Dev", "code": "dev"}),
    Door("put", "cost-centers/{center}", {"name": "Dev", "code": "dev"}),
    Door("delete", "cost-centers/{center}"),
    Door("post", "payment-methods", {"account": "{account}", "provider_ref": "tok_visa"}),
    Door("patch", "payment-methods/{method}", {"billing_address": {"city": "Bonn"}}),
    Door("delete", "payment-methods/{method}"),
    Door("post", "customers/{account}/default-payment-method", {"payment_method_id": "{spare}"}),
    Door("post", "subscriptions", {"account": "{account}", "plan_id": "free"}),
    Door("post", "tenants/{account}/subscriptions", {"plan_id": "free"}),
]
OWNING: Final = [
    Door("post", "accounts/{account}/members", {"user_id": "zoe", "role": "owner"}),
    Door("patch", "accounts/{account}/members/{bob}", {"role": "owner"}),
    Door("patch", "accounts/{account}/members/{olga}", {"role": "member"}),
    Door("delete", "accounts/{account}/members/{olga}"),
]


@dataclass(frozen=True, slots=True)
class Home:
    """An account with something of everything; `names` fills in doors."""

    account: Account
    names: dict[str, str]

    def knock(self, client: BillingClient, door: Door) -> Any:
        body = {name: self._fill(value) if isinstance(value, str) else value for name, value in door.body.items()}
        send = getattr(client, door.method)
        path = f"/api/v1/billing/{self._fill(door.path)}"
        return send(path) if door.method in ("get", "delete") else send(path, body)

    def _fill(self, text: str) -> str:
        return text.format_map(self.names)


@pytest.fixture(autouse=True)
def _november() -> Iterator[None]:
    with clock.travel(world.NOVEMBER):
        yield


@pytest.fixture
def home() -> Home:
    world.publish()
    account = world.open_account("acme/shop")
    people = {name: make_member(account, name, role) for name, role in (("ann", "admin"), ("bob", "member"))}
    people |= {"zac": make_member(account, "zac"), "olga": make_member(account, "olga", "owner")}
    make_account("eve")
    subscription = world.subscribe(account, "pro")
    center = make_cost_center(account)
    methods = {"method": make_payment_method(account), "spare": make_payment_method(account)}
    (invoice,) = world.list_invoices()
    things = {
        "account": account,
        "subscription": subscription,
        "center": center,
        "invoice": invoice,
        **methods,
        **people,
    }
    return Home(account, {name: thing.public_id for name, thing in things.items()})


def require_refused(answer: Any) -> None:
    code = answer.json()["code"]
    problem(answer, code, REFUSALS[code])


def person(role: str) -> BillingClient:
    return make_client("public", SUBJECTS[role])


class TestReading:
    @pytest.mark.parametrize("door", READING, ids=str)
    def test_is_for_members_and_the_services_of_the_organization(self, home: Home, door: Door) -> None:
        for client in (*map(person, ROLES), make_client(), make_client(org="acme")):
            answer = home.knock(client, door)
            assert answer.status_code == 200, answer.content
        for client in (person("stranger"), make_client(org="globex")):
            require_refused(home.knock(client, door))


class TestWriting:
    @pytest.mark.parametrize("caller", ["owner", "admin", "service"])
    @pytest.mark.parametrize("door", WRITING, ids=str)
    def test_is_for_owners_admins_and_services(self, home: Home, door: Door, caller: str) -> None:
        before = Event.objects.count()
        answer = home.knock(make_client(org="acme") if caller == "service" else person(caller), door)
        assert answer.status_code in (200, 201), answer.content
        assert Event.objects.count() > before

    @pytest.mark.parametrize("door", [*WRITING, *OWNING], ids=str)
    def test_is_refused_to_others_and_leaves_no_trace(self, home: Home, door: Door) -> None:
        before = (Event.objects.count(), sorted(Member.objects.values_list("user_id", "role")))
        for client in (person("member"), person("stranger"), make_client(org="globex")):
            require_refused(home.knock(client, door))
        assert (Event.objects.count(), sorted(Member.objects.values_list("user_id", "role"))) == before


class TestOwners:
    @pytest.mark.parametrize("door", OWNING, ids=str)
    def test_change_owners(self, home: Home, door: Door) -> None:
        answer = home.knock(person("owner"), door)
        assert answer.status_code in (200, 201), answer.content

    @pytest.mark.parametrize("door", OWNING, ids=str)
    def test_are_changed_by_nobody_else(self, home: Home, door: Door) -> None:
        problem(home.knock(person("admin"), door), "account_forbidden", 403)

    def test_never_all_leave(self, home: Home) -> None:
        leave = "accounts/{account}/members/{olga}"
        assert home.knock(person("owner"), Door("delete", leave)).status_code == 200
        last = Member.objects.get(account=home.account, role="owner")
        path = f"accounts/{home.account.public_id}/members/{last.public_id}"
        problem(home.knock(person("owner"), Door("delete", path)), "last_owner", 409)
        problem(home.knock(make_client(), Door("patch", path, {"role": "admin"})), "last_owner", 409)


def list_account_routes() -> list[tuple[str, str]]:
    """Return (method, route) of every operation with an account in its path."""
    found: list[tuple[str, str]] = []
    pending: list[Any] = list(get_resolver().url_patterns)
    while pending:
        entry = pending.pop()
        if not isinstance(entry, URLPattern):
            pending += entry.url_patterns
            continue
        route = str(entry.pattern)
        view: Any = entry.callback
        if "<path:account_id>" in route:
            methods = getattr(view, "actions", None) or {
                name for name in ("get", "post", "put", "patch", "delete") if hasattr(view.view_class, name)
            }
            found += [(method, route) for method in methods]
    return sorted(found)


class TestEveryPathWithAnAccount:
    """Also those that nobody listed above."""

    @pytest.mark.parametrize(("method", "route"), list_account_routes())
    def test_hides_accounts_of_others(self, home: Home, method: str, route: str) -> None:
        path = "/" + route.replace("<path:account_id>", home.account.public_id)
        while "<" in path:
            path = path[: path.index("<")] + "x" + path[path.index(">") + 1 :]
        before = Event.objects.count()
        for client in (make_client(org="globex"), make_client("public", "eve")):
            answer = getattr(client, method)(path)
            refused = {"account_forbidden", "not_found", "audience_rejected", "scope_missing"}
            # A body may be found wrong before anybody looks for its account.
            code = answer.json()["code"]
            assert code in (refused if method == "get" else {*refused, "validation_failed"}), answer.content
        assert Event.objects.count() == before
