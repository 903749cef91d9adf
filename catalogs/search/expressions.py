"""SQL expressions from users: parsed, checked and quoted before they reach the query engine.

Only single expressions over the catalog's columns pass: no statements, subqueries or file functions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeAlias

from nonesuch.catalogs.schema import closest
from nonesuch.foundation.errors import InputError

# Everything an expression may be made of, besides parameters that have a value; SUBQUERY, STAR, WINDOW and the rest
# are refused.
_ALLOWED = {
    "BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION",
    "LAMBDA", "OPERATOR", "TYPE",
}  # fmt: skip
_REFUSED_FUNCTIONS = {
    "getenv",
    "getvariable",
    "current_setting",
    "nextval",
    "currval",
    "query",
    "query_table",
}
_MAX_LENGTH = 20_000
Where: TypeAlias = str | Sequence[str] | None
"""SQL conditions from a person, or several of which every one must hold; None: every row."""
_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_ROWS = "{catalog}"  # what engine.Session.sql replaces, inside a person's string too


def checked_expression(
    con: Any, text: str, names: Sequence[str], *, what: str, parameters: Collection[str] = ()
) -> str:
    """`text` in parentheses, once it is known to be one expression over the columns `names`.

    con         a DuckDB connection, used only to parse
    what        the option it came from, for messages: "where", "order", …
    parameters  the names that may stand behind `$`: those for which there is a value

    Raises InputError that says where the syntax breaks or which column was meant.
    """
    if len(text) > _MAX_LENGTH:
        raise InputError(f"is longer than {_MAX_LENGTH:,} characters", where=what)
    if _ROWS in text:
        raise InputError(
            f"can't hold the text {_ROWS!r}, which stands for the catalog's rows",
            where=what,
            hint="Compare with LIKE '{_atalog}' instead.",
        )
    node = _parse(con, text, names, what)
    known = {name.lower(): name for name in names}
    lambda_names = {name for inner in _walk(node) for name in _parameters(inner)}
    for inner in _walk(node):
        kind = inner.get("class")
        if kind == "PARAMETER":
            if inner["identifier"] not in parameters:
                raise _without_value(inner["identifier"], f"{what} {text!r}")
            continue
        if kind not in _ALLOWED:
            raise _refused(text, what, str(kind).lower())
        if kind == "FUNCTION" and inner.get("function_name", "").lower() in _REFUSED_FUNCTIONS:
            raise _refused(text, what, f"the function {inner['function_name']}")
        if kind == "COLUMN_REF":
            name = inner["column_names"][0]
            if name.lower() not in known and name not in lambda_names:
                place = what if text.strip() == name else f"{what} {text!r}"
                raise unknown_column(name, names, where=place)
    return f"({text}\n)"


def named_parameters(con: Any, text: str) -> list[str]:
    """The names behind `$` in an expression that was checked."""
    return list(dict.fromkeys(_parameter_names(_serialized(con, text))))


def each_condition(where: Where, *more: str) -> tuple[str, ...]:
    """The conditions of `where` one by one, and `more` behind them."""
    given = () if where is None else (where,) if isinstance(where, str) else tuple(where)
    return (*given, *more)


def told_condition(where: Where) -> str:
    """Conditions as one SQL condition to show: a single one as it was written, several in parentheses."""
    given = each_condition(where)
    return given[0] if len(given) == 1 else " AND ".join(f"({one})" for one in given)


def unknown_column(name: str, names: Sequence[str], *, where: str) -> InputError:
    """The InputError for a column that isn't there, with the nearest name or all of them."""
    near = closest(name, names)
    if near is not None:
        hint = f"Did you mean {quoted(near)}?"
    else:
        hint = f"Text goes in single quotes ('{name}'). Columns: {', '.join(names)}."
    return InputError(f"there is no column {name!r}", where=where, hint=hint)


def quoted(name: str) -> str:
    """A column name as SQL takes it: bare where that is safe, else in double quotes."""
    bare = name.isascii() and name.isidentifier() and not _keywords(name)
    return name if bare else identifier(name)


