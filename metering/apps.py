from django.apps import AppConfig


class MeteringConfig(AppConfig):
    name = "metering"
    verbose_name = "Usage"

    def ready(self) -> None:
        """Read the rules of the usage feed: a file that cannot be used stops the start, not the first event."""
        from metering.services.export_policy import get_export_rules

        get_export_rules()
