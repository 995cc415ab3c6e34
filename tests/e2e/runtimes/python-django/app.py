"""The notes service with Django: settings, models and views in one file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings

database = urlsplit(os.environ["DATABASE_URL"])
settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    SECRET_KEY="of a service without sessions",
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": database.hostname,
            "PORT": database.port,
            "USER": database.username,
            "NAME": database.path.lstrip("/"),
            "CONN_MAX_AGE": 600,
        }
    },
    CACHES={
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": os.environ["REDIS_URL"],
        }
    },
)
django.setup()

from django.core.cache import cache  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.db import models, transaction  # noqa: E402
from django.db.models.functions import Now  # noqa: E402
from django.http import (  # noqa: E402
    FileResponse,
    HttpRequest,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path  # noqa: E402
from django.views.decorators.http import require_GET, require_http_methods  # noqa: E402
from django_redis import get_redis_connection  # noqa: E402

BUG = os.environ.get("NOTES_BUG", "")


class Note(models.Model):
    author = models.TextField()
    title = models.TextField()
    body = models.TextField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        app_label = "notes"
        db_table = "notes"


class History(models.Model):
    note_id = models.BigIntegerField()
    action = models.TextField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        app_label = "notes"
        db_table = "history"


def as_note(note: Note) -> dict[str, Any]:
    return {
        "id": note.pk,
        "author": note.author,
        "title": note.title.upper() if BUG == "title" else note.title,
        "body": note.body,
        "created_at": note.created_at.isoformat(),
    }


def health(_request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "ok"})


@require_http_methods(["GET", "POST"])
def notes(request: HttpRequest) -> HttpResponse:
    return create(request) if request.method == "POST" else newest(request)


def create(request: HttpRequest) -> HttpResponse:
    asked = json.loads(request.body)
    if not asked.get("title"):
        return JsonResponse({"error": "title is required"}, status=422)
    with transaction.atomic():
        note = Note.objects.create(**asked)
        if BUG != "history":
            History.objects.create(note_id=note.pk, action="created")
    made = as_note(note)
    cache.set(f"note:{note.pk}", made)
    get_redis_connection("default").incr(f"notes:count:{note.author}")
    return JsonResponse(made, status=201, headers={"Location": f"/notes/{note.pk}"})


def newest(request: HttpRequest) -> HttpResponse:
    found = Note.objects.filter(author=request.GET["author"])
    order = "pk" if BUG == "order" else "-pk"
    limit = int(request.GET.get("limit", 10))
    return JsonResponse([as_note(note) for note in found.order_by(order)[:limit]], safe=False)


@require_http_methods(["GET", "DELETE"])
def one_note(request: HttpRequest, number: int) -> HttpResponse:
    return delete(number) if request.method == "DELETE" else read(number)


def read(number: int) -> HttpResponse:
    cached = cache.get(f"note:{number}")
    if cached is not None:
        return JsonResponse(cached, headers={"X-Cache": "hit"})
    note = Note.objects.filter(pk=number).first()
    if note is None:
        return JsonResponse({"error": "no such note"}, status=404)
    found = as_note(note)
    cache.set(f"note:{number}", found, 60)
    return JsonResponse(found, headers={"X-Cache": "miss"})


def delete(number: int) -> HttpResponse:
    deleted, _ = Note.objects.filter(pk=number).delete()
    if not deleted:
        return JsonResponse({"error": "no such note"}, status=404)
    cache.delete(f"note:{number}")
    return HttpResponse(status=204)


def echo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.body, content_type=request.headers["Content-Type"])


def report(request: HttpRequest) -> StreamingHttpResponse:
    rows = int(request.GET["rows"])
    with django.db.connection.cursor() as cursor:
        cursor.execute("SELECT generate_series(1, %s::int)", (rows,))
        lines = [f"row {number}\n" for (number,) in cursor]
    return StreamingHttpResponse(iter(lines), content_type="text/plain")


@require_GET
def file(_request: HttpRequest, name: str) -> FileResponse:
    return FileResponse(Path(os.environ["FILES_DIR"], name).open("rb"))


urlpatterns = [
    path("health", health),
    path("notes", notes),
    path("notes/<int:number>", one_note),
    path("echo", echo),
    path("report", report),
    path("files/<str:name>", file),
]
application = WSGIHandler()
