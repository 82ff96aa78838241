"""Posting entries: balanced, once, set-based, and right when many post at once."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Account, LedgerAccount, LedgerEntry, Posting
from accounts.queries.proof import prove_ledger
from accounts.services.deposits import deposit
from accounts.services.ledger import (
    EntryUnbalanced,
    NewEntry,
    PostingSpec,
    post_entries,
    post_entry,
    reverse_entries,
    reverse_entry,
)
from accounts.services.spending import spend_prepaid
from billing_site.kernel.errors import InvalidState
from tests.factories.accounts import ACTOR, AT, make_account, make_entry, make_new_entry


def balances(account: Account | None = None) -> dict[tuple[str, str], int]:
    """Balances other than zero by (kind, currency)."""
    pots = LedgerAccount.objects.exclude(balance=0)
    if account is not None:
        pots = pots.filter(account=account)
    return {(pot.kind, pot.currency): pot.balance for pot in pots}


@pytest.mark.django_db
class TestPostEntry:
    def test_moves_balances_by_its_postings(self) -> None:
        account = make_account()
        entry = make_entry(account, 500)
        assert balances() == {("cash", "usd"): 500, ("prepaid", "usd"): -500}
        legs = Posting.objects.filter(entry=entry).order_by("id").values_list("ledger_account__kind", "amount")
        assert list(legs) == [("cash", 500), ("prepaid", -500)]

    def test_books_an_issued_invoice(self) -> None:
        account = make_account()
        # 50.00 less 10.00 discount, 10 % tax: 44.00 to be paid.
        post_entry(
            key="invoice:in_1",
            type="invoice",
            account_id=account.pk,
            postings=[
                PostingSpec("receivable", account.pk, "usd", 4400),
                PostingSpec("revenue", None, "usd", -4000),
                PostingSpec("tax", None, "usd", -400),
            ],
            at=AT,
            livemode=False,
        )
        assert balances() == {("receivable", "usd"): 4400, ("revenue", "usd"): -4000, ("tax", "usd"): -400}
        types = dict(LedgerAccount.objects.values_list("kind", "type"))
        assert (types["receivable"], types["revenue"], types["tax"]) == ("asset", "revenue", "liability")

    def test_answers_the_first_entry_for_a_repeated_key(self) -> None:
        account = make_account()
        first = make_entry(account, 500, key="topup:1")
        again = make_entry(account, 900, key="topup:1")
        assert again.pk == first.pk
        assert balances(account) == {("prepaid", "usd"): -500}
        assert Posting.objects.count() == 2

    @pytest.mark.parametrize(
        "postings",
        [
            [],
            [("cash", False, "usd", 100)],
            [("cash", False, "usd", 100), ("prepaid", True, "usd", -99)],
            [("cash", False, "usd", 100), ("prepaid", True, "eur", -100)],
            [("cash", False, "usd", 0), ("prepaid", True, "usd", 0)],
            [("cash", True, "usd", 100), ("prepaid", True, "usd", -100)],
            [("cash", False, "usd", 100), ("prepaid", False, "usd", -100)],
            [("cash", False, "usd", 1.5), ("prepaid", True, "usd", -1.5)],
            [("cash", False, "usd", True), ("prepaid", True, "usd", -1)],
        ],
    )
    def test_refuses_what_does_not_balance_before_writing(self, postings: list[tuple[str, bool, str, Any]]) -> None:
        account = make_account()
        specs = [PostingSpec(kind, account.pk if own else None, code, amount) for kind, own, code, amount in postings]
        with pytest.raises(EntryUnbalanced):
            post_entry(key="bad", type="x", account_id=account.pk, postings=specs, at=AT, livemode=False)
        assert not LedgerEntry.objects.exists()


@pytest.mark.django_db
class TestPostEntries:
    def count_queries(self, accounts: list[Account]) -> int:
        entries = [make_new_entry(account) for account in accounts]
        with CaptureQueriesContext(
            connection,
        ) as queries:
            post_entries(entries)
        return len(queries)

    def test_takes_as_many_statements_for_300_entries_as_for_3(self) -> None:
        accounts = [make_account() for _ in range(300)]
        self.count_queries(accounts[:1])  # opens the platform's pots
        few, many = self.count_queries(accounts[:3]), self.count_queries(accounts)
        assert many == few
        assert many <= 10

    def test_opens_missing_pots_with_a_fixed_number_of_statements(self) -> None:
        accounts = [make_account() for _ in range(50)]

        def post(currency: str, owners: list[Account]) -> int:
            with CaptureQueriesContext(connection) as queries:
                post_entries([make_new_entry(account, currency=currency) for account in owners])
            return len(queries)

        assert post("eur", accounts[:2]) == post("jpy", accounts)
        assert LedgerAccount.objects.filter(kind="prepaid", currency="jpy").count() == 50

    def test_answers_in_the_order_asked_with_old_and_repeated_keys(self) -> None:
        account = make_account()
        old = make_entry(account, 100, key="old")
        keys = ["b", "old", "a", "b"]
        posted = post_entries([make_new_entry(account, 10, key=key) for key in keys])
        assert [entry.key for entry in posted] == keys
        assert posted[1].pk == old.pk
        assert posted[0].pk == posted[3].pk
        assert balances(account) == {("prepaid", "usd"): -120}  # 100 + 10 + 10

    def test_posts_nothing_when_one_entry_does_not_balance(self) -> None:
        account = make_account()
        bad = NewEntry("bad", "x", account.pk, [PostingSpec("cash", None, "usd", 5)], AT, livemode=False)
        with pytest.raises(EntryUnbalanced):
            post_entries([make_new_entry(account), bad])
        assert not LedgerEntry.objects.exists()

    def test_of_nothing_asks_nothing(self) -> None:
        with CaptureQueriesContext(connection) as queries:
            assert post_entries([]) == []
        assert not [query for query in queries if "SAVEPOINT" not in query["sql"]]


@pytest.mark.django_db
class TestReverseEntry:
    def test_puts_the_balances_back_and_links_to_the_original(self) -> None:
        account = make_account()
        entry = make_entry(account, 500)
        reversal = reverse_entry(entry=entry, at=AT)
        assert reversal.reverses_id == entry.pk
        assert balances() == {}

    def test_reverses_once(self) -> None:
        entry = make_entry(make_account(), 500)
        assert reverse_entry(entry=entry, at=AT).pk == reverse_entry(entry=entry, at=AT).pk
        assert balances() == {}

    def test_refuses_to_reverse_a_reversal(self) -> None:
        reversal = reverse_entry(entry=make_entry(make_account(), 500), at=AT)
        with pytest.raises(InvalidState):
            reverse_entry(entry=reversal, at=AT)

    def test_refuses_to_reverse_what_moved_deposits(self) -> None:
        account = make_account()
        entry = deposit(account=account, amount=500, currency="usd", at=AT, actor=ACTOR)
        spent = spend_prepaid(account=account, amount=200, currency="usd", key="usage:1", at=AT, actor=ACTOR)
        for moved in (entry, spent):
            with pytest.raises(InvalidState):
                reverse_entry(entry=moved, at=AT)
        assert balances(account) == {("prepaid", "usd"): -300}
        assert prove_ledger().holds

    def test_reverses_many_with_a_fixed_number_of_statements(self) -> None:
        entries = [make_entry(make_account(), 100) for _ in range(20)]
        with CaptureQueriesContext(connection) as few:
            reverse_entries(entries=entries[:2], at=AT)
        with CaptureQueriesContext(connection) as many:
            reverse_entries(entries=entries[2:], at=AT)
        assert len(few) == len(many)
        assert balances() == {}


amounts = st.integers(-(10**12), 10**12).filter(bool)
moves = st.tuples(
    st.sampled_from(["prepaid", "invoice_credit", "settlement", "receivable", "cash", "revenue", "promotions"]),
    st.integers(0, 2),
    st.sampled_from(["usd", "jpy", "kwd"]),
    amounts,
)


@pytest.mark.django_db
class TestBalances:
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(batches=st.lists(st.lists(moves, min_size=1, max_size=6), min_size=1, max_size=5))
    def test_equal_the_sum_of_postings_whatever_is_posted(self, batches: list[list[tuple[str, int, str, int]]]) -> None:
        sid = transaction.savepoint()
        owners = [make_account() for _ in range(3)]
        expected: dict[tuple[str, Any, str], int] = defaultdict(int)
        for batch in batches:
            entries = []
            for kind, owner, currency, amount in batch:
                account_id = (
                    owners[owner].pk if kind in ("prepaid", "invoice_credit", "settlement", "receivable") else None
                )
                legs = [PostingSpec(kind, account_id, currency, amount), PostingSpec("fees", None, currency, -amount)]
                entries.append(make_new_entry(owners[owner], postings=legs))
                for leg in legs:
                    expected[leg.pot] += leg.amount
            post_entries(entries)
        stored = {(pot.kind, pot.account_id, pot.currency): pot.balance for pot in LedgerAccount.objects.all()}
        assert {pot: value for pot, value in stored.items() if value} == {
            pot: value for pot, value in expected.items() if value
        }
        assert prove_ledger().holds
        transaction.savepoint_rollback(sid)


@pytest.mark.django_db(transaction=True)
class TestInParallel:
    def run_all(self, jobs: list[Any]) -> list[BaseException]:
        """Run every job in a thread with its own connection, all starting together."""
        errors: list[BaseException] = []
        start = threading.Barrier(len(jobs))

        def work(job: Any) -> None:
            try:
                start.wait()
                job()
            except BaseException as error:
                errors.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=work, args=[job]) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        return errors

    def test_50_deposits_at_once_all_count(self) -> None:
        account = make_account()
        amounts = range(1, 51)
        jobs = [
            lambda amount=amount: deposit(account=account, amount=amount, currency="usd", at=AT, actor=ACTOR)
            for amount in amounts
        ]
        assert self.run_all(jobs) == []
        assert balances(account) == {("prepaid", "usd"): -1275}  # 50 * 51 / 2
        assert LedgerEntry.objects.count() == 50
        assert prove_ledger().holds

    def test_one_key_from_20_connections_posts_once(self) -> None:
        account = make_account()
        jobs = [lambda: make_entry(account, 700, key="topup:same") for _ in range(20)]
        assert self.run_all(jobs) == []
        assert balances(account) == {("prepaid", "usd"): -700}
        assert LedgerEntry.objects.count() == 1

    def test_batches_over_the_same_accounts_in_any_order_do_not_deadlock(self) -> None:
        accounts = [make_account() for _ in range(30)]
        orders = [accounts, accounts[::-1], accounts[10:] + accounts[:10], accounts[20:] + accounts[:20]] * 3

        def post(order: list[Account]) -> None:
            post_entries([make_new_entry(account, 10) for account in order])

        assert self.run_all([lambda order=order: post(order) for order in orders]) == []
        assert balances(accounts[0]) == {("prepaid", "usd"): -120}
        assert prove_ledger().holds
