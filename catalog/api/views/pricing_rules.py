"""Pricing rules: say what a meter costs, look, withdraw."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing_site.api.bodies import DeletedSerializer
from billing_site.api.params import query_serializer
from billing_site.api.permissions import internal
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import CurrencyUnsupported, DomainError, NotFound
from catalog.api.organizations import find_org
from catalog.api.serializers.pricing_rule import PricingRuleInput, PricingRuleQuery, PricingRuleSerializer
from catalog.models import PricingRule
from catalog.queries.pricing_rules import get_pricing_rule, list_pricing_rules
from catalog.services.pricing_rules import RuleExists, RuleTier, close_pricing_rule, create_pricing_rule

WRITE = internal("billing:catalog:write")


class PricingRuleViewSet(BillingViewSet):
    """Prices of meters outside plans."""

    queryset = PricingRule.objects.none()
    serializer_class = PricingRuleSerializer
    scopes = {"list": internal("billing:catalog:read"), "create": WRITE, "destroy": WRITE}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "list": [CurrencyUnsupported],
        "create": [NotFound, RuleExists, CurrencyUnsupported],
        "destroy": [NotFound],
    }
    operation_ids = {"list": "pricing_rule_list", "create": "pricing_rule_create", "destroy": "pricing_rule_delete"}

    @extend_schema(parameters=[PricingRuleQuery], responses=list_of(PricingRuleSerializer))
    def list(self, request: Request) -> Response:
        """List the pricing rules in force."""
        query = query_serializer(PricingRuleQuery, request)
        rules = list_pricing_rules(
            org_id=find_org(self.principal),
            meter=query.get("meter_id", ""),
            plan_key=query.get("plan_id", ""),
            currency=query.get("currency", ""),
        )
        return self.page(rules, PricingRuleSerializer)

    @extend_schema(request=PricingRuleInput, responses={201: PricingRuleSerializer})
    def create(self, request: Request) -> Response:
        """Say what a meter costs from now on, for every plan or one plan."""
        body = PricingRuleInput(data=request.data)
        body.is_valid(raise_exception=True)
        values = body.validated_data
        rule = create_pricing_rule(
            org_id=find_org(self.principal),
            meter=values["meter_id"],
            plan_key=values.get("plan_id") or "",
            model=values["model"],
            currency=values["currency"],
            unit_price=values.get("unit_price"),
            tiers=[RuleTier(**{"up_to": None, **tier}) for tier in values.get("tiers", ())],
            at=clock.now(),
            actor=self.actor,
        )
        return Response(PricingRuleSerializer(rule).data, status=201)

    @extend_schema(responses={200: DeletedSerializer})
    def destroy(self, request: Request, rule_id: str) -> Response:
        """Withdraw a pricing rule from now on. What was rated with it keeps its price."""
        rule = get_pricing_rule(org_id=find_org(self.principal), reference=rule_id)
        close_pricing_rule(rule_id=rule.pk, at=clock.now(), actor=self.actor)
        return Response({"id": rule.public_id, "deleted": True})