def identifier(name: str) -> str:
    """A column name in double quotes, always safe to put into SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string constant, always safe to put into SQL."""
    return "'" + text.replace("'", "''") + "'"


def plain_column(text: str, names: Sequence[str]) -> str | None:
    """The column that `text` names, in the catalog's spelling, or None when it is an expression."""
    wanted = text.strip()
    if len(wanted) > 1 and wanted[0] == wanted[-1] == '"':
        wanted = wanted[1:-1].replace('""', '"')
    return {name.lower(): name for name in names}.get(wanted.lower())


def _parse(con: Any, text: str, names: Sequence[str], what: str) -> dict[str, Any]:
    answer = _serialized(con, text)
    if answer["error"]:
        message = answer.get("error_message", "not understood").strip()
        hint = _quoting_hint(con, text, names) or (
            "Write a condition such as artist = 'Edvard Munch' AND alignment > 0.3."
        )
        raise InputError(f"{text!r}: {message}", where=what, hint=hint)
    statements = answer["statements"]
    node = statements[0]["node"]
    whole = (
        len(statements) == 1
        and node["type"] == "SELECT_NODE"
        and node["from_table"]["type"] == "EMPTY"
        and len(node["select_list"]) == 1
        and not node["select_list"][0].get("alias")
        and not node["modifiers"]
        and not node["cte_map"]["map"]
        and not node["group_expressions"]
        and not any(node.get(part) for part in ("where_clause", "having", "qualify", "sample"))
    )
    if not whole:
        raise _refused(text, what, "a statement")
    expression: dict[str, Any] = node["select_list"][0]
    return expression


def _serialized(con: Any, text: str) -> dict[str, Any]:
    rows = con.execute("SELECT json_serialize_sql(?)", [f"SELECT {text}\n"]).fetchall()
    answer: dict[str, Any] = json.loads(rows[0][0])
    return answer


def _quoting_hint(con: Any, text: str, names: Sequence[str]) -> str | None:
    """What to write when `text` does not parse because a column has the name of a word of SQL; else None."""
    known = {name.lower(): name for name in names}
    data, written, end = text.encode(), b"", 0
    found: list[str] = []
    for start in _keywords(text):
        word = data[start:].split(maxsplit=1)[0]
        name = known.get(match[0].lower()) if (match := _WORD.match(word.decode())) else None
        if match and name is not None and quoted(name) != name:
            found.append(quoted(name))
            written += data[end:start] + found[-1].encode()
            end = start + len(match[0])
    if not found:
        return None
    whole = (written + data[end:]).decode()
    example = f": {whole}" if not _serialized(con, whole)["error"] else ""
    listed = " and ".join(dict.fromkeys(found))
    return f"The name of a column that is a word of SQL goes in double quotes, {listed}{example}"


def _keywords(text: str) -> list[int]:
    """The bytes at which words of SQL begin, as duckdb takes them: not those in quotes or comments."""
    import duckdb

    return [start for start, kind in duckdb.tokenize(text) if kind == duckdb.token_type.keyword]


def _refused(text: str, what: str, found: str) -> InputError:
    return InputError(
        f"{text!r} holds {found}",
        where=what,
        hint="Only a single expression over the catalog's columns is taken.",
    )


def _without_value(name: str, where: str) -> InputError:
    return InputError(
        f"there is no value for the parameter ${name}",
        where=where,
        hint='From Python, pass parameters={"name": value} for $name; elsewhere write the value itself.',
    )


def _parameter_names(answer: Any) -> list[str]:
    return [node["identifier"] for node in _walk(answer) if node.get("class") == "PARAMETER"]


def _walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "class" in value:
            yield value
        for inner in value.values():
            yield from _walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner)


def _parameters(node: dict[str, Any]) -> list[str]:
    if node.get("class") != "LAMBDA":
        return []
    return [name for inner in _walk(node.get("lhs")) for name in inner.get("column_names", [])]
