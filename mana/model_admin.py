"""What mana's pages of the admin share: pages of long lists, and a note of what was done.

Part of no app, and without a model, so that every app's ``admin`` may use it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import Any

from django.contrib import admin
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_user_model
from django.core.paginator import Page, Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.text import smart_split, unescape_string_literal

#: What the first character of a search field means.
_LOOKUPS = {"=": "iexact", "^": "istartswith"}
#: From so many rows on a list is long: fewer are found by their keys.
LONG = 1000


class KeysFirstPaginator(Paginator):
    """Pages that stay cheap in a long list: at its end, in any order, and where a search has to read all rows.

    A database sorts, and skips up to an OFFSET, whole rows with all that ``select_related`` joins to them. So primary
    keys are read first, of a long list from the end that is nearer, and then the rows of the page. The keys of a short
    list tell how many they are as well: what a search compares it compares once.
    """

    object_list: Any  # a QuerySet

    @cached_property
    def _few(self) -> list[Any] | None:
        """The keys of a short list; ``None`` for a long one."""
        keys = list(self.object_list.order_by().values_list("pk", flat=True)[:LONG])
        return keys if len(keys) < LONG else None

    @cached_property
    def count(self) -> int:
        """How many rows there are."""
        return len(self._few) if self._few is not None else int(self.object_list.count())

    def page(self, number: int | str) -> Page[Any]:
        """The page with this number, from 1. Raises ``InvalidPage``."""
        number = self.validate_number(number)
        bottom = (number - 1) * self.per_page
        top = min(bottom + self.per_page, self.count)
        rows = self.object_list
        if self._few is not None:
            return Page(rows.filter(pk__in=self._few)[bottom:top], number, self)
        keys = rows.values_list("pk", flat=True)
        if self.count - top < bottom:
            chosen = list(keys.reverse()[self.count - top : self.count - bottom])
        else:
            chosen = list(keys[bottom:top])
        return Page(rows.filter(pk__in=chosen), number, self)


class ManaList(ChangeList):
    """A list whose rows all come from the paginator; Django asks once more for those of a single page."""

    def get_results(self, request: HttpRequest) -> None:
        """The rows of the page."""
        super().get_results(request)
        if not self.multi_page:
            self.result_list = self.paginator.page(1).object_list


class ManaAdmin(admin.ModelAdmin):
    """The base of mana's pages: long lists, and actions that leave a trace."""

    paginator = KeysFirstPaginator
    #: The full count would scan the table once more on each page.
    show_full_result_count = False

    class Media:
        css = {"all": ["mana/admin.css"]}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The class of the list."""
        return ManaList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Rows that hold every word in one of the search fields, as in all of Django's admin.

        Names of users and rooms are looked for in their own tables; joined, each would be compared once per row.
        """
        fields = self.get_search_fields(request)
        for word in smart_split(search_term) if fields else ():
            quoted = word[0] in "\"'" and word[0] == word[-1]
            text = unescape_string_literal(word) if quoted else word
            queryset = queryset.filter(reduce(or_, (self._holds(field, text) for field in fields)))
        return queryset, False

    def _holds(self, field: str, text: str) -> Q:
        lookup = _LOOKUPS.get(field[0])
        name = field[1:] if lookup else field
        condition = {f"{name}__{lookup or 'icontains'}": text}
        relation, _, name = name.partition("__")
        if not name:
            return Q(**condition)
        related: Any = self.opts.get_field(relation).related_model
        found = related._default_manager.filter(**{f"{name}__{lookup or 'icontains'}": text})
        return Q(**{f"{relation}__in": found.order_by().values("pk")})

    def is_own_page(self, request: HttpRequest) -> bool:
        """Whether the request is for one of the model's own pages, not for those of what it hangs on."""
        view = (request.resolver_match.url_name if request.resolver_match else "") or ""
        return view.startswith(f"{self.opts.app_label}_{self.opts.model_name}_")

    def note(self, request: HttpRequest, row: Any, what: str, flag: int = CHANGE) -> LogEntry:
        """Writes into the admin's history, which the log of ``mana.moderation`` follows, what was done to a row."""
        # One by one: entries that are stored in bulk send no signal.
        actor: Any = request.user.pk  # as it is: the log looks its user up by that
        (entry,) = LogEntry.objects.log_actions(actor, [row], flag, change_message=what)
        return entry

    def log_deletions(self, request: HttpRequest, queryset: Iterable[Any]) -> list[LogEntry]:
        """Notes each row that is about to be deleted."""
        return [self.note(request, row, "", DELETION) for row in queryset]


def text_block(text: str) -> str:
    """Text as it is, in lines that fit the page. Without a style of its own, which a site's CSP would refuse."""
    return format_html('<pre class="mana-text">{}</pre>', text)


def name_lookup(relation: str) -> str:
    """The lookup of a related user's name, in whatever user model the project has: ``user__username``."""
    return f"{relation}__{get_user_model().USERNAME_FIELD}"
