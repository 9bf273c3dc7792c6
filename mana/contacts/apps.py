from django.apps import AppConfig


class ContactsConfig(AppConfig):
    name = "mana.contacts"
    label = "mana_contacts"
    verbose_name = "Mana contacts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Contacts see each other's changes live; the blocked see nothing and find nobody."""
        from mana.accounts import live
        from mana.accounts.services import hides_people
        from mana.contacts import services

        live.knows(services.contact_ids)
        live.must_not_know(services.blocked_ids)
        hides_people(services.hidden_pks)
