"""What the database holds about payment methods, whoever writes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.models import PaymentMethod, PaymentMethodStatus
from accounts.models.payment_method import PAYMENT_METHOD_TRANSITIONS
from tests.factories.accounts import AT, make_account
from tests.factories.payment_methods import make_payment_method

pytestmark = pytest.mark.django_db

COLUMNS: dict[str, dict[str, Any]] = {
    "pending": {},
    "attached": {"attached_at": AT, "is_default": True},
    "refused": {"decline_reason": "generic_decline"},
    "detached": {"attached_at": AT, "detached_at": AT},
}
PAIRS = list(itertools.product(PaymentMethodStatus.values, repeat=2))


def write(status: str, **values: Any) -> PaymentMethod:
    values = {"account": make_account(), "provider_type": "local", "provider_ref": "pm_1", **COLUMNS[status], **values}
    return PaymentMethod.objects.create(status=status, **values)


def refuse(**changes: Any) -> str:
    """Return the constraint that refuses to change the only method so."""
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        PaymentMethod.objects.update(**changes)
        check_now()
    return str(refusal.value)


def check_now() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


class TestSteps:
    @pytest.mark.parametrize(("before", "after"), PAIRS)
    def test_are_those_of_the_table(self, before: str, after: str) -> None:
        method = write(before)
        unset = {"attached_at": None, "detached_at": None, "decline_reason": "", "is_default": False}
        changes = {**unset, **COLUMNS[after], "status": after}
        allowed = after in PAYMENT_METHOD_TRANSITIONS[before] or before == after
        assert method.can_become(after) is (after in PAYMENT_METHOD_TRANSITIONS[before])
        if allowed:
            PaymentMethod.objects.update(**changes)
            check_now()
        else:
            assert f"cannot go from {before} to {after}" in refuse(**changes)


class TestPromises:
    def test_no_second_default(self) -> None:
        account = make_account()
        make_payment_method(account)
        second = make_payment_method(account)
        with pytest.raises(IntegrityError, match="payment_methods_one_default"), transaction.atomic():
            PaymentMethod.objects.filter(pk=second.pk).update(is_default=True)

    def test_no_account_with_methods_and_no_default(self) -> None:
        make_payment_method(make_account())
        assert "has methods and no default" in refuse(is_default=False)

    def test_only_what_is_attached_is_the_default(self) -> None:
        with pytest.raises(IntegrityError, match="payment_methods_default_is_attached"), transaction.atomic():
            write("pending", is_default=True)

    def test_a_reference_is_attached_once_per_account(self) -> None:
        account = make_account()
        write("attached", account=account)
        write("attached")  # of another account
        write("detached", account=account)
        with pytest.raises(IntegrityError, match="payment_methods_ref_once"), transaction.atomic():
            write("attached", account=account, is_default=False)

    @pytest.mark.parametrize(
        ("status", "values", "constraint"),
        [
            ("attached", {"attached_at": None}, "attached_has_time"),
            ("detached", {"detached_at": None}, "detached_has_time"),
            ("refused", {"decline_reason": ""}, "refused_has_reason"),
            ("pending", {"verified_at": AT}, "attached_has_time"),
            ("pending", {"provider_ref": ""}, "provider_ref_given"),
            ("pending", {"type": "balance"}, "provider_ref_given"),
        ],
    )
    def test_a_status_and_its_columns_agree(self, status: str, values: dict[str, Any], constraint: str) -> None:
        with pytest.raises(IntegrityError, match=f"payment_methods_{constraint}"), transaction.atomic():
            write(status, **values)

    def test_rows_are_kept(self) -> None:
        method = make_payment_method(make_account())
        with pytest.raises(IntegrityError, match="DELETE refused"), transaction.atomic():
            method.delete()
        assert "UPDATE refused" in refuse(account=make_account())
