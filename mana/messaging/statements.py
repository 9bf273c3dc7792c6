"""The statements of the writer's transaction, in SQL.

The ORM builds and compiles each query anew, which for a batch of messages takes longer than the database itself needs.
What the sequencer runs for every batch is therefore written out here, once, in terms of the models' own tables,
columns and converters; everything else asks the ORM.

Whole numbers stand in the text of a statement, everything else goes as a parameter: drivers take the text apart for
each placeholder, and a batch has hundreds of numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from mana.messaging.models import Membership, Message, Room, Stream

#: Rows per statement: SQLite takes 32,766 parameters at the most, and long CASEs are searched from the top.
CHUNK = 500
#: What a message in a room moves of its sender's membership.
READ_FIELDS = ("read_index", "read_sequence", "read_count")


# -- The stream ------------------------------------------------------------------------------------------------------


def lock_stream(using: str) -> int | None:
    """Locks the stream's row until the end of the transaction; its sequence, or ``None`` if there is no row."""
    connection = connections[using]
    name = connection.ops.quote_name
    table, column = name(Stream._meta.db_table), name(column_of(Stream, "sequence"))
    where = f"WHERE {name(column_of(Stream, 'id'))} = {Stream.DEFAULT_PK}"
    with connection.cursor() as cursor:
        if connection.features.has_select_for_update:
            cursor.execute(f"SELECT {column} FROM {table} {where} FOR UPDATE")  # noqa: S608  names of columns only
        else:
            # SQLite: the first write takes the one write lock, and must come before the first read.
            cursor.execute(f"UPDATE {table} SET {column} = {column} {where}")  # noqa: S608
            cursor.execute(f"SELECT {column} FROM {table} {where}")  # noqa: S608
        row = cursor.fetchone()
    return None if row is None else row[0]


def move_stream(sequence: int, *, using: str) -> None:
    """Notes the last sequence that was given out."""
    update_rows(Stream, ("sequence",), {Stream.DEFAULT_PK: (sequence,)}, using=using)


# -- Memberships -----------------------------------------------------------------------------------------------------


def joined(membership_pks: Collection[int], *, using: str) -> list[Membership]:
    """Those of the memberships whose user is in the room, each with its room."""
    if not membership_pks:
        return []
    connection = connections[using]
    member, room = _Columns.of(Membership, using), _Columns.of(Room, using)
    sql = (
        f"SELECT {member.names}, {room.names} FROM {member.table} INNER JOIN {room.table}"  # noqa: S608
        f" ON {room.qualified('id')} = {member.qualified('room')}"
        f" WHERE {member.qualified('id')} IN ({_numbers(membership_pks)}) AND {member.qualified('state')} = %s"
        f" AND {member.qualified('first_index')} IS NOT NULL"
    )
    found = []
    rooms: dict[int, Room] = {}
    with connection.cursor() as cursor:
        cursor.execute(sql, [Membership.State.JOINED])
        for row in cursor.fetchall():
            membership = member.instance(row[: member.width], connection)
            of = rooms.get(membership.room_id)
            if of is None:
                of = rooms[membership.room_id] = room.instance(row[member.width :], connection)
            membership.room = of
            found.append(membership)
    return found


def mark_read(positions: Mapping[int, tuple[int, ...]], *, using: str) -> None:
    """Moves the read positions of memberships, leaving out rows that another transaction has locked."""
    connection = connections[using]
    if not positions:
        return
    if not connection.features.has_select_for_update_skip_locked:
        update_rows(Membership, READ_FIELDS, positions, using=using)
        return
    name = connection.ops.quote_name
    table, pk = name(Membership._meta.db_table), name(column_of(Membership, "id"))
    free = f"SELECT {pk} FROM {table} WHERE {pk} IN ({_numbers(positions)}) FOR UPDATE SKIP LOCKED"  # noqa: S608
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            columns = [name(column_of(Membership, field)) for field in READ_FIELDS]
            values = ", ".join(f"({_numbers((key, *position))})" for key, position in sorted(positions.items()))
            assignments = ", ".join(f"{column} = moved.{column}" for column in columns)
            cursor.execute(
                f"WITH free AS MATERIALIZED ({free}), moved({pk}, {', '.join(columns)}) AS (VALUES {values})"  # noqa: S608
                f" UPDATE {table} AS member SET {assignments} FROM free, moved"
                f" WHERE member.{pk} = free.{pk} AND moved.{pk} = free.{pk}"
            )
            return
        cursor.execute(free)
        unlocked = [key for (key,) in cursor.fetchall()]
    update_rows(Membership, READ_FIELDS, {key: positions[key] for key in unlocked}, using=using)


# -- Any model -------------------------------------------------------------------------------------------------------


def update_rows(
    model: type[models.Model],
    fields: Sequence[str],
    rows: Mapping[Any, Sequence[int]],
    *,
    using: str,
) -> None:
    """Sets ``fields`` of the rows with the given primary keys to the given whole numbers, in order of key."""
    connection = connections[using]
    keys = sorted(rows)
    for start in range(0, len(keys), CHUNK):
        _update_chunk(connection, model, fields, {key: rows[key] for key in keys[start : start + CHUNK]})


