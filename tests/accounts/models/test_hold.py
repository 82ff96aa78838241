"""What plain SQL cannot do to holds and to what was taken from deposits."""

from __future__ import annotations

from importlib import import_module

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, transaction

from accounts.models import CreditLot, Hold, LotTaking
from accounts.queries.proof import prove_ledger
from accounts.services.deposits import deposit
from accounts.services.holds import capture_hold, create_hold, void_hold
from accounts.services.ledger import PostingSpec, post_entry
from tests.factories.accounts import ACTOR, AT, make_account

pytestmark = pytest.mark.django_db


def refuse(sql: str) -> str:
    """Run a statement that must fail and return the name of the constraint that says so."""
    with pytest.raises(IntegrityError) as error, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # nothing that was written so far is still to be checked
        cursor.execute(sql)
    return str(error.value.__cause__.diag.constraint_name)  # type: ignore[union-attr]


@pytest.fixture
def pending(db: None) -> Hold:
    account = make_account()
    deposit(account=account, amount=1000, currency="usd", at=AT, actor=ACTOR)
    return create_hold(account=account, amount=300, currency="usd", at=AT, actor=ACTOR)


class TestHold:
    @pytest.mark.parametrize(
        ("sql", "constraint"),
        [
            ("DELETE FROM holds", "holds_kept"),
            ("TRUNCATE holds CASCADE", "holds_kept"),
            ("UPDATE holds SET amount = 1", "holds_kept"),
            ("UPDATE holds SET expires_at = expires_at + interval '1 day'", "holds_kept"),
            ("UPDATE holds SET status = 'voided'", "holds_ended_has_time"),
            ("UPDATE holds SET captured_amount = 1", "holds_captured_within_amount"),
            (
                "UPDATE holds SET status = 'captured', captured_amount = 1, ended_at = now(), removal_id = id",
                "holds_captured_has_entry",
            ),
        ],
    )
    def test_is_kept_as_it_was_made(self, pending: Hold, sql: str, constraint: str) -> None:
        assert refuse(sql) == constraint

    def test_ends_once(self, pending: Hold) -> None:
        void_hold(hold_id=pending.pk, at=AT, actor=ACTOR)
        assert refuse("UPDATE holds SET status = 'expired'") == "holds_final"
        assert refuse("UPDATE holds SET ended_at = now()") == "holds_final"

    def test_captures_no_more_than_was_held(self, pending: Hold) -> None:
        capture_hold(hold_id=pending.pk, at=AT, actor=ACTOR)
        assert refuse("UPDATE holds SET captured_amount = 301") in ("holds_final", "holds_captured_within_amount")

    def test_begins_pending(self, pending: Hold) -> None:
        columns = "currency, amount, captured_amount, description, metadata, livemode, expires_at, created_at"
        copy = f"SELECT gen_random_uuid(), 'other', 'voided', account_id, {columns} FROM holds"
        assert refuse(f"INSERT INTO holds (id, key, status, account_id, {columns}) {copy}") == "holds_begin_pending"


class TestLotTaking:
    @pytest.mark.parametrize(
        "sql",
        [
            "UPDATE credit_lot_takings SET amount = 1",
            "DELETE FROM credit_lot_takings",
            "TRUNCATE credit_lot_takings",
        ],
    )
    def test_never_changes(self, pending: Hold, sql: str) -> None:
        capture_hold(hold_id=pending.pk, at=AT, actor=ACTOR)
        assert LotTaking.objects.get().amount == 300
        assert refuse(sql) == "credit_lot_takings_append_only"

    def test_is_written_for_deposits_that_ended_before_takings_were_kept(self) -> None:
        account = make_account()
        entry = deposit(account=account, amount=500, currency="usd", at=AT, actor=ACTOR)
        lot = CreditLot.objects.get(entry=entry)
        expiry = post_entry(
            key=f"expiry:{lot.public_id}",
            type="expiry",
            account_id=account.pk,
            postings=[
                PostingSpec("prepaid", account.pk, "usd", 500),
                PostingSpec("promotions", None, "usd", -500),
            ],
            at=AT,
            livemode=False,
        )
        CreditLot.objects.filter(pk=lot.pk).update(remaining=0)
        assert not prove_ledger().holds
        import_module("accounts.migrations.0003_holds").write_takings_of_expiries(apps, None)
        assert list(LotTaking.objects.values_list("lot", "entry", "amount")) == [(lot.pk, expiry.pk, 500)]
        assert prove_ledger().holds
