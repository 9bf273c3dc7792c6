"""HTTP routes: ``path("", include("mana.urls"))`` in a project."""

from django.apps import apps
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from mana.accounts import api as accounts
from mana.contacts import api as contacts
from mana.messaging.api import attachments, control, messages
from mana.messaging.api import rooms as messaging
from mana.notifications import api as notifications
from mana.preferences import api as preferences

app_name = "mana"

api = [
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("auth/register", accounts.RegisterView.as_view(), name="register"),
    path("auth/token", accounts.TokenView.as_view(), name="token"),
    path("auth/token/refresh", accounts.TokenRefreshView.as_view(), name="token-refresh"),
    path("auth/logout", accounts.LogoutView.as_view(), name="logout"),
    path("auth/ticket", accounts.TicketView.as_view(), name="ticket"),
    path("auth/guest", accounts.GuestView.as_view(), name="guest"),
    path("auth/claim", accounts.ClaimView.as_view(), name="claim"),
    path("auth/password", accounts.PasswordView.as_view(), name="password"),
    path("auth/password/reset", accounts.PasswordResetView.as_view(), name="password-reset"),
    path("auth/password/reset/confirm", accounts.PasswordResetConfirmView.as_view(), name="password-reset-confirm"),
    path("auth/email/confirm", accounts.EmailConfirmView.as_view(), name="email-confirm"),
    path("auth/sign-ins", accounts.SignInsView.as_view(), name="sign-ins"),
    path("auth/sign-ins/<str:sign_in_id>", accounts.SignInView.as_view(), name="sign-in"),
    path("me", accounts.MeView.as_view(), name="me"),
    path("me/username", accounts.UsernameView.as_view(), name="my-username"),
    path("me/email", accounts.EmailView.as_view(), name="my-email"),
    path("me/email/verification", accounts.EmailVerificationView.as_view(), name="my-email-verification"),
    path("me/phone", accounts.PhoneView.as_view(), name="my-phone"),
    path("me/phone/verification", accounts.PhoneVerificationView.as_view(), name="my-phone-verification"),
    path("me/avatar", accounts.MyAvatarView.as_view(), name="my-avatar"),
    path("me/deletion", accounts.DeletionView.as_view(), name="my-deletion"),
    path("avatars/<str:name>", accounts.AvatarView.as_view(), name="avatar"),
    path("users", accounts.UsersView.as_view(), name="users"),
    path("users/<str:user_id>", accounts.UserView.as_view(), name="user"),
    path("devices", accounts.DevicesView.as_view(), name="devices"),
    path("devices/<str:device_id>", accounts.DeviceView.as_view(), name="device"),
    path("contacts", contacts.ContactsView.as_view(), name="contacts"),
    path("contacts/requests", contacts.RequestsView.as_view(), name="contact-requests"),
    path("contacts/requests/<str:user_id>", contacts.RequestView.as_view(), name="contact-request"),
    path("contacts/requests/<str:user_id>/accept", contacts.RequestAcceptView.as_view(), name="contact-accept"),
    path("contacts/<str:user_id>", contacts.ContactView.as_view(), name="contact"),
    path("blocks", contacts.BlocksView.as_view(), name="blocks"),
    path("blocks/<str:user_id>", contacts.BlockView.as_view(), name="block"),
    path("preferences", preferences.PreferencesView.as_view(), name="preferences"),
    path("preferences/<str:key>", preferences.PreferenceView.as_view(), name="preference"),
    path("notifications", notifications.NotificationsView.as_view(), name="notifications"),
    path("notifications/unread", notifications.UnreadView.as_view(), name="notifications-unread"),
    path("notifications/read", notifications.ReadView.as_view(), name="notifications-read"),
    path("notifications/<str:notification_id>", notifications.NotificationView.as_view(), name="notification"),
    path("push/key", notifications.PushKeyView.as_view(), name="push-key"),
    path("push/subscriptions", notifications.SubscriptionsView.as_view(), name="push-subscriptions"),
    path("sync", messaging.SyncView.as_view(), name="sync"),
    path("rooms", messaging.RoomsView.as_view(), name="rooms"),
    path("rooms/public", messaging.PublicRoomsView.as_view(), name="public-rooms"),
    path("rooms/<str:room_id>", messaging.RoomView.as_view(), name="room"),
    path("rooms/<str:room_id>/members", messaging.MembersView.as_view(), name="room-members"),
    path("rooms/<str:room_id>/members/<str:user_id>", messaging.MemberView.as_view(), name="room-member"),
    path("rooms/<str:room_id>/invitations", messaging.InvitationsView.as_view(), name="room-invitations"),
    path("rooms/<str:room_id>/messages", messaging.MessagesView.as_view(), name="room-messages"),
    path("rooms/<str:room_id>/receipts", messaging.ReceiptsView.as_view(), name="room-receipts"),
    path("rooms/<str:room_id>/members/<str:user_id>/mute", control.MuteView.as_view(), name="room-mute"),
    path("rooms/<str:room_id>/bans", control.BansView.as_view(), name="room-bans"),
    path("rooms/<str:room_id>/bans/<str:user_id>", control.BanView.as_view(), name="room-ban"),
    path("rooms/<str:room_id>/owner", control.OwnerView.as_view(), name="room-owner"),
    path("rooms/<str:room_id>/preferences", control.RoomPreferencesView.as_view(), name="room-preferences"),
    path("rooms/<str:room_id>/avatar", attachments.AvatarView.as_view(), name="room-avatar"),
    path("rooms/<str:room_id>/pins", messages.PinsView.as_view(), name="room-pins"),
    path("rooms/<str:room_id>/invites", control.InvitesView.as_view(), name="room-invites"),
    path("rooms/<str:room_id>/invites/<str:invite_id>", control.InviteView.as_view(), name="room-invite"),
    path("invites/<str:token>", control.InviteTokenView.as_view(), name="invite"),
    path("invitations", control.MyInvitationsView.as_view(), name="invitations"),
    path("invitations/<str:room_id>", control.MyInvitationView.as_view(), name="invitation"),
    path("messages/<str:message_id>", messages.MessageView.as_view(), name="message"),
    path("messages/<str:message_id>/revisions", messages.RevisionsView.as_view(), name="message-revisions"),
    path("messages/<str:message_id>/replies", messages.RepliesView.as_view(), name="message-replies"),
    path("messages/<str:message_id>/reactions", messages.ReactionsView.as_view(), name="message-reactions"),
    path("messages/<str:message_id>/reactions/<path:emoji>", messages.ReactionView.as_view(), name="message-reaction"),
    path("messages/<str:message_id>/pin", messages.PinView.as_view(), name="message-pin"),
    path("attachments", attachments.AttachmentsView.as_view(), name="attachments"),
    path("attachments/<str:attachment_id>", attachments.AttachmentView.as_view(), name="attachment"),
    path("attachments/<str:attachment_id>/file", attachments.AttachmentFileView.as_view(), name="attachment-file"),
    path("attachments/<str:attachment_id>/thumbnail", attachments.ThumbnailView.as_view(), name="attachment-thumbnail"),
]
if apps.is_installed("mana.moderation"):
    from mana.moderation import api as moderation

    api += [
        path("reports", moderation.ReportsView.as_view(), name="reports"),
        path("moderation/reports", moderation.QueueView.as_view(), name="moderation-reports"),
        path("moderation/reports/<str:report_id>", moderation.QueuedReportView.as_view(), name="moderation-report"),
        path(
            "moderation/reports/<str:report_id>/actions",
            moderation.ReportActionsView.as_view(),
            name="moderation-report-actions",
        ),
        path("moderation/audit", moderation.AuditView.as_view(), name="moderation-audit"),
    ]

if apps.is_installed("mana_e2ee"):
    from mana_e2ee.checks import missing

    if missing() is None:
        from mana_e2ee.urls import api as e2ee

        api += e2ee

if apps.is_installed("mana_rtc"):
    from mana_rtc.urls import api as calls

    api += calls

urlpatterns = [path("api/", include(api))]
if apps.is_installed("mana.observability"):
    urlpatterns.append(path("", include("mana.observability.urls")))
