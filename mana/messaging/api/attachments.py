"""REST: files of messages and rooms' avatars."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from uuid import UUID

from django.core.exceptions import SuspiciousFileOperation
from django.http import FileResponse, HttpResponse, HttpResponseNotModified
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle, UserRateThrottle

from mana.conf import settings
from mana.messaging import files, overview, services
from mana.messaging.api import ranges
from mana.messaging.api.ids import ByIdView
from mana.messaging.models import Attachment
from mana.messaging.serializers.messages import AttachmentSerializer, UploadSerializer
from mana.messaging.serializers.rooms import RoomSerializer
from mana.messaging.services.attachments import Upload
from mana.messaging.services.people import as_person
from mana.protocol import ErrorCode, ManaError
from mana.rest import ManaAPIView
from mana.throttles import counts

#: What multipart/form-data may add to a file: boundaries, headers, other fields.
OVERHEAD = 64 * 1024
BYTES = OpenApiResponse(OpenApiTypes.BINARY, "The bytes of the file, never to be interpreted as a page.")
SOME_BYTES = OpenApiResponse(OpenApiTypes.BINARY, "The part that the `Range` header asks for.")
NO_BYTES = OpenApiResponse(None, "The part lies behind the end; `Content-Range` tells the size.")
RANGE = OpenApiParameter("Range", str, OpenApiParameter.HEADER, description="One part, such as `bytes=0-1023`.")


def _bytes_of(content_type: str) -> dict[Any, Any]:
    return {(200, content_type): BYTES, (206, content_type): SOME_BYTES, 304: None, 416: NO_BYTES}


class UploadThrottle(UserRateThrottle):
    """``MANA["UPLOAD_RATE"]``."""

    scope = "mana_upload"
    cache = counts  # type: ignore[assignment]  # no BaseCache, but has all that is asked of one

    def get_rate(self) -> str:
        """The setting."""
        return settings.UPLOAD_RATE


class _UploadView(ManaAPIView):
    parser_classes = [MultiPartParser]
    max_size_setting = "ATTACHMENT_MAX_SIZE"

    def get_throttles(self) -> list[BaseThrottle]:
        """What takes a file in is limited by user."""
        return [UploadThrottle()] if self.request.method in ("POST", "PUT") else []

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuses a body that is too large before any of it is read."""
        super().initial(request, *args, **kwargs)
        try:
            length = int(request.META.get("CONTENT_LENGTH") or 0)
        except ValueError:
            length = 0
        limit = getattr(settings, self.max_size_setting)
        if length > limit + OVERHEAD:
            raise ManaError(ErrorCode.TOO_LARGE, f"The file may have {limit} bytes.")

    def uploaded(self) -> Upload:
        """The file of the request."""
        file = self.validated(UploadSerializer)["file"]
        return Upload(file, file.name or "", file.size or 0)


class AttachmentsView(_UploadView):
    """Files on their way into messages."""

    @extend_schema(
        operation_id="attachments_upload",
        request={"multipart/form-data": UploadSerializer},
        responses={201: AttachmentSerializer},
    )
    def post(self, request: Request) -> Response:
        """Uploads a file. Send its `id` in the `attachments` of a message; without one it goes after a while."""
        found = services.upload(request.user, self.uploaded())
        return Response(described(found), status=status.HTTP_201_CREATED)


