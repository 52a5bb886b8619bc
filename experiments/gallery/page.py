"""The part of the gallery that is drawn from the small populations, as Markdown."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

from PIL import Image

from analysis import COMMANDS
from analysis.figures.captions import kind_of
from analysis.report.html import described
from emt.options import summary_of
from experiments.gallery.populations import POPULATIONS, Population

PIXELS_PER_INCH = 100
"""Of figures on the page: two columns of a journal are about as wide as the page's text."""

EVALUATE = "evaluate"

LINE = 84
"""Characters of a command line that the page shows in a row."""

STYLE = (
    "<style>article figure.align-default { margin: 2.5rem auto; } figcaption p { text-align: left; }</style>"
)
"""Figures stand close together otherwise."""

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>$|#~^])")


class Shown(NamedTuple):
    """A figure on the page.

    Attributes
    ----------
    command
        Of `emt analyze`, or "evaluate".
    kind
        Its name in the table of captions, with a star for what depends on the data.
    about
        What the networks are.
    line
        The command line that made it.
    path
        PNG or GIF file.
    """

    command: str
    kind: str
    about: str
    line: str
    path: Path


def captions_of(command: str) -> Mapping[str, str]:
    """Return the captions of a command's figures, none for pages."""
    places: tuple[str, ...] = ()
    if command == EVALUATE:
        places = ("analysis.figures.spectra.overview", "analysis.figures.evaluation.inspection")
    elif COMMANDS[command].takes != "experiments":
        places = (COMMANDS[command].figures,)
    return {name: text for place in places for name, text in import_module(place).CAPTIONS.items()}


def figures(out: Path) -> Iterator[Shown]:
    """Yield what is shown: one figure of each kind of each command and population; of evaluation one in all."""
    seen = set()
    for population in POPULATIONS:
        for line in population.lines:
            for command, kind, path in _figures_of(population, line, out / population.name):
                key = (command, kind) if command == EVALUATE else (line, kind)
                if key not in seen:
                    seen.add(key)
                    yield Shown(command, kind, population.about, line, path)


def _figures_of(population: Population, line: str, folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield command, kind and file of each figure that a command line left."""
    words = shlex.split(line)
    if words[:2] == ["emt", EVALUATE] and "--no_figures" not in words:
        experiment = folder / words[words.index("--models_dir") + 1]
        command, places = EVALUATE, [experiment / "global_analysis", experiment / "model-1" / "results"]
    elif words[:2] == ["emt", "analyze"]:
        command, single = words[2], "--summary_file" in words
        experiment = folder / words[words.index("--summary_file") + 1] if single else folder
        places = [experiment / COMMANDS[command].folder]
    else:
        return
    captions = list(captions_of(command))
    for place in places:
        names = [path.name for path in place.iterdir() if path.suffix in (".png", ".gif")]
        # Of several lengths each has figures of its own.
        stems = {name: re.sub(r"_seq\d+$", "", Path(name).stem) for name in sorted(names)}
        kinds = {name: kind_of(stem, captions) for name, stem in stems.items()}
        for name, kind in sorted(kinds.items(), key=lambda item: captions.index(item[1])):
            yield command, kind, place / name


def as_markdown(out: Path, root: str) -> str:
    """Return the page's part; ``root`` is the path of ``out`` as the page addresses it."""
    held = list(figures(out))
    lines = [
        STYLE,
        "",
        "## Populations",
        "",
        "All figures of commands are of these networks, which took seconds to train.",
        "",
    ]
    for population in POPULATIONS:
        made = [line for line in population.lines if not line.startswith("emt analyze")]
        lines += [f"### {population.about}", "", *_code(made)]
    for command in (EVALUATE, *COMMANDS):
        own = [one for one in held if one.command == command]
        if own:
            title = "emt evaluate" if command == EVALUATE else f"emt analyze {command}"
            lines += [f"## `{title}`", "", _question(command), ""]
        for line in dict.fromkeys(one.line for one in own):
            some = [one for one in own if one.line == line]
            lines += [f"### {title}: {some[0].about}", "", *_code([line])]
            for one in some:
                lines += _figure(one, f"{root}/{one.path.relative_to(out).as_posix()}")
    return "\n".join(lines)


def _code(lines: Sequence[str]) -> list[str]:
    """Return command lines as a block, long ones broken so that they can be pasted."""
    broken = [
        part
        for line in lines
        for part in " \\\n".join(
            wrap(line, LINE, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False)
        ).splitlines()
    ]
    return ["```bash", *broken, "```", ""]


def _question(command: str) -> str:
    return "What evaluation draws." if command == EVALUATE else summary_of(COMMANDS[command].function)


def _figure(shown: Shown, address: str) -> list[str]:
    told, caption = described(shown.path)
    name = shown.path.stem
    with Image.open(shown.path) as picture:
        width = PIXELS_PER_INCH * picture.width / picture.info.get("dpi", (PIXELS_PER_INCH,))[0]
    return [
        f"```{{figure}} {address}",
        f":alt: {json.dumps(f'{name}. {told}' if told else name, ensure_ascii=False)}",
        f":width: {width:.0f}px",
        ":loading: lazy",
        "",
        f"`{name}`: " + _SPECIAL.sub(r"\\\1", caption),
        "```",
        "",
    ]
