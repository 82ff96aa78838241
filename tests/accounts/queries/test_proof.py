"""The proof finds what was changed behind the triggers."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.models import CreditLot, Hold, LedgerAccount, LedgerEntry, Posting
from accounts.queries.proof import LedgerFault, prove_ledger
from accounts.services.deposits import deposit
from accounts.services.holds import capture_hold, create_hold
from accounts.services.spending import spend_prepaid
from tests.factories.accounts import ACTOR, AT, make_account, make_entry


def tamper(*statements: str) -> None:
    """Change rows as the superuser of the database could."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # what was written so far is right
        cursor.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            cursor.execute(statement)
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

    def test_finds_a_posting_whose_entry_is_gone(self, entry: LedgerEntry) -> None:
        tamper("DELETE FROM ledger_entries")
        first = Posting.objects.order_by("id").first()
        assert first is not None
        assert str(find_fault()) == f"{first.public_id}: its entry or its ledger account is gone"


@pytest.fixture
def lot(db: None) -> CreditLot:
    """A deposit of 5.00 usd of which 2.00 were spent and 1.00 is held."""
    account = make_account()
    entry = deposit(account=account, amount=500, currency="usd", at=AT, actor=ACTOR)
    spend_prepaid(account=account, amount=200, currency="usd", key="usage:1", at=AT, actor=ACTOR)
    create_hold(account=account, amount=100, currency="usd", at=AT, actor=ACTOR)
    return CreditLot.objects.get(entry=entry)


class TestDeposits:
    def test_hold_when_spent_and_held(self, lot: CreditLot) -> None:
        assert prove_ledger().holds

    def test_with_another_rest_are_found(self, lot: CreditLot) -> None:
        tamper("UPDATE credit_lots SET remaining = 301")
        assert str(find_fault()) == f"{lot.public_id}: has 3.01 USD left; what was taken leaves 3.00 USD"

    def test_whose_takings_were_removed_are_found(self, lot: CreditLot) -> None:
        tamper("DELETE FROM credit_lot_takings")
        assert find_fault().row == lot.public_id

    def test_are_found_when_postings_and_balances_were_raised_together(self, lot: CreditLot) -> None:
        tamper(
            f"UPDATE ledger_postings SET amount = amount * 2 WHERE entry_id = '{lot.entry_id}'",
            "UPDATE ledger_accounts SET balance = balance + 500 WHERE kind = 'cash'",
            "UPDATE ledger_accounts SET balance = balance - 500 WHERE kind = 'prepaid'",
        )
        assert str(find_fault()) == f"{lot.public_id}: is of 5.00 USD, its entry brought 10.00 USD"

    def test_that_have_more_than_the_balance_are_found(self, lot: CreditLot) -> None:
        tamper("DELETE FROM credit_lot_takings", "UPDATE credit_lots SET remaining = amount")
        pot = LedgerAccount.objects.get(kind="prepaid")
        assert str(find_fault()) == f"{pot.public_id}: holds 3.00 USD, its deposits have 5.00 USD left"

    def test_that_gave_more_than_was_spent_are_found(self, lot: CreditLot) -> None:
        tamper("UPDATE credit_lot_takings SET amount = 201", "UPDATE credit_lots SET remaining = 299")
        spent = LedgerEntry.objects.get(key="usage:1")
        assert str(find_fault()) == f"{spent.public_id}: moved 2.00 USD, but 2.01 USD in deposits"


class TestHolds:
    def test_that_captured_something_else_are_found(self, lot: CreditLot) -> None:
        made = capture_hold(hold_id=Hold.objects.get().pk, amount=60, at=AT, actor=ACTOR)
        assert prove_ledger().holds
        tamper("UPDATE holds SET captured_amount = 61")
        assert str(find_fault()) == f"{made.public_id}: captured 0.61 USD, its entry took 0.60 USD"

    def test_that_deny_their_capture_are_found(self, lot: CreditLot) -> None:
        made = capture_hold(hold_id=Hold.objects.get().pk, amount=60, at=AT, actor=ACTOR)
        tamper("UPDATE holds SET status = 'voided', captured_amount = 0, entry_id = NULL")
        assert made.entry is not None
        assert str(find_fault()) == f"{made.entry.public_id}: captures no hold"


class TestCommand:
    def test_says_that_the_ledger_holds(self, entry: LedgerEntry, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("prove_ledger")
        assert "The ledger holds: 1 entries, 2 postings" in capsys.readouterr().out

    def test_names_the_first_wrong_row(self, entry: LedgerEntry) -> None:
        tamper("DELETE FROM ledger_postings")
        with pytest.raises(CommandError, match=entry.public_id):
            call_command("prove_ledger")
