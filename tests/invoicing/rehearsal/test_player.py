"""A story happens through the product's services, and nothing of it stays."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from accounts.models import Account, LedgerAccount
from invoicing.models import Invoice
from invoicing.rehearsal.player import Played, play_story
from invoicing.rehearsal.reading import read_story
from tests.support import world
from tests.support.jobs import SentJobs

STORY = """\
title: a rehearsed month
catalog:
  products: [{id: llm, name: Models}]
  meters: [{name: input_tokens, unit: tokens}]
  plans:
    - id: pro
      product_id: llm
      name: Pro
      prices:
        - {currency: usd, unit_amount: 2500, interval: month}
        - {currency: usd, interval: month, meter: input_tokens, unit_amount: "1"}
accounts: [{id: acme, currency: usd}]
steps:
  - {at: "2023-11-01T00:00:00Z", subscribe: {account: acme, plan: pro, as: sub}}
  - {at: "2023-11-10T00:00:00Z", usage: {account: acme, meter: input_tokens, quantity: 40}}
  - {advance_to: "2023-12-01T00:00:00Z"}
"""
# An entry without postings, which the ledger's deferred trigger refuses at commit.
UNBALANCED = """
    INSERT INTO ledger_entries (id, key, type, description, tags, metadata, livemode, created_at)
    VALUES (gen_random_uuid(), 'unbalanced', 'deposit', '', '', '{}', false, now())
"""
EXPECT = """\
expect:
  exact: true
  invoices:
    - {account: acme, number: INV-0001, total: "25.00"}
    - {account: acme, number: INV-0002, total: "25.40"}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "story.yaml"


def play(path: Path, text: str, *, keep: bool = False) -> Played:
    path.write_text(text, encoding="utf-8")
    return play_story(read_story(path), keep=keep)


def read_everything() -> dict[str, list[Any]]:
    """Return every row of the product's tables as text."""
    tables = [table for table in connection.introspection.table_names() if not table.startswith("djstripe")]
    found = {}
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f'SELECT t::text FROM "{table}" t ORDER BY 1')
            found[table] = cursor.fetchall()
    return found


@pytest.mark.django_db(transaction=True)
class TestNothingStays:
    def test_in_an_empty_database(self, path: Path, sent_jobs: SentJobs) -> None:
        before = read_everything()
        played = play(path, STORY + EXPECT)
        assert played.holds
        assert read_everything() == before
        assert sent_jobs == []

    def test_beside_real_accounts_of_the_same_names(self, path: Path, sent_jobs: SentJobs) -> None:
        world.publish()
        account = world.open_account("acme")
        world.subscribe(account, "pro")
        world.use(account, "input_tokens", [2_000_000], at=datetime(2023, 11, 20, tzinfo=UTC))
        world.open_account("trap", test_clock=make_clock())
        sent_jobs.clear()
        before = read_everything()
        played = play(path, STORY + EXPECT)
        assert played.holds, [step.refusal for step in played.steps]
        assert read_everything() == before
        assert sent_jobs == []
        # and the real account's next number and amounts are what they would have been
        world.run_cycle(as_of=world.DECEMBER)
        assert [(each.number_text, each.total) for each in world.list_invoices()] == [
            ("INV-0001", 1000),
            ("INV-0002", 1100),
        ]

    def test_even_when_a_step_breaks(self, path: Path) -> None:
        before = read_everything()
        played = play(path, f"{STORY}  - {{subscribe: {{account: acme, plan: gold}}}}\n  - {{run_cycle: }}\n")
        assert not played.holds
        assert played.stopped
        assert played.steps[-1].refusal is not None
        assert played.steps[-1].refusal.code == "plan_not_found"
        assert read_everything() == before

    def test_unless_it_is_kept(self, path: Path, sent_jobs: SentJobs) -> None:
        played = play(path, STORY + EXPECT, keep=True)
        assert played.kept
        account = Account.objects.get()
        assert (account.org_id, account.external_id) == (played.org_id, f"{played.org_id}/acme")
        assert [invoice.total for invoice in Invoice.objects.order_by("id")] == [2500, 2540]
        assert set(sent_jobs.names) == {"invoicing.store_invoice_documents", "metering.evaluate_alerts"}
        # a second run of the same story meets nothing of the first
        assert play(path, STORY + EXPECT, keep=True).holds


def make_clock() -> Any:
    from accounts.services.test_clocks import create_test_clock

    return create_test_clock(name="another", now_at=world.NOVEMBER, at=world.NOVEMBER, actor=world.TESTER)