class AttachmentView(ByIdView):
    """One file."""

    @extend_schema(responses=AttachmentSerializer)
    def get(self, request: Request, attachment_id: UUID) -> Response:
        """What it is."""
        return Response(described(services.attachment(attachment_id, request.user)))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, attachment_id: UUID) -> Response:
        """Removes a file that no message carries."""
        services.discard_upload(attachment_id, request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class AttachmentFileView(ByIdView):
    """A file's bytes."""

    @extend_schema(parameters=[RANGE], responses=_bytes_of("*/*"))
    def get(self, request: Request, attachment_id: UUID) -> HttpResponse | FileResponse:
        """The file, for those who may read its message."""
        found = services.attachment(attachment_id, request.user)
        return served(request, found.file, found.content_type, found.name, etag=found.sha256)


class ThumbnailView(ByIdView):
    """A small copy of an image."""

    @extend_schema(parameters=[RANGE], responses=_bytes_of("image/webp"))
    def get(self, request: Request, attachment_id: UUID) -> HttpResponse | FileResponse:
        """The thumbnail: without any metadata of the original."""
        found = services.attachment(attachment_id, request.user)
        if not found.thumbnail:
            raise ManaError(ErrorCode.NOT_FOUND, "This file has no thumbnail.")
        return served(request, found.thumbnail, "image/webp", "thumbnail.webp", etag=f"{found.sha256}-thumbnail")


class AvatarView(_UploadView):
    """A room's picture."""

    max_size_setting = "AVATAR_MAX_BYTES"

    @extend_schema(parameters=[RANGE], responses=_bytes_of("image/webp"))
    def get(self, request: Request, room_id: str) -> HttpResponse | FileResponse:
        """The picture, for those who may know of the room."""
        _, name = services.avatar_of(room_id, request.user)
        return served(request, name, "image/webp", "avatar.webp", etag=name[-16:])

    @extend_schema(request={"multipart/form-data": UploadSerializer}, responses=RoomSerializer)
    def put(self, request: Request, room_id: str) -> Response:
        """Gives the room a picture, cut to a square."""
        result = services.set_avatar(room_id, request.user, self.uploaded())
        return Response(overview.room_for(as_person(request.user), result.room))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, room_id: str) -> Response:
        """Takes the picture away."""
        services.set_avatar(room_id, request.user, None)
        return Response(status=status.HTTP_204_NO_CONTENT)


def described(file: Attachment) -> dict[str, Any]:
    """A file for its uploader and readers."""
    args = [file.pk]
    return {
        "id": str(file.pk),
        "name": file.name,
        "content_type": file.content_type,
        "size": file.size,
        "width": file.width,
        "height": file.height,
        "thumbnail": bool(file.thumbnail),
        "message_id": str(file.message_id) if file.message_id else None,
        "url": reverse("mana:attachment-file", args=args),
        "thumbnail_url": reverse("mana:attachment-thumbnail", args=args) if file.thumbnail else None,
    }


def served(request: Request, stored: str, content_type: str, name: str, *, etag: str) -> HttpResponse | FileResponse:
    """Bytes that a browser shows only if they can do no harm, and never as a page of this site."""
    tag = f'"{etag}"'
    response: HttpResponse | FileResponse
    if request.headers.get("If-None-Match") == tag:
        response = HttpResponseNotModified()
    else:
        try:
            file = files.storage().open(stored)
        except (OSError, SuspiciousFileOperation):
            raise ManaError(ErrorCode.NOT_FOUND, "The file is not there any more.") from None
        response = _whole_or_part(request, file, tag)
        response["Content-Type"] = content_type
        response["Accept-Ranges"] = "bytes"
        disposition = "inline" if content_type in files.SHOWN else "attachment"
        response["Content-Disposition"] = f"{disposition}; filename*=UTF-8''{quote(name, safe='')}"
    response["ETag"] = tag
    response["Cache-Control"] = "private, no-cache"
    response["Vary"] = "Authorization, Cookie"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    response["Cross-Origin-Resource-Policy"] = "same-site"
    return response


def _whole_or_part(request: Request, file: Any, tag: str) -> HttpResponse | FileResponse:
    size = file.size
    try:
        # A part of another file than the client has the beginning of would be no use.
        is_same = request.headers.get("If-Range", tag) == tag
        part = ranges.asked_for(request.headers.get("Range"), size) if is_same else None
    except ranges.Unsatisfiable:
        file.close()
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}"})
    if part is None:
        return FileResponse(file)
    headers = {"Content-Range": f"bytes {part.first}-{part.last}/{size}", "Content-Length": str(part.length)}
    return FileResponse(ranges.PartOfFile(file, part), status=206, headers=headers)
