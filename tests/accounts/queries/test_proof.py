"""The proof finds what was changed behind the triggers."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.models import LedgerAccount, LedgerEntry, Posting
from accounts.queries.proof import LedgerFault, prove_ledger
from tests.factories.accounts import make_account, make_entry


def tamper(sql: str) -> None:
    """Change rows as the superuser of the database could."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # what was written so far is right
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(sql)
        cursor.execute("SET LOCAL session_replication_role = origin")


def find_fault() -> LedgerFault:
    fault = prove_ledger().fault
    assert fault is not None
    return fault


@pytest.fixture
def entry(db: None) -> LedgerEntry:
    """5.00 usd on a prepaid balance."""
    return make_entry(make_account(), 500)


class TestProveLedger:
    def test_holds_for_what_the_services_wrote(self, entry: LedgerEntry) -> None:
        proof = prove_ledger()
        assert proof.holds
        assert (proof.entries, proof.postings) == (1, 2)

    def test_finds_a_changed_posting(self, entry: LedgerEntry) -> None:
        tamper("UPDATE ledger_postings SET amount = amount + 1 WHERE amount > 0")
        assert str(find_fault()) == f"{entry.public_id}: postings sum to 0.01 USD, not zero"

    def test_finds_a_changed_balance(self, entry: LedgerEntry) -> None:
        tamper("UPDATE ledger_accounts SET balance = balance - 7 WHERE kind = 'prepaid'")
        pot = LedgerAccount.objects.get(kind="prepaid")
        assert str(find_fault()) == f"{pot.public_id}: balance is -5.07 USD, its postings sum to -5.00 USD"

    def test_finds_an_entry_that_lost_its_postings(self, entry: LedgerEntry) -> None:
        tamper("DELETE FROM ledger_postings")
        assert str(find_fault()) == f"{entry.public_id}: has no postings"

    def test_finds_a_posting_in_another_currency(self, entry: LedgerEntry) -> None:
        tamper("UPDATE ledger_postings SET currency = 'eur'")
        first = Posting.objects.order_by("id").first()
        assert first is not None
        assert find_fault().row == first.public_id


class TestCommand:
    def test_says_that_the_ledger_holds(self, entry: LedgerEntry, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("prove_ledger")
        assert "The ledger holds: 1 entries, 2 postings" in capsys.readouterr().out

    def test_names_the_first_wrong_row(self, entry: LedgerEntry) -> None:
        tamper("DELETE FROM ledger_postings")
        with pytest.raises(CommandError, match=entry.public_id):
            call_command("prove_ledger")
