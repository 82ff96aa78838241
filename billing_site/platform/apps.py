"""The platform app: what every domain stands on."""

from django.apps import AppConfig


class PlatformConfig(AppConfig):
    name = "billing_site.platform"
    label = "platform"
    verbose_name = "Platform"
