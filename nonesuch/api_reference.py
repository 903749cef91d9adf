"""The page of the Python API, written from signatures, docstrings and field comments: `python -m nonesuch.api_reference`."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from typing import Any

import nonesuch

HEAD = """# Python API

Written by `python -m nonesuch.api_reference`; a test holds it to the code and runs the examples.

Everything here is imported from `nonesuch` itself; `import nonesuch` loads nothing heavy, each name is imported when
it is first used. `AnyPath` is `str | os.PathLike[str]`. `Where` is an SQL condition, or a list of conditions that all
must hold. `Parameters` is a mapping of names to values. The types that a scorer, backend, exporter or metadata reader
of your own needs are in `nonesuch.plugins`: see [plugins.md](plugins.md).

## Examples

With this sweep file, `sweep.yaml`:

```yaml
name: shapes
model: noise                        # draws at once; "embedded" draws pictures
prompt: "a {animal} by {artist}"
facets:
  animal: [owl, fox]
  artist: ["Edvard Munch", "Miles O'Brien"]
settings: {width: 96, height: 96, steps: 1}
scoring: {scorers: [technical]}
```

Look at what it would draw, then draw it. A second `run_sweep` draws only what is missing.

```python
from nonesuch import plan_sweep, run_sweep

plan = plan_sweep("sweep.yaml")
print(f"{plan.cells} images, about {plan.seconds:.0f} s")
summary = run_sweep("sweep.yaml", "out")
assert summary.done == plan.cells
```

Choose from the catalog. Values go in as parameters, so that quotes in them need no care:

```python
from nonesuch import Catalog

with Catalog("out") as catalog:
    print(len(catalog), catalog.facets, catalog.scores)
    rows = catalog.query(
        "artist = $artist", parameters={"artist": "Miles O'Brien"}, order="sharpness", top=10
    )
assert set(rows["animal"]) == {"fox", "owl"}
best = f"out/{rows['file'][0]}"
```

Pick images, and export what was picked with a data card:

```python
from nonesuch import export_images, open_picks

picks = open_picks("out", who="Ada")
picks.pick(rows["recipe_id"])
picks.close()
exported = export_images("out", "dataset", "csv", where="pick = 'picked'", license="cc-by-4.0")
assert exported.images == len(rows)
```

Mark pictures of other programs, and ask of any image whether it is AI-generated:

```python
from nonesuch import mark_files, verify_file, verify_files, verify_folder

verdict = verify_file(best, catalog="out")
print(verdict.verdict, verdict.confidence, verdict.generator)
for mark in mark_files([best], "marked", source_type="trainedAlgorithmicMedia"):
    print(mark.out, mark.error)
for verdict in verify_files("marked", search="aligned", jobs=1):
    print(verdict.path, verdict.verdict)
checked = verify_folder("marked", "verdicts", search="aligned", jobs=1)  # Parquet files, resumable
assert checked.files == 1
```

Every error that is raised on purpose is a `NonesuchError`, with `message`, `where` and `hint`:

```python
from nonesuch import Catalog, InputError

try:
    Catalog("out").query("artst = 'Edvard Munch'")
except InputError as error:
    print(error.hint)
```
"""
_OPTION = re.compile(r"^\w[\w, ]*  +\S")  # a line of a docstring that explains one option
_WIDE = 100  # characters of a signature on one line


def api_reference() -> str:
    """The whole page as Markdown."""
    named = {name: getattr(nonesuch, name) for name in nonesuch.__all__ if name != "__version__"}
    functions = {name: one for name, one in named.items() if inspect.isfunction(one)}
    errors = {
        name: one for name, one in named.items() if name not in functions and issubclass(one, Exception)
    }
    types = {name: one for name, one in named.items() if name not in functions and name not in errors}
    parts = [HEAD, "## Functions", ""]
    for name, function in sorted(functions.items()):
        parts += [f"### {name}", "", *_function(function)]
    parts += ["## Classes", ""]
    for name, kind in sorted(types.items()):
        parts += [f"### {name}", "", *_class(kind)]
    parts += ["## Errors", "", "| error | is a | raised when |", "|---|---|---|"]
    for name, kind in sorted(errors.items()):
        parts.append(f"| `{name}` | `{kind.__base__.__name__}` | {_first_paragraph(kind)} |")
    return "\n".join([*parts, ""])


def _function(function: Any) -> list[str]:
    return ["```", _signature(function), "```", "", *_text(function), ""]


def _class(kind: Any) -> list[str]:
    lines = [*_text(kind), ""]
    if dataclasses.is_dataclass(kind):
        rows = [f"| `{name}` | `{type_}` | {comment} |" for name, type_, comment in _fields(kind)]
        lines += ["| field | type | meaning |", "|---|---|---|", *rows, ""]
    for name, member in vars(kind).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property) and member.fget and member.fget.__doc__:
            lines += [f"**`{name}`**: {_first_paragraph(member.fget)}", ""]
        elif inspect.isfunction(member) and member.__doc__ and member.__module__ == kind.__module__:
            lines += [f"#### {kind.__name__}.{name}", "", *_function(member)]
    return lines


def _signature(function: Any) -> str:
    """The signature as it is written, one parameter a line where it is long."""
    node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(node, ast.FunctionDef)
    given = node.args
    values = inspect.signature(function).parameters
    positional = [*given.posonlyargs, *given.args]
    shown = [_parameter(arg, values[arg.arg].default) for arg in positional if arg.arg != "self"]
    if given.kwonlyargs:
        shown += ["*", *(_parameter(arg, values[arg.arg].default) for arg in given.kwonlyargs)]
    answer = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"{node.name}({', '.join(shown)}){answer}"
    if len(line) <= _WIDE:
        return line
    return "\n".join([f"{node.name}(", *(f"    {one}," for one in shown), f"){answer}"])


def _parameter(arg: ast.arg, default: Any) -> str:
    value = "" if default is inspect.Parameter.empty else f" = {default!r}"
    return f"{ast.unparse(arg)}{value}"


def _fields(kind: Any) -> list[tuple[str, str, str]]:
    """Name, type and comment of each field of a dataclass; the comment stands behind it or on the lines before."""
    source = textwrap.dedent(inspect.getsource(kind))
    lines = source.splitlines()
    (node,) = ast.parse(source).body
    assert isinstance(node, ast.ClassDef)
    found = []
    for field in node.body:
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        comment = lines[(field.end_lineno or field.lineno) - 1].partition("  # ")[2]
        above = field.lineno - 2
        while not comment and lines[above].strip().startswith("# "):
            comment = f"{lines[above].strip()[2:]} {comment}".strip()
            above -= 1
        type_ = ast.unparse(field.annotation).replace("|", "\\|")
        found.append((field.target.id, type_, comment.replace("|", "\\|")))
    return found


def _text(documented: Any) -> list[str]:
    """A docstring as Markdown: paragraphs as they are, lists of options as they are aligned."""
    lines: list[str] = []
    for paragraph in inspect.cleandoc(documented.__doc__ or "").split("\n\n"):
        aligned = any(map(_OPTION.match, paragraph.splitlines()))
        lines += ["```", paragraph, "```", ""] if aligned else [paragraph, ""]
    return lines[:-1]


def _first_paragraph(documented: Any) -> str:
    return " ".join(inspect.cleandoc(documented.__doc__ or "").split("\n\n")[0].split())


if __name__ == "__main__":
    print(api_reference(), end="")
