from django.apps import AppConfig


class ObservabilityConfig(AppConfig):
    name = "mana.observability"
    label = "mana_observability"
    verbose_name = "Mana observability"

    def ready(self) -> None:
        from mana.observability import access_log, metrics, tracing

        metrics.register()
        access_log.scrub()
        tracing.set_up()
