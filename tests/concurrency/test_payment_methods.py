"""Payment methods attached and taken away over several connections at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from accounts.models import PaymentMethod, PaymentMethodStatus
from accounts.queries.ledger import get_balance
from accounts.services.payment_methods import NewPaymentMethod, set_default_payment_method
from accounts.services.starter_credit import grant_after_verification
from billing_site.kernel.errors import DomainError
from billing_site.platform.models import Event
from invoicing.services.payment_methods import attach_payment_method, detach_payment_method
from tests.factories.accounts import ACTOR, AT, make_account, make_subscription, publish_catalog
from tests.factories.payment_methods import make_payment_method
from tests.support.api import make_client

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/api/v1/billing/payment-methods"


def at_once(work: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run everything at the same moment, each on a connection of its own; return results or refusals in order."""
    barrier = Barrier(len(work))

    def run(task: Callable[[], Any]) -> Any:
        try:
            barrier.wait(timeout=30)
            return task()
        except DomainError as refusal:
            return refusal.code
        finally:
            connection.close()

    with ThreadPoolExecutor(len(work)) as pool:
        return [future.result(timeout=60) for future in [pool.submit(run, task) for task in work]]


def list_defaults() -> list[str]:
    return list(PaymentMethod.objects.filter(is_default=True).values_list("status", flat=True))


def test_two_first_methods_leave_exactly_one_default() -> None:
    for _ in range(5):
        account = make_account()
        at_once([lambda account=account: make_payment_method(account)] * 3)  # type: ignore[misc]
        attached = PaymentMethod.objects.filter(account=account, status=PaymentMethodStatus.ATTACHED)
        assert sorted(attached.values_list("is_default", flat=True)) == [False, False, True]


def test_one_key_attaches_once_however_often_it_is_sent_together() -> None:
    account = make_account("acme")

    def send() -> tuple[int, str]:
        answer = make_client().post(
            PATH, {"account": "acme", "provider_ref": "tok_visa"}, headers={"Idempotency-Key": "card-1"}
        )
        return answer.status_code, answer.json()["id"]

    answers = at_once([send] * 5)
    assert {status for status, _ in answers} == {201}
    assert len({key for _, key in answers}) == 1
    assert PaymentMethod.objects.filter(account=account).count() == 1
    assert Event.objects.filter(type="payment_method.attached").count() == 1


def test_one_token_of_the_provider_is_attached_once() -> None:
    account = make_account()
    new = NewPaymentMethod(provider_ref="pm_1abc")
    outcomes = at_once([lambda: attach_payment_method(account=account, new=new, at=AT, actor=ACTOR).is_repeat] * 4)
    assert sorted(map(str, outcomes)) == ["False", *["validation_failed"] * 3]
    assert PaymentMethod.objects.filter(status=PaymentMethodStatus.ATTACHED).count() == 1


def test_choosing_and_taking_away_never_leave_two_defaults_or_none() -> None:
    account = make_account()
    methods = [make_payment_method(account) for _ in range(4)]
    at_once(
        [
            *(
                lambda method=method: set_default_payment_method(method_id=method.pk, at=AT, actor=ACTOR)
                for method in methods[1:]
            ),
            lambda: detach_payment_method(method_id=methods[0].pk, at=AT, actor=ACTOR),
            lambda: detach_payment_method(method_id=methods[3].pk, at=AT, actor=ACTOR),
        ]
    )
    assert list_defaults() == ["attached"]


def test_the_last_two_methods_of_a_paying_account_never_both_go() -> None:
    publish_catalog()
    account = make_account()
    make_subscription(account, "pro")
    methods = [make_payment_method(account) for _ in range(2)]
    outcomes = at_once(
        [
            lambda method=method: detach_payment_method(method_id=method.pk, at=AT, actor=ACTOR).status  # type: ignore[misc]
            for method in methods
        ]
    )
    assert sorted(outcomes) == ["detached", "last_payment_method"]
    assert list_defaults() == ["attached"]


def test_the_starter_credit_of_two_jobs_is_given_once() -> None:
    account = make_account()
    make_payment_method(account)
    given = at_once([lambda: grant_after_verification(account_id=account.pk, at=AT, actor=ACTOR)] * 4)
    assert [entry is not None for entry in given].count(True) == 1
    assert get_balance(account_id=account.pk, currency="usd").balance == 500
