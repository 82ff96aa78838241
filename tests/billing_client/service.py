"""
A real HTTP server that speaks the parts of the API which the client uses, with state in memory.

Not the product's code: shapes are those of the contract. Tests script failures with `fail_next`.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

PDF = b"%PDF-1.7\n%a document\n"

INVOICE: dict[str, Any] = {
    "id": "in_1",
    "account_id": "acc_1",
    "subscription_id": "sub_1",
    "period_start": "2023-11-01T00:00:00Z",
    "period_end": "2023-12-01T00:00:00Z",
    "subtotal": 1731,
    "discount": 0,
    "tax": 0,
    "credit_applied": 0,
    "amount_due": 1731,
    "amount_paid": 0,
    "amount_remaining": 1731,
    "currency": "usd",
    "status": "open",
    "is_overdue": True,
    "is_partially_paid": False,
    "number": 42,
    "number_str": "INV-0042",
    "line_items": [
        {
            "id": "il_1",
            "type": "usage",
            "description": "=SUM(A1) · input tokens",
            "quantity": "22361870",
            "unit_price": "0.00005",
            "amount": 1118,
            "currency": "usd",
        },
        {
            "id": "il_2",
            "type": "subscription",
            "description": "Pro",
            "quantity": "1",
            "unit_price": "613",
            "amount": 613,
            "currency": "usd",
        },
    ],
    "issue_date": "2023-12-01",
    "due_date": "2023-12-08",
    "paid_at": None,
    "metadata": {"order": "7"},
    "created_at": "2023-12-01T00:05:00Z",
}
SUBSCRIPTION: dict[str, Any] = {
    "id": "sub_1",
    "account_id": "acc_1",
    "plan_id": "llm-pro",
    "plan": {"id": "llm-pro", "name": "Pro", "price": 5000, "currency": "eur", "interval": "month"},
    "status": "active",
    "quantity": 1,
    "current_period_start": "2023-11-01T00:00:00Z",
    "current_period_end": "2023-12-01T00:00:00Z",
    "cancel_at_period_end": True,
}
ALERTS = "/api/v1/billing/realtime-cost/tenants/.+/alerts"
SPEND_ALERT: dict[str, Any] = {
    "id": "alert_1",
    "account_id": "acc_1",
    "title": "The roof",
    "threshold": 500000,
    "currency": "usd",
    "triggered_at": "2023-11-20T10:30:00Z",
}
COST_ALERT: dict[str, Any] = {
    "id": "alert_2",
    "account_id": "acc_1",
    "threshold_type": "anomaly",
    "threshold_amount": None,
    "threshold_percent": "200",
    "currency": "usd",
    "notify_email": "ops@example.com",
    "notify_slack": False,
    "status": "armed",
    "triggered_at": None,
    "triggered_value": None,
}
DISMISSED = {"status": "dismissed"}
STATUS: dict[str, Any] = {
    "account_id": "acc_1",
    "status": "active",
    "provider": "stripe",
    "plan_id": "llm-pro",
    "features": ["llm:proxy", "llm:batch"],
    "usage": [
        {
            "feature": "llm:proxy",
            "meter_event_name": "llm_tokens",
            "window": "month",
            "used": "1000000",
            "limit": "1000000",
            "remaining": "0",
            "exceeded": True,
            "upgrade_plan_id": "whale",
        }
    ],
    "setup_required": False,
    "upgrade_required": True,
    "next_action": "upgrade_plan",
    "recommended_plan": "whale",
    "has_payment_method": True,
    "credit_balance": 2000,
    "tier": "pro",
}
PLANS: list[dict[str, Any]] = [
    {
        "id": "llm-pro",
        "name": "Pro",
        "product_id": "llm",
        "price": 5000,
        "price_annual": 4000,
        "currency": "eur",
        "contact_sales": False,
        "features": ["Fast", "Big", "Kind"],
        "prices": [
            {"currency": "eur", "unit_amount": 5000, "interval": "month", "interval_count": 1, "meter": None},
            {
                "currency": "eur",
                "unit_amount": None,
                "unit_amount_decimal": "0.00005",
                "interval": "month",
                "interval_count": 1,
                "meter": "llm_tokens",
                "unit": "tokens",
            },
        ],
        "quotas": [{"meter_event_name": "llm_tokens", "window": "month", "limit": 1000000, "enforcement": "hard"}],
    },
    {"id": "whale", "name": "Whale", "product_id": "llm", "contact_sales": True, "features": [], "prices": []},
]


@dataclass
class Request:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """What to answer. `drop` closes the connection without a word."""

    status: int = 200
    data: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None
    drop: bool = False


def problem(status: int, code: str, detail: str, **members: Any) -> Reply:
    """A refusal in the contract's form."""
    return Reply(
        status,
        {"type": f"/problems/{code}", "title": code, "status": status, "code": code, "detail": detail, **members},
        {"Content-Type": "application/problem+json"},
    )


