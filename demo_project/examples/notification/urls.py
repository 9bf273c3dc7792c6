"""``/examples/notification/``."""

from django.urls import path

from demo_project.examples.notification.views import NotificationView

urlpatterns = [path("", NotificationView.as_view(), name="notification")]
