from importlib.util import find_spec

from django.apps import AppConfig


class ManaRTCConfig(AppConfig):
    name = "mana_rtc"
    verbose_name = "Mana calls"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Without the extra "rtc" there is no media: clients see from the welcome's features that calls are not offered.
        if find_spec("aiortc") is not None:
            from mana_rtc import handlers  # noqa: F401  registers the frame handlers
