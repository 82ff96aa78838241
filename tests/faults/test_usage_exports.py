"""Telling a provider what it bills, stopped anywhere: whoever goes on tells all of it, and nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from accounts.models import Account
from accounts.queries.proof import prove_ledger
from invoicing.services.usage_exports import export_usage, send_due_exports
from metering.models import UsageEvent, UsageExport
from metering.rating.export_rules import DEFAULT_RULES
from metering.services.export_planning import plan_due_accounts
from metering.services.usage_exports import NewUsageExport
from metering.services.usage_feed import NewFeedEvent, record_feed_event
from tests.factories.metering import make_meter
from tests.faults.crashes import Crash, Statements, crash, watched
from tests.invoicing.test_usage_exports import START, after, open_billed_account, sum_usage, use, work
from tests.support.meter_provider import MeterProvider
from tests.support.parallel import race
from tests.support.stored import describe_rows, hash_database
from tests.support.world import TESTER

LATER = after(6)


@pytest.fixture(autouse=True)
def _exported(settings: Any) -> None:
    settings.BILLING_USAGE_EXPORT_FROM = START


def arrange() -> Account:
    """An account with three hours to tell of, one of them told in part."""
    account = open_billed_account()
    for number, when in enumerate((0.5, 1.5, 1.6, 2.5)):
        use(account, 10**number, at=after(when), key=f"e{number}")
        if number == 1:
            work(MeterProvider(), at=after(2.2))  # 1 and 10 are told, to a provider that is looked at no more
    return account


def run_everything(provider: MeterProvider, *, at: Any) -> None:
    plan_due_accounts(at=at, limit=10)
    send_due_exports(at=at, limit=100, find_gateway=lambda _export: provider)


def count_statements(run: Callable[[], object]) -> Statements:
    with transaction.atomic():
        with watched(Statements()) as statements:
            run()
        transaction.set_rollback(True)
    return statements


@pytest.mark.django_db
def test_the_schedule_stopped_before_any_statement_goes_on_where_it_was() -> None:
    account = arrange()
    statements = count_statements(lambda: run_everything(MeterProvider(), at=after(5)))
    points = statements.list_points()
    assert len(points) > 20
    for number in points:
        provider = MeterProvider()
        with transaction.atomic():
            with pytest.raises(Crash), watched(Statements(number, crash)):
                run_everything(provider, at=after(5))
            run_everything(provider, at=LATER)
            assert provider.total == 1100, f"stopped before statement {number}"  # 100 late in an hour told, and 1000
            assert sum_usage(account, LATER) == 1111
            assert set(UsageExport.objects.values_list("status", flat=True)) == {"exported"}, number
            transaction.set_rollback(True)


@pytest.mark.django_db
@pytest.mark.parametrize("moment", ["before", "after"])
def test_the_schedule_stopped_while_the_provider_answers_tells_nothing_twice(moment: str) -> None:
    arrange()
    provider = MeterProvider()
    setattr(provider, moment, lambda _report: crash())
    with pytest.raises(Crash):
        run_everything(provider, at=after(5))
    assert len(provider.counted) == {"before": 0, "after": 1}[moment]
    provider.before = provider.after = None
    run_everything(provider, at=after(5))
    assert len(provider.calls) == 1  # both were claimed: another worker leaves them alone for ten minutes
    run_everything(provider, at=after(5) + timedelta(minutes=10))
    assert len(provider.calls) == 3  # the first of them under the same name again
    assert provider.total == 1100
    assert set(UsageExport.objects.values_list("status", flat=True)) == {"exported"}


@pytest.mark.django_db
def test_a_metric_stopped_before_any_statement_counts_and_is_told_once() -> None:
    account = arrange()

    def ask(provider: MeterProvider, at: Any) -> None:
        new = NewUsageExport(event_id="d1", meter="input_tokens", quantity=7)
        export_usage(account=account, new=new, at=at, actor=TESTER, find_gateway=lambda _export: provider)

    statements = count_statements(partial(ask, MeterProvider(), after(5)))
    for number in statements.list_points():
        provider = MeterProvider()
        with transaction.atomic():
            with pytest.raises(Crash), watched(Statements(number, crash)):
                ask(provider, after(5))
            ask(provider, LATER)
            assert provider.list_told() in ([("input_tokens", "10 05:00", 7)], [("input_tokens", "10 06:00", 7)])
            assert UsageEvent.objects.filter(idempotency_key="d1").count() == 1
            assert UsageExport.objects.get(idempotency_key="d1").status == "exported", number
            transaction.set_rollback(True)


@pytest.mark.django_db
def test_an_event_of_the_feed_stopped_before_any_statement_is_kept_and_counted_or_neither() -> None:
    account = open_billed_account()
    make_meter("llm_tokens")
    new = NewFeedEvent(
        event_type="usage_recorded",
        org_id="default",
        account=account,
        event_id="e1",
        data={"tokens": 5},
        numbers={"tokens": 5},
    )
    tell = partial(record_feed_event, new=new, rules=DEFAULT_RULES, at=after(5), actor=TESTER)
    before, nothing = hash_database(), describe_rows()
    statements = count_statements(tell)
    for number in statements.list_points():
        with transaction.atomic():
            with pytest.raises(Crash), watched(Statements(number, crash)):
                tell()
            assert hash_database() == before, f"something is left when it stops before statement {number}"
            transaction.set_rollback(True)
    tell()
    everything = describe_rows()
    assert everything != nothing
    assert not tell().created
    assert describe_rows() == everything
    assert prove_ledger().fault is None


@pytest.mark.django_db(transaction=True)
def test_many_workers_tell_each_quantity_once_and_ask_outside_transactions() -> None:
    accounts = [open_billed_account(f"acme-{number}") for number in range(4)]
    for account in accounts:
        for hour in range(5):
            use(account, 10**hour, at=after(hour), key=f"e{hour}")
    work(MeterProvider(), at=START)  # opens the cursors
    provider = MeterProvider(is_watching=True)
    race(*[partial(run_everything, provider, at=LATER) for _ in range(6)], connections=6)
    assert not connection.in_atomic_block
    run_everything(provider, at=LATER + timedelta(minutes=20))
    assert sorted(provider.calls) == sorted(set(provider.calls))
    assert len(provider.calls) == 20
    assert provider.total == 4 * 11_111


@pytest.mark.django_db(transaction=True)
def test_one_metric_asked_for_by_many_at_once_counts_and_is_told_once() -> None:
    account = open_billed_account()
    provider = MeterProvider(is_watching=True)

    def ask() -> str:
        new = NewUsageExport(event_id="d1", meter="input_tokens", quantity=7)
        return export_usage(
            account=account, new=new, at=after(5), actor=TESTER, find_gateway=lambda _export: provider
        ).status

    answers = race(*[ask] * 8, connections=8)
    assert "exported" in answers
    assert set(answers) <= {"exported", "duplicate"}
    assert provider.calls == ["d1"]
    assert sum_usage(account, LATER) == 7
