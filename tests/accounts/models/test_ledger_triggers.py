"""What plain SQL cannot do to the ledger."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.models import CreditLot, LedgerAccount, LedgerEntry, Posting
from accounts.services.deposits import deposit
from tests.factories.accounts import ACTOR, AT, make_account, make_entry

pytestmark = pytest.mark.django_db(transaction=True)


def constraint_of(error: pytest.ExceptionInfo[IntegrityError]) -> str:
    """The name of the broken constraint."""
    return str(error.value.__cause__.diag.constraint_name)  # type: ignore[union-attr]


def run(sql: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def insert_entry() -> uuid.UUID:
    """Insert an entry row as plain SQL and return its key."""
    key = uuid.uuid4()
    run(
        "INSERT INTO ledger_entries (id, key, type, description, tags, metadata, livemode, created_at) "
        "VALUES (%s, %s, 'manual', '', '', '{}', false, now())",
        key,
        str(key),
    )
    return key


def insert_posting(entry: uuid.UUID, pot: LedgerAccount, amount: int, currency: str = "usd") -> None:
    run(
        "INSERT INTO ledger_postings (id, entry_id, ledger_account_id, amount, currency) VALUES (%s, %s, %s, %s, %s)",
        uuid.uuid4(),
        entry,
        pot.pk,
        amount,
        currency,
    )


@pytest.fixture
def pots() -> dict[str, LedgerAccount]:
    """Cash and a prepaid pot with an entry of 5.00 between them."""
    make_entry(make_account("acme"), 500)
    return {pot.kind: pot for pot in LedgerAccount.objects.all()}


class TestBalance:
    def test_an_entry_that_sums_to_zero_commits(self, pots: dict[str, LedgerAccount]) -> None:
        with transaction.atomic():
            entry = insert_entry()
            insert_posting(entry, pots["cash"], 100)
            insert_posting(entry, pots["prepaid"], -100)
        assert Posting.objects.filter(entry_id=entry).count() == 2

    def test_an_unbalanced_entry_is_refused_at_commit(self, pots: dict[str, LedgerAccount]) -> None:
        before = LedgerEntry.objects.count()
        with pytest.raises(IntegrityError) as error, transaction.atomic():
            entry = insert_entry()
            insert_posting(entry, pots["cash"], 100)
            insert_posting(entry, pots["prepaid"], -99)
            assert Posting.objects.filter(entry_id=entry).count() == 2  # taken until the commit
        assert constraint_of(error) == "ledger_entries_balance"
        assert LedgerEntry.objects.count() == before

    def test_a_single_posting_is_refused(self, pots: dict[str, LedgerAccount]) -> None:
        with pytest.raises(IntegrityError) as error, transaction.atomic():
            insert_posting(insert_entry(), pots["cash"], 100)
        assert constraint_of(error) == "ledger_entries_balance"

    def test_an_entry_without_postings_is_refused(self) -> None:
        with pytest.raises(IntegrityError) as error, transaction.atomic():
            insert_entry()
        assert constraint_of(error) == "ledger_entries_has_postings"

    def test_currencies_do_not_make_up_for_each_other(self, pots: dict[str, LedgerAccount]) -> None:
        make_entry(make_account("euro", currency="eur"), 100, currency="eur")
        euros = LedgerAccount.objects.get(kind="prepaid", currency="eur")
        with pytest.raises(IntegrityError) as error, transaction.atomic():
            entry = insert_entry()
            insert_posting(entry, pots["cash"], 100)
            insert_posting(entry, euros, -100, "eur")
        assert constraint_of(error) == "ledger_entries_balance"

    def test_a_later_posting_cannot_upset_a_committed_entry(self, pots: dict[str, LedgerAccount]) -> None:
        with pytest.raises(IntegrityError) as error, transaction.atomic():
            insert_posting(LedgerEntry.objects.get().pk, pots["cash"], 1)
        assert constraint_of(error) == "ledger_entries_balance"

    def test_an_amount_of_zero_is_refused(self, pots: dict[str, LedgerAccount]) -> None:
        with pytest.raises(IntegrityError) as error, transaction.atomic():
            insert_posting(insert_entry(), pots["cash"], 0)
        assert constraint_of(error) == "ledger_postings_amount_not_zero"

    def test_a_posting_has_the_currency_of_its_ledger_account(self, pots: dict[str, LedgerAccount]) -> None:
        with pytest.raises(IntegrityError) as error, transaction.atomic():
            insert_posting(insert_entry(), pots["cash"], 100, "eur")
        assert constraint_of(error) == "ledger_postings_currency_of_account"


APPEND_ONLY = [
    ("ledger_entries", "UPDATE ledger_entries SET description = 'other'"),
    ("ledger_entries", "DELETE FROM ledger_entries"),
    ("ledger_entries", "TRUNCATE ledger_entries CASCADE"),
    ("ledger_postings", "UPDATE ledger_postings SET amount = amount * 2"),
    ("ledger_postings", "DELETE FROM ledger_postings"),
    ("ledger_postings", "TRUNCATE ledger_postings"),
]
KEPT = [
    ("ledger_accounts", "DELETE FROM ledger_accounts"),
    ("ledger_accounts", "TRUNCATE ledger_accounts CASCADE"),
    ("ledger_accounts", "UPDATE ledger_accounts SET currency = 'eur'"),
    ("ledger_accounts", "UPDATE ledger_accounts SET kind = 'fees' WHERE kind = 'cash'"),
    ("credit_lots", "DELETE FROM credit_lots"),
    ("credit_lots", "TRUNCATE credit_lots CASCADE"),
    ("credit_lots", "UPDATE credit_lots SET amount = amount + 1"),
]


class TestRows:
    @pytest.mark.parametrize(("table", "statement"), APPEND_ONLY + KEPT)
    def test_never_change_and_never_go(self, table: str, statement: str) -> None:
        account = make_account("acme")
        deposit(account=account, amount=500, currency="usd", at=AT, actor=ACTOR)
        models = (LedgerAccount, LedgerEntry, Posting, CreditLot)
        before = [list(model.objects.order_by("id").values()) for model in models]
        with pytest.raises(IntegrityError) as error, transaction.atomic():
            # The switch that plain pgtrigger triggers would obey.
            run("SET LOCAL pgtrigger.ignore = '{ledger_entries:append_only_rows,ledger_postings:append_only_rows}'")
            run(statement)
        guard = "append_only" if (table, statement) in APPEND_ONLY else "kept"
        # A cascading TRUNCATE may meet the guard of another table first.
        assert constraint_of(error).endswith(f"_{guard}") or "TRUNCATE" in statement
        assert [list(model.objects.order_by("id").values()) for model in models] == before

    def test_balances_and_what_is_left_of_a_deposit_move(self) -> None:
        deposit(account=make_account("acme"), amount=500, currency="usd", at=AT, actor=ACTOR)
        run("UPDATE ledger_accounts SET balance = balance + 1")
        run("UPDATE credit_lots SET remaining = 0")
        assert CreditLot.objects.get().remaining == 0
