from django.apps import AppConfig


class MessagingConfig(AppConfig):
    name = "mana.messaging"
    label = "mana_messaging"
    verbose_name = "Mana messaging"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from mana.messaging import acquaintances, checks, handlers  # noqa: F401  register themselves
        from mana.messaging.source import MessagingSource
        from mana.realtime import source

        source.register(MessagingSource())
