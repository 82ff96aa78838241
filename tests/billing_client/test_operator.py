"""The operator's commands."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from catalog.data import read_default
from tests.billing_client.conftest import SERVICE_TOKEN, Billing
from tests.billing_client.service import Service, problem

RESULTS: list[dict[str, Any]] = [
    {"account_id": "acc_1", "subscription_id": "sub_1", "invoice_id": "in_1", "success": True, "error": None},
    {"account_id": "acc_2", "subscription_id": "sub_2", "invoice_id": None, "success": False, "error": "no price"},
]


@pytest.fixture
def template(billing: Billing, tmp_path: Path) -> Path:
    path = tmp_path / "catalog.json"
    assert billing("operator", "catalog", "template", "--output", str(path), "--quiet").code == 0
    return path


class TestCatalogTemplate:
    def test_needs_neither_service_nor_token(
        self, billing: Billing, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("BILLING_OPERATOR_TOKEN")
        plans = {plan["id"] for plan in billing("operator", "catalog", "template").data["plans"]}
        assert plans == {"llm-basic", "llm-pro", "containers-starter", "containers-team"}
        assert service.requests == []

    def test_the_default_catalog_is_one_of_them(self, billing: Billing) -> None:
        assert billing("operator", "catalog", "template", "--name=default").data == read_default()

    @pytest.mark.parametrize("name", ["llm", "containers", "usage"])
    def test_others_are_printed_by_name(self, billing: Billing, name: str) -> None:
        plans = billing("operator", "catalog", "template", f"--name={name}").data["plans"]
        assert all(plan["id"].startswith(name if name != "usage" else "llm-payg") for plan in plans)

    def test_others_are_named(self, billing: Billing) -> None:
        outcome = billing("operator", "catalog", "template", "--name=gold")
        assert outcome.code == 2
        assert "starter" in outcome.err


class TestCatalogPut:
    def test_publishes_what_the_file_says(self, billing: Billing, service: Service, template: Path) -> None:
        outcome = billing("operator", "catalog", "put", "--file", str(template), "--if-match", "6")
        assert outcome.code == 0, outcome.err
        request = service.requests[0]
        assert request.body == template.read_bytes()
        assert request.headers["if-match"] == '"6"'
        assert request.headers["authorization"] == f"Bearer {SERVICE_TOKEN}"
        assert outcome.out.splitlines()[2].split() == ["7", "2", "4", "2", "2023-11-01T00:00:00Z"]

    def test_reads_stdin(
        self, billing: Billing, service: Service, template: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stdin = SimpleNamespace(buffer=io.BytesIO(b"\xef\xbb\xbf" + template.read_bytes()))
        monkeypatch.setattr("sys.stdin", stdin)
        assert billing("operator", "catalog", "put", "--file=-").code == 0
        assert service.requests[0].body == template.read_bytes()

    def test_a_dry_run_shows_the_difference(self, billing: Billing, service: Service, template: Path) -> None:
        outcome = billing("operator", "catalog", "put", "--file", str(template), "--dry-run", "--format=csv")
        assert service.requests[0].query == {"dry_run": "true"}
        assert outcome.out.splitlines() == [
            "change,kind,id,what,old,new",
            "added,plans,llm-pro,,,",
            "changed,plans,llm-basic,,,",
        ]

    def test_a_secret_never_leaves_the_machine(self, billing: Billing, service: Service, tmp_path: Path) -> None:
        path = tmp_path / "c.json"
        document = {
            "products": [{"id": "x", "name": "X", "metadata": {"stripe": "sk_live_51Hxyz", "password": "hunter2"}}],
            "plans": [],
            "meters": [],
        }
        path.write_text(json.dumps(document))
        outcome = billing("operator", "catalog", "put", "--file", str(path))
        assert outcome.code == 1
        assert outcome.err.splitlines() == [
            "Error: the catalog was refused, 2 findings",
            "/products/0/metadata/stripe: this value looks like a provider's secret key; "
            "secrets do not belong in a catalog",
            "/products/0/metadata/password: this key is named like a secret, which a catalog must not hold",
            "Hint: nothing was published",
        ]
        assert service.requests == []

    def test_findings_of_the_server_have_their_lines_too(
        self, billing: Billing, service: Service, template: Path
    ) -> None:
        finding = {"pointer": "/plans/0/quotas/0/window", "code": "choice", "detail": "No such window."}
        service.fail_next(problem(400, "catalog_invalid", "1 finding.", errors=[finding]))
        outcome = billing("operator", "catalog", "put", "--file", str(template))
        assert outcome.code == 1
        assert outcome.err.splitlines()[:2] == [
            "Error: the catalog was refused, 1 finding",
            "/plans/0/quotas/0/window: No such window.",
        ]

    def test_a_revision_that_moved_on_is_told(self, billing: Billing, template: Path) -> None:
        outcome = billing("operator", "catalog", "put", "--file", str(template), "--if-match", "5")
        assert (outcome.code, outcome.err.splitlines()[0]) == (1, "Error: Revision 6 is active.")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"{", "the catalog is not valid JSON: line 1, column 2:"),
            (b"\xff", "is not UTF-8 text"),
            (b"{}", "the catalog was refused, 3 findings"),
        ],
    )
    def test_nonsense_is_not_sent(
        self, billing: Billing, service: Service, tmp_path: Path, content: bytes, message: str
    ) -> None:
        path = tmp_path / "c.json"
        path.write_bytes(content)
        for command in ("put", "validate"):
            outcome = billing("operator", "catalog", command, "--file", str(path))
            assert outcome.code == 1
            assert message in outcome.err
        assert service.requests == []

    def test_validate_sends_nothing(self, billing: Billing, service: Service, template: Path) -> None:
        outcome = billing("operator", "catalog", "validate", "--file", str(template))
        assert (outcome.code, outcome.out) == (0, "The catalog is valid\n")
        assert service.requests == []


class TestCatalogRevisions:
    def test_are_listed(self, billing: Billing, service: Service) -> None:
        outcome = billing("operator", "catalog", "revisions", "--format=csv")
        assert outcome.out.splitlines() == [
            "revision,active,published_at,published_by,reason",
            "7,yes,2023-11-01T00:00:00Z,token:ci,",
            "6,,2023-11-01T00:00:00Z,token:ci,spring",
        ]
        assert service.requests[0].query == {"limit": "20"}

    def test_tell_that_there_are_more(self, billing: Billing) -> None:
        assert "older ones" in billing("operator", "catalog", "revisions", "--limit", "1").out

    def test_are_compared_value_by_value(self, billing: Billing, service: Service) -> None:
        outcome = billing("operator", "catalog", "compare", "--from", "6", "--to", "7")
        assert service.requests[0].query == {"from": "6", "to": "7"}
        lines = [re.split(r"  +", line) for line in outcome.out.splitlines()[2:]]
        assert lines == [
            ["added", "plans", "max"],
            ["changed", "plans", "pro", "price usd:month:api tier 2 up to 10,000", "0.8", "0.7"],
            ["changed", "plans", "pro", "price eur:month", '{"currency": "eur"}'],
        ]

    def test_that_say_the_same_are_told(self, billing: Billing) -> None:
        outcome = billing("operator", "catalog", "compare", "--from", "7")
        assert outcome.out == "Revisions 7 and 7 say the same\n"


class TestCatalogRollback:
    def test_publishes_an_older_revision(self, billing: Billing, service: Service) -> None:
        outcome = billing("operator", "catalog", "rollback", "3", "--reason", "too dear", "--if-match", "6")
        assert outcome.code == 0, outcome.err
        (request,) = service.requests
        assert (request.path, request.data) == (
            "/api/internal/billing/catalog/revisions/3/republish",
            {"reason": "too dear"},
        )
        assert request.headers["if-match"] == '"6"'
        assert outcome.out.splitlines()[2].split() == ["7", "0", "2", "0", "2023-11-01T00:00:00Z"]

    def test_needs_a_reason(self, billing: Billing, service: Service) -> None:
        assert billing("operator", "catalog", "rollback", "3").code == 2
        assert billing("operator", "catalog", "rollback", "3", "--reason", " ").code == 2
        assert service.requests == []

    def test_tells_that_somebody_was_faster(self, billing: Billing) -> None:
        outcome = billing("operator", "catalog", "rollback", "3", "--reason", "x", "--if-match", "5")
        assert (outcome.code, outcome.err.splitlines()[0]) == (1, "Error: Revision 6 is active.")

    def test_shows_what_todays_rules_refuse(self, billing: Billing, service: Service) -> None:
        finding = {"pointer": "/plans/0/prices/1/currency", "code": "currency_mixed", "detail": "No fee in gbp."}
        service.fail_next(problem(400, "catalog_invalid", "1 finding.", errors=[finding]))
        outcome = billing("operator", "catalog", "rollback", "3", "--reason", "x")
        assert "/plans/0/prices/1/currency: No fee in gbp." in outcome.err


class TestCatalogGet:
    def test_prints_the_document(self, billing: Billing, service: Service) -> None:
        service.catalog = {"version": 1, "revision": 7, "plans": []}
        assert billing("operator", "catalog", "get", "--revision", "7").data == service.catalog
        assert service.requests[0].query == {"revision": "7"}

    def test_says_when_there_is_none(self, billing: Billing) -> None:
        assert billing("operator", "catalog", "get").err.startswith("Error: nothing was published yet\n")


class TestAccountCreate:
    def test_takes_the_handle_for_the_name(self, billing: Billing, service: Service) -> None:
        outcome = billing("operator", "account", "create", "--external-id", "acme/alice", "--currency=EUR")
        assert outcome.code == 0, outcome.err
        assert service.requests[0].data == {"name": "acme/alice", "currency": "eur", "external_id": "acme/alice"}

    def test_needs_one_of_both(self, billing: Billing) -> None:
        assert billing("operator", "account", "create").code == 2


class TestDeposit:
    def test_takes_major_units(self, billing: Billing, service: Service) -> None:
        outcome = billing("operator", "deposit", "25.00", "--account", "acme/alice", "--notes=hi", "--expires-in", "30")
        assert outcome.code == 0, outcome.err
        assert service.requests[0].data == {
            "account": "acme/alice",
            "amount": 2500,
            "currency": "usd",
            "notes": "hi",
            "expires_in": 30,
        }
        assert "$25.00" in outcome.out

    def test_a_key_of_one_s_own_makes_it_count_once(self, billing: Billing, service: Service) -> None:
        billing("operator", "deposit", "1500", "--account=a", "--currency=JPY", "--idempotency-key=order-7")
        assert service.requests[0].headers["idempotency-key"] == "order-7"
        assert service.requests[0].data["amount"] == 1500

    @pytest.mark.parametrize("amount", ["0", "25.001", "ten", "1e400"])
    def test_nonsense_is_not_sent(self, billing: Billing, service: Service, amount: str) -> None:
        assert billing("operator", "deposit", amount, "--account=a").code == 2
        assert service.requests == []


class TestCycleRun:
    @pytest.mark.parametrize(
        ("arguments", "door", "body"),
        [
            ([], "run", {}),
            (["--org=acme"], "run", {"org_id": "acme"}),
            (["--account=acme/alice"], "run-user", {"account": "acme/alice"}),
            (["--all", "--at", "2023-12-01"], "run-all", {"at": "2023-12-01"}),
        ],
    )
    def test_chooses_its_door(
        self,
        billing: Billing,
        service: Service,
        monkeypatch: pytest.MonkeyPatch,
        arguments: list[str],
        door: str,
        body: dict[str, str],
    ) -> None:
        monkeypatch.setenv("BILLING_ACCOUNT_ID", "must/not-narrow")
        assert billing("operator", "cycle", "run", *arguments).code == 0
        assert service.requests[0].path == f"/api/v1/billing/cycle/{door}"
        assert service.requests[0].data == {"limit": 200, "dry_run": False, **body}

    def test_a_failed_subscription_is_a_failure_and_the_others_are_shown(
        self, billing: Billing, service: Service
    ) -> None:
        service.cycle = {"run_id": "run_1", "processed": 2, "remaining": 5, "results": RESULTS}
        outcome = billing("operator", "cycle", "run")
        assert outcome.code == 1
        assert outcome.out.splitlines()[2].split() == ["acc_1", "sub_1", "in_1"]
        assert outcome.out.splitlines()[3].split() == ["acc_2", "sub_2", "failed", "no", "price"]
        assert outcome.out.splitlines()[-1] == "5 are due and left for the next call"
        assert outcome.err == "Error: 1 of 2 subscriptions failed; the others are done\n"

    def test_all_organizations_are_one_list(self, billing: Billing, service: Service) -> None:
        service.cycle = {
            "orgs": 1,
            "total_processed": 1,
            "results": [{"org_id": "acme", "org_name": "Acme", "processed": 1, "results": RESULTS[:1]}],
        }
        out = billing("operator", "cycle", "run", "--all", "--format=csv").out
        assert out.splitlines()[1] == "acme,acc_1,sub_1,in_1,true,"

    def test_a_dry_run_shows_amounts(self, billing: Billing, service: Service) -> None:
        service.cycle = {
            "processed": 1,
            "results": [{**RESULTS[0], "invoice_id": None, "amount": 1731, "currency": "usd"}],
        }
        out = billing("operator", "cycle", "run", "--dry-run").out
        assert "$17.31" in out
        assert "1 would be processed" in out

    def test_scopes_exclude_each_other(self, billing: Billing, service: Service) -> None:
        assert billing("operator", "cycle", "run", "--all", "--account=a").code == 2
        assert service.requests == []


class TestInvoices:
    def test_are_finalized_and_voided(self, billing: Billing, service: Service) -> None:
        assert billing("operator", "invoice", "finalize", "in_1", "--collect").code == 0
        assert billing("operator", "invoice", "void", "in_1", "--reason", "twice").code == 0
        assert [(request.path.rsplit("/", 1)[1], request.data) for request in service.requests] == [
            ("finalize", {"collect": True}),
            ("void", {"reason": "twice"}),
        ]

    def test_json_is_the_invoice_itself(self, billing: Billing) -> None:
        assert billing("operator", "invoice", "void", "in_1", "--format=json").data["id"] == "in_1"
