"""The parts of a subscription: what it is billed for."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import BillingMode, SubscriptionItem
from accounts.queries.part_prices import NewPart
from accounts.queries.subscriptions import find_subscription, find_subscription_item, list_subscription_items
from accounts.services.subscriptions import PlanNotSubscribable
from billing_site.api.bodies import DeletedSerializer, StrictSerializer
from billing_site.api.fields import MetadataField, TimestampField
from billing_site.api.params import query_serializer
from billing_site.api.permissions import BOTH_READ, Scopes, both
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import AccountForbidden, DomainError, InvalidState, NotFound, ValidationFailed
from invoicing.services.changes import SubscriptionChanged
from invoicing.services.subscription_items import (
    add_subscription_item,
    remove_subscription_item,
    update_subscription_item,
)

WRITE = both("billing:subscription:write")


class SubscriptionItemQuery(serializers.Serializer[dict[str, Any]]):
    subscription_id = serializers.CharField(required=False, max_length=64, help_text="Required for public callers.")


class SubscriptionItemSerializer(serializers.Serializer[SubscriptionItem]):
    id = serializers.CharField(source="public_id")
    subscription_id = serializers.CharField(source="subscription.public_id")
    price_id = serializers.SerializerMethodField(help_text="Null for a meter that a rule or a quota prices.")
    plan_id = serializers.SerializerMethodField(help_text="The plan whose price it is.")
    meter_id = serializers.SerializerMethodField()
    quantity = serializers.IntegerField(help_text="0 for metered.")
    billing_mode = serializers.ChoiceField(choices=BillingMode.choices)
    metadata = MetadataField()
    created_at = TimestampField()

    def get_price_id(self, item: SubscriptionItem) -> str | None:
        return None if item.price is None else item.price.public_id

    def get_plan_id(self, item: SubscriptionItem) -> str:
        version = item.subscription.plan_version if item.price is None else item.price.plan_version
        return version.plan.key

    def get_meter_id(self, item: SubscriptionItem) -> str | None:
        return None if item.meter is None else item.meter.public_id


_BEHAVIORS: Final = ("create_prorations", "none")


class _ProrationField(serializers.ChoiceField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            choices=_BEHAVIORS,
            default="create_prorations",
            help_text="What the rest of the period costs waits for the next invoice, or costs nothing.",
            **kwargs,
        )


class SubscriptionItemInput(StrictSerializer):
    """What to add: a price, or a plan for its fee, or with a meter for its usage price, or a meter alone."""

    subscription_id = serializers.CharField(max_length=64)
    price_id = serializers.CharField(required=False, allow_null=True, max_length=100)
    plan_id = serializers.CharField(required=False, allow_null=True, max_length=100)
    meter_id = serializers.CharField(required=False, allow_null=True, max_length=100, help_text="Id or event name.")
    quantity = serializers.IntegerField(
        required=False, min_value=0, max_value=2_147_483_647, help_text="Default 1; none for metered."
    )
    billing_mode = serializers.ChoiceField(
        choices=BillingMode.choices, required=False, help_text="Default: what the rest means."
    )
    proration_behavior = _ProrationField()
    metadata = MetadataField(required=False)


class SubscriptionItemChangeInput(StrictSerializer):
    needs_one = True

    quantity = serializers.IntegerField(required=False, min_value=1, max_value=2_147_483_647)
    metadata = MetadataField(required=False)
    proration_behavior = _ProrationField()


class SubscriptionItemDeleteQuery(serializers.Serializer[dict[str, Any]]):
    proration_behavior = _ProrationField()


class SubscriptionItemViewSet(BillingViewSet):
    """What a subscription is billed for; items that have ended are not shown."""

    scopes: ClassVar[dict[str, Scopes]] = {
        "list": BOTH_READ,
        "retrieve": BOTH_READ,
        "create": WRITE,
        "partial_update": WRITE,
        "destroy": WRITE,
    }
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "list": [NotFound],
        "retrieve": [NotFound],
        "create": [AccountForbidden, NotFound, InvalidState, PlanNotSubscribable],
        "partial_update": [AccountForbidden, NotFound, InvalidState, SubscriptionChanged],
        "destroy": [AccountForbidden, NotFound, InvalidState],
    }
    operation_ids: ClassVar[dict[str, str]] = {
        "list": "subscription_item_list",
        "retrieve": "subscription_item_get",
        "create": "subscription_item_create",
        "partial_update": "subscription_item_update",
        "destroy": "subscription_item_delete",
    }

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

    @extend_schema(request=SubscriptionItemInput, responses={201: SubscriptionItemSerializer})
    def create(self, request: Request) -> Response:
        """Add a priced part; a fee is charged for the rest of the period, usage counts from now on."""
        body = SubscriptionItemInput(data=request.data)
        body.is_valid(raise_exception=True)
        values = body.validated_data
        found = find_subscription(self.principal, values["subscription_id"], write=True)
        added = add_subscription_item(
            subscription_id=found.pk,
            part=NewPart(
                price_id=values.get("price_id"),
                plan_key=values.get("plan_id"),
                meter_id=values.get("meter_id"),
                quantity=values.get("quantity"),
                billing_mode=values.get("billing_mode"),
                metadata=values.get("metadata", {}),
            ),
            at=clock.now(found.account),
            actor=self.actor,
            proration_behavior=values["proration_behavior"],
            self_service=not self.principal.is_internal,
        )
        return self._answer(added, status=201)

    @extend_schema(request=SubscriptionItemChangeInput, responses=SubscriptionItemSerializer)
    def partial_update(self, request: Request, item_id: str) -> Response:
        """
        Change the quantity, at once, or the metadata.

        The quantity of the plan's own fee is that of the subscription. A fee billed in arrears goes on under a new id.
        """
        body = SubscriptionItemChangeInput(data=request.data)
        body.is_valid(raise_exception=True)
        values = body.validated_data
        if "quantity" not in values and "metadata" not in values:
            raise ValidationFailed.of("/proration_behavior", "nothing_changes", "Name a quantity or metadata.")
        item = find_subscription_item(self.principal, item_id, write=True)
        changed = update_subscription_item(
            item_id=item.pk,
            at=clock.now(item.subscription.account),
            actor=self.actor,
            quantity=values.get("quantity"),
            metadata=values.get("metadata"),
            proration_behavior=values["proration_behavior"],
            expected_revision=item.subscription.revision,
        )
        return self._answer(changed)

    @extend_schema(parameters=[SubscriptionItemDeleteQuery], responses={200: DeletedSerializer})
    def destroy(self, request: Request, item_id: str) -> Response:
        """Take a part off: the unused rest of a fee is credited, usage so far is still invoiced."""
        query = query_serializer(SubscriptionItemDeleteQuery, request)
        item = find_subscription_item(self.principal, item_id, write=True)
        remove_subscription_item(
            item_id=item.pk,
            at=clock.now(item.subscription.account),
            actor=self.actor,
            proration_behavior=query["proration_behavior"],
        )
        return Response(DeletedSerializer({"id": item.public_id, "deleted": True}).data)

    def _answer(self, item: SubscriptionItem, status: int = 200) -> Response:
        shown = list_subscription_items(self.principal).get(pk=item.pk)
        return Response(SubscriptionItemSerializer(shown).data, status=status)
