"""HTTP routes, which ``mana.urls`` includes where the app is installed."""

from django.urls import path

from mana_e2ee import api as views

api = [
    path("e2ee/devices", views.DevicesView.as_view(), name="e2ee-devices"),
    path("e2ee/devices/<str:device_id>", views.DeviceView.as_view(), name="e2ee-device"),
    path("e2ee/devices/<str:device_id>/prekeys", views.PrekeysView.as_view(), name="e2ee-prekeys"),
    path("e2ee/devices/<str:device_id>/envelopes", views.EnvelopesView.as_view(), name="e2ee-envelopes"),
    path("e2ee/devices/<str:device_id>/acks", views.AcksView.as_view(), name="e2ee-acks"),
    path("e2ee/device-list", views.DeviceListView.as_view(), name="e2ee-device-list"),
    path("e2ee/backup", views.BackupView.as_view(), name="e2ee-backup"),
    path("e2ee/users/<str:user_id>/device-lists", views.DeviceListsView.as_view(), name="e2ee-device-lists"),
    path("e2ee/bundles/<str:user_id>", views.BundlesView.as_view(), name="e2ee-bundles"),
    path("e2ee/rooms/<str:room_id>/devices", views.RecipientsView.as_view(), name="e2ee-recipients"),
]
