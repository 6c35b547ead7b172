"""The digest of a user's function: it changes with what the function computes, and no sooner.

A file has the function beside the study that names it and beside other functions. Only what the
function uses of its file counts: its own text, the definitions, assignments and imports that it
names, what these name, and statements that act by themselves. Files beside it that it imports count
whole. Comments and blank lines do not count.
"""

import ast
import hashlib
import inspect
import io
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mnist_ops.core.errors import InvalidInput

_IMPORTS = (ast.Import, ast.ImportFrom)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_ASSIGNMENTS = (ast.Assign, ast.AnnAssign)


def digest(function: Callable[..., Any]) -> str:
    """Return 16 hexadecimal digits that stand for the code of `function`, a function or a class.

    Raises:
        InvalidInput: its source cannot be read.
    """
    try:
        path = Path(inspect.getsourcefile(function) or "")
        if path.is_file():
            texts = list(_texts(path, function.__qualname__.partition(".")[0]))
        else:
            # Of a notebook, whose cells are no files.
            texts = [inspect.getsource(function)]
    except (OSError, TypeError, SyntaxError, UnicodeDecodeError) as error:
        name = getattr(function, "__name__", repr(function))
        raise InvalidInput(
            f"the source of {name} cannot be read ({error}): define it with def or class in a file"
        ) from None
    return hashlib.sha256("\n".join(map(_bare, texts)).encode()).hexdigest()[:16]


def _texts(path: Path, name: str) -> Iterator[str]:
    """Yield the source of each statement of the file that `name` rests on, then of other files."""
    source = path.read_text(encoding="utf-8")
    statements = ast.parse(source).body
    binding: dict[str, list[ast.stmt]] = {}
    for statement in statements:
        for bound in _bound(statement):
            binding.setdefault(bound, []).append(statement)
    used = [s for s in statements if not list(_bound(s)) and not _is_docstring(s)]
    used += binding.get(name, [])
    found: list[ast.stmt] = []
    while used:
        statement = used.pop()
        if statement not in found:
            found.append(statement)
            used += [s for named in _named(statement) for s in binding.get(named, [])]
    for statement in statements:
        if statement in found:
            yield ast.get_source_segment(source, statement) or ""
    for other in _beside(path, found, {path}):
        yield other.read_text(encoding="utf-8")


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement gives; none where it acts beyond that."""
    if isinstance(statement, _DEFINITIONS):
        yield statement.name
    elif isinstance(statement, _IMPORTS):
        for alias in statement.names:
            yield (alias.asname or alias.name).partition(".")[0]
    elif isinstance(statement, _ASSIGNMENTS):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))


def _named(statement: ast.stmt) -> Iterator[str]:
    return (node.id for node in ast.walk(statement) if isinstance(node, ast.Name))


def _beside(path: Path, statements: list[ast.stmt], seen: set[Path]) -> Iterator[Path]:
    """Yield the files in the folder of `path` that `statements` import, and those they import."""
    for statement in statements:
        if isinstance(statement, ast.Import):
            names = [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            names = [statement.module or alias.name for alias in statement.names]
        else:
            continue
        for name in names:
            other = path.parent / f"{name.partition('.')[0]}.py"
            if other.is_file() and other not in seen:
                seen.add(other)
                yield other
                yield from _beside(other, ast.parse(other.read_text(encoding="utf-8")).body, seen)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _bare(text: str) -> str:
    """Return the source without comments, blank lines, and spaces at the ends of lines."""
    lines = text.splitlines()
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                lines[row - 1] = lines[row - 1][:column]
    except (tokenize.TokenError, IndentationError):
        # A statement cut from its file is still the same text for the same code.
        pass
    return "\n".join(line.rstrip() for line in lines if line.strip())
