"""Damage to text files that knows their form: a JSON document, a table, lines of words."""

import csv
import io
import json
from typing import Any

from numpy.random import Generator

from experiments.stress.kind import damage

JSON_VALUES = (
    *("null", "true", "false", "0", "-1", "1", "7", "1.5", "-0.0", "1e-320", "1e308", "-1e308", "1e400"),
    *("NaN", "Infinity", "-Infinity", "9007199254740993", '"9007199254740993"', "1" + "0" * 309, "9" * 5000),
    *('"0.5"', '""', '"x"', '"true"', '"finished"', '"model-1"', '"../../thesis.tex"', '"/etc/passwd"'),
    *(r'"\ud800"', r'"\u0000"', r'"\u001b[31m"', '"a\\nb"', '"' + "9" * 5000 + '"', '"' + "a" * 10**5 + '"'),
    *("[]", "{}", "[[]]", "[null]", "[true]", '[["x", 1]]', "[1, 2, 3]", "[[3]]", '{"a": 1}', '"unended'),
    *("[" * 70 + "]" * 70, "[" * 5000 + "]" * 5000, '{"a":' * 70 + "1" + "}" * 70, ""),
)
"""What takes a value's place, as it stands in a file."""

CELLS = (
    *(
        "",
        "x",
        "-1",
        "0",
        "7",
        "1.5",
        "1e308",
        "-1e308",
        "1e400",
        "nan",
        "inf",
        "-inf",
        "true",
        "None",
        "9" * 5000,
    ),
    *("=1+1", "@x", "\x00", "\x1b[31m", "a\nb", '"', "٣", "1_000", "\ud800", "<b>", "a" * 200_000),
)
"""What takes a cell's place."""

_MARK = "@value@"


def mutate_json(content: bytes, random: Generator) -> bytes:
    """Return a JSON document with another value, a name less, or a name or an item twice; or `damage` of any kind."""
    if random.random() < 0.25:
        return damage(content, random)
    document = json.loads(content)
    holder, key = _pick(document, random)
    match random.integers(8):
        case 0 if holder is not None:
            del holder[key]
        case 1 if isinstance(holder, list):
            holder.insert(key, holder[key])
        case 2 if isinstance(holder, dict):
            name = json.dumps(key)
            return json.dumps(document).replace(f"{name}:", f"{name}: 1, {name}:", 1).encode()
        case 3 if isinstance(holder, dict):
            holder[str(random.choice(["", "x", key + "9", "9" * 5000, "a\x1b"]))] = holder.pop(key)
        case _:
            value = JSON_VALUES[random.integers(len(JSON_VALUES))]
            if holder is None:
                return value.encode()
            holder[key] = _MARK
            return json.dumps(document).replace(f'"{_MARK}"', value).encode()
    return json.dumps(document).encode()


def _pick(document: Any, random: Generator) -> tuple[Any, Any]:
    """Return a list or an object and a place in it, all depths alike; None for the whole document."""
    holder, key = None, None
    value = document
    while isinstance(value, dict | list) and value and (holder is None or random.random() < 0.8):
        holder = value
        key = (
            list(value)[random.integers(len(value))]
            if isinstance(value, dict)
            else int(random.integers(len(value)))
        )
        value = value[key]
    return (None, None) if random.random() < 0.02 else (holder, key)


def mutate_table(content: bytes, random: Generator) -> bytes:
    """Return a CSV file with another cell, a cell or a row more or less, columns exchanged; or `damage` of any kind."""
    if random.random() < 0.25:
        return damage(content, random)
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    row = int(random.integers(len(rows)))
    column = int(random.integers(len(rows[row])))
    match random.integers(7):
        case 0:
            del rows[row]
        case 1:
            rows.insert(row, rows[row])
        case 2:
            del rows[row][column]
        case 3:
            rows[row].insert(column, rows[row][column])
        case 4:
            for one in rows:
                one[:] = one[::-1]
        case _:
            rows[row][column] = CELLS[random.integers(len(CELLS))]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode(errors="surrogatepass")


def mutate_lines(content: bytes, random: Generator) -> bytes:
    """Return lines with one twice, left out, moved, or with another word; or `damage` of any kind."""
    if random.random() < 0.25:
        return damage(content, random)
    lines = content.decode().split("\n")
    place = int(random.integers(len(lines)))
    words = lines[place].split(" ")
    match random.integers(6):
        case 0:
            del lines[place]
        case 1:
            lines.insert(place, lines[place])
        case 2:
            lines.insert(int(random.integers(len(lines))), lines.pop(place))
        case 3:
            # More words than sixteen bits number.
            lines[place:place] = [f"{k + 1} {k}a {k}b {k}c {k}d." for k in range(9_000)]
        case _:
            words[random.integers(len(words))] = CELLS[random.integers(len(CELLS))]
            lines[place] = " ".join(words)
    return "\n".join(lines).encode(errors="surrogatepass")
