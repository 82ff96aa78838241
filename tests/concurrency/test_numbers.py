"""Numbers of several sellers and series, taken by many at once: none is missing, none is given twice."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from invoicing.models import Invoice, NumberCounter
from invoicing.services.sellers import assign_seller, create_seller, ensure_default_seller, update_seller
from tests.support import world
from tests.support.parallel import race


@pytest.mark.django_db(transaction=True)
def test_series_have_no_gaps_when_everybody_issues_at_once() -> None:
    world.publish()
    default = ensure_default_seller("default")
    update_seller(seller_id=default.id, changes={"numbering": "yearly"}, at=world.OCTOBER, actor=world.TESTER)
    german = create_seller(
        org_id="default",
        values={"name": "Acme GmbH", "invoice_prefix": "DE", "credit_note_prefix": "DE-CN"},
        at=world.OCTOBER,
        actor=world.TESTER,
    )
    accounts = [world.open_account(f"c{number}") for number in range(24)]
    for account in accounts[::3]:
        assign_seller(account_id=account.id, seller_id=german.id, at=world.OCTOBER, actor=world.TESTER)
    days = [datetime(2023, 12, 20, tzinfo=UTC), datetime(2024, 1, 5, tzinfo=UTC)]

    race(
        *(
            lambda account=account, day=days[number % 2]: world.subscribe(account, at=day)
            for number, account in enumerate(accounts)
        ),
        connections=8,
    )

    given: dict[str, list[int]] = {}
    for series, number in Invoice.objects.filter(number__isnull=False).values_list("series", "number"):
        assert number is not None
        given.setdefault(series, []).append(number)
    assert {series: sorted(numbers) for series, numbers in given.items()} == {
        "DE": list(range(1, len(given["DE"]) + 1)),
        "INV-2023": list(range(1, len(given["INV-2023"]) + 1)),
        "INV-2024": list(range(1, len(given["INV-2024"]) + 1)),
    }
    assert sum(map(len, given.values())) == Invoice.objects.count() >= 24
    assert dict(NumberCounter.objects.values_list("series", "last_number")) == {
        series: len(numbers) for series, numbers in given.items()
    }
