"""Parts of an HTML page: tables, figures, lists, chart frames, data for a script. Each escapes what it is given."""

import base64
import json
import math
import struct
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from analysis.errors import AnalysisError
from emt.text import shortened, visible

PIXELS_PER_INCH, DOTS_PER_INCH = 130, 300
"""Resolution at which images are shown; in which PNG figures are saved."""


def table(name: str, caption: str, rows: Sequence[Sequence[str]]) -> str:
    """Return a table, the first row its header; the page's script makes it sortable and lets it be saved as CSV."""
    header = "".join(f'<th scope="col">{escape(text)}</th>' for text in rows[0])
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows[1:])
    return (
        f'<div class="scroll" tabindex="0"><table class="data" data-name="{escape(name)}">'
        f"<caption>{escape(caption)}</caption><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(text: str) -> str:
    shown = short(text)
    full = "" if shown == text else f' data-full="{escape(text)}"'
    return f"<td{full}>{escape(shown)}</td>"


def short(text: str) -> str:
    """Return a number with a fraction in four digits, other text as it is; not escaped."""
    try:
        return f"{float(text):.4g}" if "." in text or "e" in text.lower() else text
    except ValueError:
        return text


def definitions(facts: Mapping[str, str]) -> str:
    """Return a list of names and values."""
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    return f"<dl>{items}</dl>"


def image(path: Path, description: str, name: str, caption: str) -> str:
    """Return a figure with a PNG or GIF file inside the page, its name before its caption."""
    check_image(path)
    content = path.read_bytes()
    source = f"data:image/{path.suffix.removeprefix('.')};base64,{base64.b64encode(content).decode()}"
    alt = escape(" ".join(description.split()))
    image = f'<img alt="{alt}"{_width(content)} src="{source}">'
    shown = f'<div class="picture">{image}</div>'
    return f"<figure>{shown}<figcaption><b>{escape(name)}</b> {escape(caption)}</figcaption></figure>"


def described(path: Path) -> tuple[str, str]:
    """Return what a figure says of itself and its caption: the lines that its PNG or GIF file carries, else empty."""
    from PIL import Image

    check_image(path)
    with Image.open(path) as picture:
        text = picture.info.get("Description", picture.info.get("comment", ""))
    told, _, caption = (text.decode(errors="replace") if isinstance(text, bytes) else str(text)).partition(
        "\n"
    )
    return visible(told), visible(caption)


def check_image(path: Path) -> None:
    """Refuse a file that is no whole picture of the kind that its name says, as far as the kind has checksums.

    Raises
    ------
    AnalysisError
    """
    from PIL import Image

    try:
        with Image.open(path, formats=[path.suffix.removeprefix(".")]) as picture:
            picture.verify()
    except Exception as error:
        # The library raises what its parsers do: SyntaxError, struct.error, zlib.error, …
        what = f"expected a whole {path.suffix.removeprefix('.').upper()} file; got {shortened(error)}"
        raise AnalysisError(f"{path}: {what}; run the analysis again, or remove it") from None


def _width(content: bytes) -> str:
    """Return the width of a PNG image as an attribute; none for other images."""
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        return ""
    return f' width="{struct.unpack(">I", content[16:20])[0] * PIXELS_PER_INCH // DOTS_PER_INCH}"'


def chart(name: str, title: str) -> str:
    """Return an empty chart, which the page's script draws."""
    return (
        f'<svg id="{escape(name)}" viewBox="0 0 400 300" role="group" aria-labelledby="{escape(name)}-title">'
        f'<title id="{escape(name)}-title">{escape(title)}</title></svg>'
    )


def json_text(content: Any) -> str:
    """Return JSON in four digits that no tag can end, null for what is not finite."""
    text = json.dumps(_rounded(content), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _rounded(content: Any) -> Any:
    if isinstance(content, float):
        return float(f"{content:.4g}") if math.isfinite(content) else None
    if isinstance(content, list | tuple):
        return [_rounded(value) for value in content]
    if isinstance(content, dict):
        return {key: _rounded(value) for key, value in content.items()}
    return content