def insert_messages(events: Sequence[Message], *, using: str) -> None:
    """Inserts events. Their primary keys must be set."""
    connection = connections[using]
    columns = _Columns.of(Message, using)
    attributes, prepare = columns.attributes, columns.preparers(connection)
    rows = [
        [
            value if (value := getattr(event, attribute)) is None or convert is None else convert(value)
            for attribute, convert in zip(attributes, prepare, strict=True)
        ]
        for event in events
    ]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # One parameter instead of thirteen for each event.
            cursor.execute(
                f"INSERT INTO {columns.table} ({columns.bare}) SELECT {columns.bare}"  # noqa: S608
                f" FROM json_to_recordset(%s::json) AS event({columns.typed})",
                [_as_objects(columns.column_names, rows)],
            )
        else:
            marks = ", ".join(["%s"] * len(attributes))
            cursor.executemany(f"INSERT INTO {columns.table} ({columns.bare}) VALUES ({marks})", rows)  # noqa: S608
    for event in events:
        event._state.adding = False
        event._state.db = using


def column_of(model: type[models.Model], field: str) -> str:
    """The database column of a concrete field."""
    column = getattr(model._meta.get_field(field), "column", None)
    assert isinstance(column, str), f"{model.__name__}.{field} has no column"
    return column


def _update_chunk(
    connection: BaseDatabaseWrapper,
    model: type[models.Model],
    fields: Sequence[str],
    rows: Mapping[Any, Sequence[int]],
) -> None:
    quote = connection.ops.quote_name
    pk = model._meta.pk
    pk_column = quote(column_of(model, pk.name))
    if all(type(key) is int for key in rows):
        names, parameters = {key: str(key) for key in rows}, []
    else:
        names, parameters = dict.fromkeys(rows, "%s"), [pk.get_db_prep_value(key, connection) for key in rows]
    assignments = []
    for position, field in enumerate(fields):
        cases = " ".join(f"WHEN {names[key]} THEN {int(values[position])}" for key, values in rows.items())
        assignments.append(f"{quote(column_of(model, field))} = CASE {pk_column} {cases} END")
    sql = (
        f"UPDATE {quote(model._meta.db_table)} SET {', '.join(assignments)}"  # noqa: S608
        f" WHERE {pk_column} IN ({', '.join(names.values())})"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters * (len(fields) + 1) or None)


def _numbers(numbers: Iterable[int]) -> str:
    return ", ".join([str(int(number)) for number in numbers])


def _as_objects(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    return _json.encode([dict(zip(names, row, strict=True)) for row in rows]).decode()


_json = msgspec.json.Encoder()


class _Columns:
    """The columns of a model on a database: their names, and how values come out of them and go in."""

    def __init__(self, model: type[models.Model], using: str) -> None:
        connection = connections[using]
        quote = connection.ops.quote_name
        fields = list(model._meta.concrete_fields)
        self._model, self._using, self._fields = model, using, fields
        self.table = quote(model._meta.db_table)
        self.column_names = [column_of(model, field.name) for field in fields]
        self.attributes = [field.attname for field in fields]
        self.width = len(fields)
        self.bare = ", ".join(quote(column) for column in self.column_names)
        self.names = ", ".join(f"{self.table}.{quote(column)}" for column in self.column_names)
        self.typed = ", ".join(
            f"{quote(column)} {field.rel_db_type(connection) if field.is_relation else field.db_type(connection)}"
            for column, field in zip(self.column_names, fields, strict=True)
        )
        self._quoted = {field.name: f"{self.table}.{quote(field.column or '')}" for field in fields}
        self._converters = []
        for position, field in enumerate(fields):
            column = field.get_col(model._meta.db_table)
            converters = [*connection.ops.get_db_converters(column), *column.get_db_converters(connection)]
            if converters:
                self._converters.append((position, column, converters))

    @classmethod
    def of(cls, model: type[models.Model], using: str) -> _Columns:
        """Of a model, worked out once."""
        return _columns(model, using)

    def qualified(self, field: str) -> str:
        """A column with its table."""
        return self._quoted[field]

    def instance(self, row: Sequence[Any], connection: BaseDatabaseWrapper) -> Any:
        """A row as an instance, as the ORM makes it."""
        values = list(row)
        for position, column, converters in self._converters:
            for convert in converters:
                values[position] = convert(values[position], column, connection)
        return self._model.from_db(self._using, self.attributes, values)

    def preparers(self, connection: BaseDatabaseWrapper) -> list[Callable[[Any], Any] | None]:
        """For each column what makes a value fit for the database; ``None`` where it is as it is."""
        return [_preparer(field, connection) for field in self._fields]


_columns = cache(_Columns)


def _preparer(field: Any, connection: BaseDatabaseWrapper) -> Callable[[Any], Any] | None:
    while field.is_relation:
        field = field.target_field
    if isinstance(field, models.IntegerField | models.CharField | models.TextField):
        return None
    if connection.vendor == "postgresql" and isinstance(field, models.UUIDField | models.DateTimeField):
        return None  # as JSON
    if isinstance(field, models.DateTimeField):
        return connection.ops.adapt_datetimefield_value
    return lambda value: field.get_db_prep_save(value, connection)
