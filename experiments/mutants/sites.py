"""Places in a source file where a small fault can be put: five kinds, found in the syntax tree.

==============  ======================================================================================================
``sign``        + and - exchanged, or a leading minus dropped
``transpose``   a transpose left out
``off by one``  an integer up to 3 in a formula or an index one larger
``comparison``  < and > exchanged, <= and >= likewise, == and != likewise. Boundaries (< for <=) are left alone: between
                real numbers they change nothing in most cases
``dropped``     the last term or factor left out, or the last condition of an ``and`` or ``or``
==============  ======================================================================================================

Text, annotations, default values, errors that are raised and constants of a module are left alone.
"""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

SMALL = 3
"""Integers up to this are counted by one more; larger ones are sizes, which tests rightly do not fix."""

_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt,
    ast.Gt: ast.Lt,
    ast.LtE: ast.GtE,
    ast.GtE: ast.LtE,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
_TRANSPOSES = ("T", "mT", "mH", "H")


@dataclass(frozen=True)
class Site:
    """One change of one source file.

    Attributes
    ----------
    kind
        One of the kinds above.
    line, column
        Where it starts, both from 1.
    start, end
        Bytes of the file that are replaced.
    before, after
        Source text there, and what replaces it.
    """

    kind: str
    line: int
    column: int
    start: int
    end: int
    before: str
    after: str

    def apply(self, source: str) -> str:
        """Return the source with the fault."""
        content = source.encode()
        return (content[: self.start] + self.after.encode() + content[self.end :]).decode()


def find_sites(source: str) -> list[Site]:
    """Return all places for a fault, in the order of the file, each of which leaves valid Python."""
    content = source.encode()
    starts = _line_starts(content)
    found = []
    for node in _formulas(ast.parse(source)):
        for kind, changed in _changes(node):
            start = starts[node.lineno - 1] + node.col_offset
            end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
            after = f"({ast.unparse(changed)})"
            found.append(
                Site(kind, node.lineno, node.col_offset + 1, start, end, content[start:end].decode(), after)
            )
    return sorted(found, key=lambda site: (site.start, site.kind))


def _line_starts(content: bytes) -> list[int]:
    starts = [0]
    for line in content.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts


def _formulas(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the expressions within functions, without those left alone."""
    if isinstance(node, ast.JoinedStr | ast.Raise | ast.Assert):
        return
    for name, value in ast.iter_fields(node):
        if name in (
            "annotation",
            "returns",
            "decorator_list",
            "args" if isinstance(node, ast.FunctionDef) else "",
        ):
            continue
        if isinstance(node, ast.Module | ast.ClassDef) and name == "body":
            value = [part for part in value if isinstance(part, ast.FunctionDef | ast.ClassDef)]
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.AST):
                yield from _formulas(part)
    if isinstance(node, ast.expr):
        yield node


def _changes(node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    match node:
        case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult()) if not _is_text(node):
            yield "dropped", node.left
            if not isinstance(node.op, ast.Mult):
                other = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
                yield "sign", ast.BinOp(node.left, other, node.right)
        case ast.UnaryOp(op=ast.USub()):
            yield "sign", node.operand
        case ast.Attribute(attr=name) if name in _TRANSPOSES:
            yield "transpose", node.value
        case ast.Constant(value=int(number)) if not isinstance(number, bool) and 0 <= number <= SMALL:
            yield "off by one", ast.Constant(number + 1)
        case ast.Compare(ops=[operation]) if type(operation) in _TURNED:
            turned = copy.copy(node)
            turned.ops = [_TURNED[type(operation)]()]
            yield "comparison", turned
        case ast.BoolOp(values=[*some, _]):
            yield "dropped", ast.BoolOp(node.op, some) if len(some) > 1 else some[0]


def _is_text(node: ast.BinOp) -> bool:
    """Whether text is joined: dropping a part of it is no fault of a formula."""
    parts = [part for part in ast.walk(node) if isinstance(part, ast.Constant | ast.JoinedStr)]
    return any(isinstance(part, ast.JoinedStr) or isinstance(part.value, str) for part in parts)
