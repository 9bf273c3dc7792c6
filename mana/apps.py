from django.apps import AppConfig


class ManaConfig(AppConfig):
    name = "mana"
    verbose_name = "Mana"

    def ready(self) -> None:
        from mana import checks  # noqa: F401  registers the system checks
        from mana.observability import checks as operations  # noqa: F401  and those of running it