Handler = Callable[[Request], Reply]


class Service:
    """The server: its address, the requests it saw, its state, and the failures it will play."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.url = ""
        self.events: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.meters: set[str] | None = None
        self.invoices: list[dict[str, Any]] = [INVOICE]
        self.catalog: dict[str, Any] | None = None
        self.subscription: dict[str, Any] | None = SUBSCRIPTION
        self.cycle: dict[str, Any] = {"run_id": "run_1", "processed": 0, "remaining": 0, "results": []}
        self.status: dict[str, Any] = dict(STATUS)
        self.summary: dict[str, Any] = {"account_id": "acc_1", "period": {}, "metrics": [], "total_cost": 0}
        self.feed: list[dict[str, Any]] = []
        self.before_drop: Callable[[], None] | None = None
        self._failures: list[tuple[str, Reply]] = []
        self._lock = threading.Lock()
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []
        for method, pattern, handler in self._list_routes():
            self._routes.append((method, re.compile(pattern), handler))

    def fail_next(self, *replies: Reply, path: str = "") -> None:
        """Answer the next requests, to paths containing `path`, with these instead."""
        self._failures.extend((path, reply) for reply in replies)

    def seen(self, path: str) -> list[Request]:
        """The requests to paths containing `path`."""
        return [request for request in self.requests if path in request.path]

    def answer(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
            for index, (path, reply) in enumerate(self._failures):
                if path in request.path:
                    del self._failures[index]
                    return reply
            if request.path != "/readyz" and not request.headers.get("authorization", "").startswith("Bearer "):
                return problem(401, "token_missing", "No token was sent.")
            for method, pattern, handler in self._routes:
                if method == request.method and pattern.fullmatch(request.path):
                    return handler(request)
            return problem(404, "not_found", f"No such door: {request.path}")

    # ---- doors ------------------------------------------------------------------------------------------------------
    def _list_routes(self) -> list[tuple[str, str, Handler]]:
        base = "/api/v1/billing"
        return [
            ("GET", "/readyz", lambda _: Reply(200, {"ok": True})),
            ("POST", f"{base}/tenants/(.+)/usage/batch", self._record_batch),
            ("POST", f"{base}/tenants/(.+)/usage", self._record),
            ("GET", f"{base}/tenants/(.+)/usage/summary", lambda _: Reply(200, self.summary)),
            ("GET", f"{base}/tenants/(.+)/subscription", self._current_subscription),
            ("POST", f"{base}/subscriptions", self._create_subscription),
            ("GET", f"{base}/spend-alerts", lambda _: Reply(200, {"items": [SPEND_ALERT], "has_more": False})),
            ("POST", f"{base}/spend-alerts", lambda request: Reply(201, {**SPEND_ALERT, **request.data})),
            ("DELETE", f"{base}/spend-alerts/alert_1", lambda _: Reply(204, content=b"")),
            ("GET", ALERTS, lambda _: Reply(200, {"items": [COST_ALERT], "has_more": False})),
            ("POST", ALERTS, lambda request: Reply(201, {**COST_ALERT, **request.data})),
            ("POST", f"{base}/realtime-cost/alerts/alert_2/dismiss", lambda _: Reply(200, {**COST_ALERT, **DISMISSED})),
            ("POST", f"{base}/subscriptions/sub_1/(cancel|reactivate)", self._end_subscription),
            ("POST", f"{base}/subscriptions/sub_1/change-plan", self._change_plan),
            ("POST", f"{base}/subscriptions/sub_1/(pause|resume)", self._pause),
            ("GET", f"{base}/invoices", self._list_invoices),
            ("GET", f"{base}/invoices/[^/]+", self._get_invoice),
            (
                "GET",
                f"{base}/invoices/[^/]+/pdf",
                lambda _: Reply(content=PDF, headers={"Content-Type": "application/pdf"}),
            ),
            ("POST", f"{base}/invoices/[^/]+/(finalize|void)", self._get_invoice),
            ("GET", f"{base}/plans", lambda _: Reply(200, {"items": PLANS, "next_cursor": None, "has_more": False})),
            ("GET", f"{base}/plans/[^/]+", self._get_plan),
            ("GET", f"{base}/accounts/.+", self._get_account),
            ("PATCH", f"{base}/accounts/.+", self._update_account),
            ("POST", f"{base}/accounts", lambda request: Reply(201, {"id": "acc_2", **request.data})),
            ("POST", f"{base}/deposit", self._deposit),
            ("POST", f"{base}/cycle/(run|run-user|run-all)", lambda _: Reply(200, self.cycle)),
            ("GET", f"{base}/status", lambda _: Reply(200, self.status)),
            ("GET", "/api/internal/billing/accounts/[^/]+/status", lambda _: Reply(200, self.status)),
            ("GET", f"{base}/balance/all", self._balances),
            ("GET", f"{base}/transactions", self._transactions),
            ("GET", "/api/internal/usage-events", self._read_feed),
            ("DELETE", "/api/internal/usage-events", self._drop_feed),
            ("GET", "/api/internal/billing/catalog", self._get_catalog),
            ("PUT", "/api/internal/billing/catalog", self._put_catalog),
            ("GET", "/api/internal/billing/catalog/revisions", self._list_revisions),
            ("GET", "/api/internal/billing/catalog/revisions/compare", self._compare_revisions),
            ("POST", "/api/internal/billing/catalog/revisions/[0-9]+/republish", self._republish),
        ]

    def _select_feed(self, request: Request) -> tuple[list[dict[str, Any]], bool]:
        before, size = request.query.get("before", "2026-03-15T12:00:00Z"), int(request.query["page_size"])
        start = (int(request.query["page"]) - 1) * size
        found = sorted(
            (each for each in self.feed if each["occurred_at"] < before), key=lambda each: each["occurred_at"]
        )
        return found[start : start + size], len(found) > start + size

    def _read_feed(self, request: Request) -> Reply:
        items, more = self._select_feed(request)
        before = request.query.get("before", "2026-03-15T12:00:00Z")
        page, size = int(request.query["page"]), int(request.query["page_size"])
        return Reply(200, {"items": items, "page": page, "page_size": size, "before": before, "has_more": more})

    def _drop_feed(self, request: Request) -> Reply:
        if self.before_drop is not None:
            self.before_drop()
        items, _ = self._select_feed(request)
        self.feed = [each for each in self.feed if each not in items]
        return Reply(200, {"deleted": len(items)})

    def _record_batch(self, request: Request) -> Reply:
        events = request.data["events"]
        if len(events) > 1000:
            return problem(400, "batch_too_large", "too many", maximum=1000)
        if self.meters is not None:
            for index, event in enumerate(events):
                if event["metric_type"] not in self.meters:
                    finding = {
                        "pointer": f"/events/{index}/metric_type",
                        "code": "meter_not_found",
                        "detail": f"No meter is named {event['metric_type']}.",
                    }
                    return problem(404, "meter_not_found", finding["detail"], errors=[finding])
        account = unquote(request.path.split("/tenants/")[1].removesuffix("/usage/batch"))
        statuses = []
        for event in events:
            key = (account, event["metric_type"], event["idempotency_key"])
            statuses.append("duplicate" if key in self.events else "created")
            self.events.setdefault(key, event)
        return Reply(
            201,
            {
                "items": [{"id": f"ue_{index}", "status": status} for index, status in enumerate(statuses)],
                "created": statuses.count("created"),
                "duplicates": statuses.count("duplicate"),
            },
        )

    def _record(self, request: Request) -> Reply:
        return Reply(201, {"id": "ue_1", "status": "created", "unit": "tokens", **request.data})

    def _current_subscription(self, request: Request) -> Reply:
        if self.subscription is None:
            return problem(404, "subscription_not_found", "No running subscription.")
        return Reply(200, self.subscription)

    def _change_plan(self, request: Request) -> Reply:
        """`max` is dearer than what runs, `free` is cheaper, other plans are not known."""
        plan = request.data["plan_id"]
        if plan not in {"max", "free"}:
            return problem(404, "plan_not_found", f"The catalog has no plan {plan!r}.")
        waits = request.data.get("effective") == "period_end"
        changed = {"pending_plan_id": plan} if waits else {"plan_id": plan, "plan": {"id": plan, "name": plan}}
        if not request.data.get("preview"):
            return Reply(200, {**SUBSCRIPTION, "cancel_at_period_end": False, **changed})
        line = {
            "type": "proration",
            "description": f"{plan} · remaining time",
            "period_start": "2023-11-16T00:00:00Z",
            "period_end": "2023-12-01T00:00:00Z",
            "quantity": "1",
            "amount": 2500 if plan == "max" else -2500,
            "share": "15/30 days",
        }
        preview = {
            "direction": "upgrade" if plan == "max" else "downgrade",
            "when": "period_end" if waits else "immediate",
            "effective_at": "2023-12-01T00:00:00Z" if waits else "2023-11-16T00:00:00Z",
            "lines": [] if waits else [line],
            "total": 0 if waits else line["amount"],
            "amount_due": 2500 if plan == "max" else 0,
            "currency": "eur",
        }
        return Reply(200, {**SUBSCRIPTION, **changed, "preview": preview})

    def _pause(self, request: Request) -> Reply:
        return Reply(200, {**SUBSCRIPTION, "status": "paused" if request.path.endswith("pause") else "active"})

    def _end_subscription(self, request: Request) -> Reply:
        if request.path.endswith("reactivate"):
            return Reply(200, {**SUBSCRIPTION, "cancel_at_period_end": False})
        now = bool(request.data.get("immediately"))
        return Reply(200, {**SUBSCRIPTION, "status": "canceled" if now else "active", "cancel_at_period_end": not now})

    def _create_subscription(self, request: Request) -> Reply:
        if request.data["plan_id"] != "llm-pro":
            return problem(404, "plan_not_found", "No such plan.")
        return Reply(201, {**SUBSCRIPTION, "cancel_at_period_end": False})

    def _list_invoices(self, request: Request) -> Reply:
        start, limit = int(request.query.get("cursor", "0")), int(request.query.get("limit", "50"))
        items = self.invoices[start : start + limit]
        more = start + limit < len(self.invoices)
        return Reply(200, {"items": items, "next_cursor": str(start + limit) if more else None, "has_more": more})

    def _get_invoice(self, request: Request) -> Reply:
        reference = request.path.split("/invoices/")[1].split("/")[0]
        found = next((one for one in self.invoices if reference in {one["id"], one["number_str"]}), None)
        return Reply(200, found) if found else problem(404, "not_found", "No such invoice.", object_type="invoice")

    def _get_plan(self, request: Request) -> Reply:
        found = next((plan for plan in PLANS if request.path.endswith(f"/{plan['id']}")), None)
        return Reply(200, found) if found else problem(404, "plan_not_found", "No such plan.")

    def _get_account(self, request: Request) -> Reply:
        external_id = unquote(request.path.split("/accounts/")[1])
        return Reply(
            200,
            {
                "id": "acc_1",
                "external_id": external_id,
                "name": "Acme",
                "email": "ap@acme.example",
                "currency": "usd",
                "status": "active",
                "created_at": "2023-01-02T03:04:05Z",
            },
        )

    def _update_account(self, request: Request) -> Reply:
        return Reply(200, {**self._get_account(request).data, **request.data})

    def _deposit(self, request: Request) -> Reply:
        return Reply(
            201,
            {"transaction_id": "le_1", "account_id": "acc_1", "type": "deposit", "expires_at": None, **request.data},
        )

    def _balances(self, request: Request) -> Reply:
        return Reply(
            200,
            {
                "account_id": "acc_1",
                "balances": [
                    {"currency": "usd", "balance": 2500, "holds": 500, "available": 2000},
                    {"currency": "jpy", "balance": -1500, "holds": 0, "available": 0},
                ],
            },
        )

    def _transactions(self, request: Request) -> Reply:
        movement = {
            "id": "le_1",
            "type": "deposit",
            "amount": 2500,
            "currency": "usd",
            "tags": "",
            "notes": "@welcome",
            "created_at": "2023-11-01T10:20:30Z",
            "expires_at": None,
        }
        return Reply(200, {"transactions": [movement], "count": 3, "account_id": "acc_1"})

    def _get_catalog(self, request: Request) -> Reply:
        return Reply(200, self.catalog) if self.catalog else problem(404, "catalog_empty", "Nothing was published.")

    def _put_catalog(self, request: Request) -> Reply:
        if "if-match" in request.headers and request.headers["if-match"] != '"6"':
            return problem(412, "revision_conflict", "Revision 6 is active.")
        self.catalog = {**request.data, "revision": 7, "published_at": "2023-11-01T00:00:00Z"}
        if request.query.get("dry_run"):
            changes = {"plans": {"added": ["llm-pro"], "removed": [], "changed": [{"key": "llm-basic"}]}}
            return Reply(200, {**self.catalog, "dry_run": True, "difference": changes})
        return Reply(200, self.catalog)

    def _list_revisions(self, request: Request) -> Reply:
        row = {"published_at": "2023-11-01T00:00:00Z", "published_by": "token:ci", "reason": ""}
        rows = [{**row, "revision": 7, "active": True}, {**row, "revision": 6, "active": False, "reason": "spring"}]
        more = int(request.query["limit"]) < len(rows)
        return Reply(200, {"items": rows[: int(request.query["limit"])], "next_cursor": None, "has_more": more})

    def _compare_revisions(self, request: Request) -> Reply:
        old, new = int(request.query["from"]), int(request.query.get("to", "7"))
        tier = {"pointer": "/plans/1/prices/0/tiers/1", "field": "price usd:month:api tier 2 up to 10,000"}
        price = {"pointer": "/plans/1/prices/1", "field": "price eur:month", "old": None, "new": {"currency": "eur"}}
        changes = [{**tier, "old": "0.8", "new": "0.7"}, price]
        plans = {"added": [{"id": "max"}], "removed": [], "changed": [{"id": "pro", "changes": changes}]}
        return Reply(200, {"old": old, "new": new, "difference": {"plans": plans} if old != new else {}})

    def _republish(self, request: Request) -> Reply:
        if request.headers.get("if-match", '"6"') != '"6"':
            return problem(412, "revision_conflict", "Revision 6 is active.")
        return Reply(200, {"revision": 7, "plans": [{}, {}], "published_at": "2023-11-01T00:00:00Z"})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: Service

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        request = Request(
            self.command,
            parts.path,
            dict(parse_qsl(parts.query)),
            {name.lower(): value for name, value in self.headers.items()},
            self.rfile.read(length),
        )
        reply = self.service.answer(request)
        if reply.drop:
            self.close_connection = True
            return
        content = reply.content if reply.content is not None else json.dumps(reply.data).encode()
        self.send_response_only(reply.status)
        date = self.date_time_string()
        headers = {"Content-Type": "application/json", "X-Request-ID": "req-1", "Date": date, **reply.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_DELETE = do_GET = do_PATCH = do_POST = do_PUT = _serve

    def log_message(self, format: str, *args: Any) -> None:
        """Keep tests quiet."""


@contextmanager
def run_service() -> Iterator[Service]:
    """Run a service on a free port of this machine for the block."""
    service = Service()
    handler = type("Handler", (_Handler,), {"service": service})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        service.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()
