"""YAML as text of JSON, for whoever reads JSON: mappings, lists, text, numbers, true, false and null, and nothing else.

Plain words mean what they mean in YAML 1.2: ``1e-3`` is a number, and ``yes``, ``no``, ``on`` and ``1:30`` are text.
Tags, aliases and names that come twice are refused, so that a file can neither run code nor grow when it is read.
"""

import json
import re
from typing import Any

from emt.errors import UserError, repeated

SUFFIXES = (".yaml", ".yml")

_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]{1,300}", re.ASCII)
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)


def to_json(text: str, source: str) -> str:
    r"""Return the JSON text of a YAML document.

    Parameters
    ----------
    text
        The document.
    source
        Where it is from, for messages.

    Raises
    ------
    UserError
        If it is no YAML, or has what JSON has not; the message names the line.

    Examples
    --------
    >>> to_json("learning_rate: 1e-3\nhorizons: [10, 20]", "config.yaml")
    '{"learning_rate": 0.001, "horizons": [10, 20]}'
    """
    import yaml

    class Loader(yaml.BaseLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.MarkedYAMLError(
                    problem="expected no alias; write the value out",
                    problem_mark=self.peek_event().start_mark,
                )
            return super().compose_node(parent, index)

    try:
        node = yaml.compose(text, Loader=Loader)
        return json.dumps(None if node is None else _value(node))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UserError(f"{source}: not valid YAML: {where}{error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UserError(f"{source}: not valid YAML: lists or mappings nested too deeply") from None


def _value(node: Any) -> Any:
    import yaml

    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if kind not in ("str", "seq", "map"):
        raise yaml.MarkedYAMLError(problem=f"expected no tag; got {node.tag}", problem_mark=node.start_mark)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item) for item in node.value]
    if isinstance(node, yaml.ScalarNode):
        return node.value if node.style else _plain(node.value)
    names = [name.value for name, _ in node.value]
    if not all(isinstance(name, str) for name in names):
        raise yaml.MarkedYAMLError(problem="expected names that are text", problem_mark=node.start_mark)
    if several := repeated(names):
        raise yaml.MarkedYAMLError(problem=f"several values of {several}", problem_mark=node.start_mark)
    return {name: _value(value) for name, (_, value) in zip(names, node.value, strict=True)}


def _plain(word: str) -> Any:
    if word in _WORDS:
        return _WORDS[word]
    if _INTEGER.fullmatch(word):
        return int(word)
    number = float(word) if _NUMBER.fullmatch(word) else float("inf")
    return number if abs(number) < float("inf") else word
