"""The platform app: what every domain stands on."""

from django.apps import AppConfig
from django.db.backends.signals import connection_created


class PlatformConfig(AppConfig):
    name = "billing_site.platform"
    label = "platform"
    verbose_name = "Platform"

    def ready(self) -> None:
        from billing_site.platform.instants import read_quickly

        connection_created.connect(read_quickly, dispatch_uid="billing_site.platform.instants")
