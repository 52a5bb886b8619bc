"""What each figure shows and what to look for in it: a text for each name, beside the code that draws it.

A module of figures has a table ``CAPTIONS``, and its `draw` is decorated with it. Saved files carry the text, and
the report and the gallery show it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import wraps
from typing import ParamSpec, TypeVar

from matplotlib.figure import Figure

from analysis.figures.style import Film
from emt.errors import RegistrationError

P = ParamSpec("P")
Drawn = TypeVar("Drawn", Figure, Film)


def captioned(
    captions: Mapping[str, str],
) -> Callable[[Callable[P, Iterator[tuple[str, Drawn]]]], Callable[P, Iterator[tuple[str, Drawn]]]]:
    """Decorator: each figure that a function yields gets its caption.

    Parameters
    ----------
    captions
        Name -> text; in a name a star stands for what depends on the data. The first that matches counts.

    Raises
    ------
    RegistrationError
        By the function, if a figure has no caption.
    """

    def decorate(draw: Callable[P, Iterator[tuple[str, Drawn]]]) -> Callable[P, Iterator[tuple[str, Drawn]]]:
        @wraps(draw)
        def captioned_draw(*args: P.args, **options: P.kwargs) -> Iterator[tuple[str, Drawn]]:
            for name, drawn in draw(*args, **options):
                figure = drawn.figure if isinstance(drawn, Film) else drawn
                # An artist's label: nothing in the figure shows it.
                figure.set_label(caption_of(name, captions, draw.__module__))
                yield name, drawn

        return captioned_draw

    return decorate


def caption_of(name: str, captions: Mapping[str, str], module: str = "") -> str:
    """Return the caption of a figure.

    Raises
    ------
    RegistrationError
        If there is none.

    Examples
    --------
    >>> caption_of("capacity_fast", {"capacity_*": "What a memory holds."})
    'What a memory holds.'
    """
    return captions[kind_of(name, captions, module)]


def kind_of(name: str, captions: Iterable[str], module: str = "") -> str:
    """Return the first of a table's names that a figure has, with a star for what depends on the data.

    Raises
    ------
    RegistrationError
        If there is none.
    """
    found = next((kind for kind in captions if fnmatchcase(name, kind)), None)
    if found is None:
        raise RegistrationError(f"{module}: expected a caption of the figure {name!r} in CAPTIONS")
    return found
