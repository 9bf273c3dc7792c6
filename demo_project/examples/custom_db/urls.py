"""``/examples/custom_db/``."""

from django.urls import path

from demo_project.examples.custom_db.views import OrdersView

urlpatterns = [path("", OrdersView.as_view(), name="orders")]
