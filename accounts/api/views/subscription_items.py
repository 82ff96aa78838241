"""The parts of a subscription: what it is billed for."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import BillingMode, SubscriptionItem
from accounts.queries.subscriptions import find_subscription, find_subscription_item, list_subscription_items
from billing_site.api.fields import MetadataField, TimestampField
from billing_site.api.params import query_serializer
from billing_site.api.permissions import BOTH_READ
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel.errors import NotFound, ValidationFailed


class SubscriptionItemQuery(serializers.Serializer[dict[str, Any]]):
    subscription_id = serializers.CharField(required=False, max_length=64, help_text="Required for public callers.")


class SubscriptionItemSerializer(serializers.Serializer[SubscriptionItem]):
    id = serializers.CharField(source="public_id")
    subscription_id = serializers.CharField(source="subscription.public_id")
    price_id = serializers.SerializerMethodField(help_text="Null for a meter that a rule or a quota prices.")
    plan_id = serializers.CharField(source="subscription.plan_version.plan.key")
    meter_id = serializers.SerializerMethodField()
    quantity = serializers.IntegerField(help_text="0 for metered.")
    billing_mode = serializers.ChoiceField(choices=BillingMode.choices)
    metadata = MetadataField()
    created_at = TimestampField()

    def get_price_id(self, item: SubscriptionItem) -> str | None:
        return None if item.price is None else item.price.public_id

    def get_meter_id(self, item: SubscriptionItem) -> str | None:
        return None if item.meter is None else item.meter.public_id


class SubscriptionItemViewSet(BillingViewSet):
    """What a subscription is billed for; items that have ended are not shown."""

    scopes = {"list": BOTH_READ, "retrieve": BOTH_READ}
    problems = {"list": [NotFound], "retrieve": [NotFound]}
    operation_ids = {"list": "subscription_item_list", "retrieve": "subscription_item_get"}

    @extend_schema(parameters=[SubscriptionItemQuery], responses=list_of(SubscriptionItemSerializer))
    def list(self, request: Request) -> Response:
        """List the parts of a subscription, or of all the caller may see."""
        reference = query_serializer(SubscriptionItemQuery, request).get("subscription_id")
        if not reference and not self.principal.is_internal:
            raise ValidationFailed.of("/subscription_id", "required", "Name the subscription.")
        items = list_subscription_items(self.principal)
        if reference:
            items = items.filter(subscription=find_subscription(self.principal, reference))
        return self.page(items, SubscriptionItemSerializer)

    @extend_schema(responses=SubscriptionItemSerializer)
    def retrieve(self, request: Request, item_id: str) -> Response:
        """Show one part."""
        return Response(SubscriptionItemSerializer(find_subscription_item(self.principal, item_id)).data)
