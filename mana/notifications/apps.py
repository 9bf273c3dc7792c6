from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    name = "mana.notifications"
    label = "mana_notifications"
    verbose_name = "Mana notifications"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Registers the preferences and listens to what people are notified of."""
        from mana import signals
        from mana.accounts.services.sign_ins import ends_with_all_sign_ins
        from mana.notifications import occasions, stores, wishes

        wishes.register()
        ends_with_all_sign_ins(stores.forget_unnamed)
        signals.message_stored.connect(occasions.message_stored, dispatch_uid="mana.notify.mentions")
        signals.contact_requested.connect(occasions.contact_requested, dispatch_uid="mana.notify.requests")
        signals.contact_accepted.connect(occasions.contact_accepted, dispatch_uid="mana.notify.accepted")
