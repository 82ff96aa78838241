"""Which operations there are."""

from __future__ import annotations

from billing_site.api.operations import list_operations


class TestListOperations:
    def test_names_what_routes_lead_to(self) -> None:
        operations = list_operations()
        assert {"readyz", "plan_list", "plan_get", "catalog_put", "balance_get", "invoice_list"} <= operations

    def test_nothing_else(self) -> None:
        assert "nothing" not in list_operations()