@pytest.mark.django_db
class TestPlayStory:
    def test_moves_through_every_boundary_in_order(self, path: Path) -> None:
        text = STORY.replace('advance_to: "2023-12-01', 'advance_to: "2024-02-15')
        played = play(path, text)
        assert [moment.at.month for moment in played.steps[2].moments] == [12, 1, 2]
        assert [len(moment.documents) for moment in played.steps[2].moments] == [1, 1, 1]

    def test_in_one_step_or_in_many_is_the_same(self, path: Path) -> None:
        days = "".join(f'  - {{at: "2023-11-{day:02}T12:00:00Z"}}\n' for day in range(11, 31))
        many = STORY.replace("  - {advance_to", f"{days}  - {{advance_to")
        assert play(path, STORY + EXPECT).holds
        assert play(path, many + EXPECT).holds

    def test_a_refused_step_leaves_nothing_and_the_story_goes_on(self, path: Path) -> None:
        refused = "  - {subscribe: {account: acme, plan: pro}, expect: {error: subscription_exists}}\n"
        played = play(path, STORY + refused + EXPECT)
        assert played.holds
        assert played.steps[3].refusal is not None

    def test_a_step_that_should_be_refused_and_is_not_fails(self, path: Path) -> None:
        played = play(path, f"{STORY}  - {{run_cycle: , expect: {{error: invalid_state}}}}\n{EXPECT}")
        assert not played.holds
        assert not played.steps[3].met

    def test_another_refusal_than_the_expected_one_fails(self, path: Path) -> None:
        refused = "  - {subscribe: {account: acme, plan: pro}, expect: {error: plan_not_found}}\n"
        played = play(path, STORY + refused + EXPECT)
        assert not played.holds

    def test_names_the_line_of_what_is_refused_at_the_beginning(self, path: Path) -> None:
        coupon = "  coupons: [{code: A, type: percentage, value: 10}]\naccounts"
        played = play(path, STORY.replace("accounts", coupon, 1))
        assert played.refused is not None
        assert (played.refused.line, played.holds) == (12, False)
        assert "validation_failed" in str(played.refused)

    def test_recomputes_every_document(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert play(path, STORY).verified == 2
        from invoicing.services import drafting

        build = drafting.build_line

        def build_wrong(*arguments: Any, **options: Any) -> Any:
            line = build(*arguments, **options)
            line.unit_amount += Decimal("0.5")
            return line

        monkeypatch.setattr(drafting, "build_line", build_wrong)
        played = play(path, STORY)
        assert len(played.unproven) == 3
        assert not played.holds

    def test_lets_the_database_check_what_it_checks_at_commit(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unbalance(*arguments: Any, **options: Any) -> list[str]:
            with connection.cursor() as cursor:
                cursor.execute(UNBALANCED)
            return []

        from invoicing.rehearsal import clockwork

        monkeypatch.setattr(clockwork, "run_cycle", unbalance)
        played = play(path, f"{STORY}  - {{run_cycle: }}\n")
        assert played.stopped
        assert played.steps[-1].refusal is not None
        assert played.steps[-1].refusal.code == "storage_refused"

    def test_reports_a_subscription_that_cannot_be_billed(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from invoicing.queries import grouping

        def refuse(*arguments: Any, **options: Any) -> None:
            raise ValueError("facts that contradict each other")

        monkeypatch.setattr(grouping, "draft_invoice", refuse)
        text = STORY.replace("unit_amount: 2500", "unit_amount: 0")
        played = play(path, text)
        assert played.stopped
        assert played.steps[-1].refusal is not None
        assert played.steps[-1].refusal.code == "facts_invalid"

    def test_works_where_the_site_is_live(self, path: Path, settings: Any) -> None:
        settings.BILLING_LIVEMODE = True
        assert play(path, STORY + EXPECT).holds
        assert settings.BILLING_LIVEMODE is True

    def test_leaves_deposits_of_others_alone(self, path: Path) -> None:
        from accounts.services.deposits import deposit

        others = [world.open_account("mine"), world.open_account("trap", test_clock=make_clock())]
        for other in others:
            deposit(account=other, amount=500, currency="usd", at=world.OCTOBER, actor=world.TESTER, expires_in=1)
        expiring = (
            '  - {deposit: {account: acme, amount: 100, expires_in: 2}}\n  - {advance_to: "2023-12-05T00:00:00Z"}\n'
        )
        assert play(path, STORY + expiring + "expect: {balances: [{account: acme, prepaid: 0}]}\n", keep=True).holds
        pots = LedgerAccount.objects.filter(account__in=others, kind="prepaid")
        assert list(pots.values_list("balance", flat=True)) == [-500, -500]
