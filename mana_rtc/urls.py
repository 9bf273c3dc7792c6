"""Routes below ``api/``, which ``mana.urls`` includes where the app is installed."""

from django.urls import path

from mana_rtc.api import CallDeclineView, CallEndView, CallsView, CallView, IceServersView

api = [
    path("rtc/ice-servers", IceServersView.as_view(), name="ice-servers"),
    path("rtc/calls", CallsView.as_view(), name="calls"),
    path("rtc/calls/<str:call_id>", CallView.as_view(), name="call"),
    path("rtc/calls/<str:call_id>/reject", CallDeclineView.as_view(), name="call-reject"),
    path("rtc/calls/<str:call_id>/end", CallEndView.as_view(), name="call-end"),
]
