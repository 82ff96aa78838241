"""The agenda of an account over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import pytest

from accounts.models import Account
from tests.support import world
from tests.support.api import BillingClient
from tests.support.problems import problem

pytestmark = pytest.mark.django_db
Clients = Callable[..., BillingClient]


@pytest.fixture(autouse=True)
def _november(clock_at: Callable[[datetime], AbstractContextManager[None]]) -> Iterator[None]:
    with clock_at(world.NOVEMBER):
        yield


@pytest.fixture
def account() -> Account:
    world.publish(fee=1000)
    account = world.open_account("acme/shop")
    world.subscribe(account, "pro")
    return account


def ask(client: BillingClient, **query: str) -> Any:
    return client.get("/api/internal/billing/accounts/acme/shop/agenda", query)


class TestAgenda:
    def test_tells_what_comes_in_90_days(self, api_client: Clients, account: Account) -> None:
        body = ask(api_client()).json()
        assert (body["account_id"], body["start"], body["until"]) == (
            account.public_id,
            "2023-11-01T00:00:00Z",
            "2024-01-30T00:00:00Z",
        )
        assert [(entry["at"], entry["kind"], entry["amount"]) for entry in body["items"]] == [
            ("2023-12-01T00:00:00Z", "invoice", 1000),
            ("2024-01-01T00:00:00Z", "invoice", 1000),
        ]
        first = body["items"][0]
        assert (first["subject"], first["text"], first["currency"]) == (
            account.subscriptions.get().public_id,
            "Pro is invoiced.",
            "usd",
        )

    @pytest.mark.parametrize(("until", "count"), [("2023-12-01T00:00:00Z", 0), ("2023-12-01", 1), ("2024-12-04", 13)])
    def test_reaches_up_to_an_instant_or_through_a_day(
        self, api_client: Clients, account: Account, until: str, count: int
    ) -> None:
        assert len(ask(api_client(), until=until).json()["items"]) == count

    @pytest.mark.parametrize("until", ["2023-10-31", "2024-12-05", "2023-11-01T00:00:00Z"])
    def test_reaches_neither_back_nor_further_than_400_days(
        self, api_client: Clients, account: Account, until: str
    ) -> None:
        problem(ask(api_client(), until=until), "period_invalid", 400)

    def test_is_for_those_who_may_read_inside(self, api_client: Clients, account: Account) -> None:
        assert ask(api_client(scopes="billing:usage:write")).status_code == 403
        assert ask(api_client(audience="public", subject="acme/shop")).status_code in {401, 403}

    def test_of_an_unknown_account_is_not_found(self, api_client: Clients) -> None:
        assert api_client().get("/api/internal/billing/accounts/nobody/agenda").status_code == 404
