"""Which faults are tried: drawn by seed, evenly over modules and kinds; and which tests belong to a module."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.mutants.sites import Site, find_sites

SOURCES = ("analysis", "emt/ops")

LEFT_OUT = ("analysis/figures", "analysis/report/html.py")
"""What draws and writes pages computes nothing."""


@dataclass(frozen=True)
class Mutant:
    """A fault of one module.

    Attributes
    ----------
    module
        Path of the file below the root.
    site
        The change.
    """

    module: str
    site: Site

    @property
    def name(self) -> str:
        """Say which fault it is, the same in every run on the same source."""
        before, after = (" ".join(text.split()) for text in (self.site.before, self.site.after))
        return f"{self.module}:{self.site.line}:{self.site.column} {self.site.kind}: {before} → {after}"


def find_modules(root: Path) -> dict[str, list[Site]]:
    """Return the places for faults by the path of their module, sorted, of modules that have some."""
    paths = [path for folder in SOURCES for path in (root / folder).rglob("*.py")]
    names = sorted(path.relative_to(root).as_posix() for path in paths)
    kept = [name for name in names if not name.startswith(LEFT_OUT) and not name.endswith("__init__.py")]
    sites = {name: find_sites((root / name).read_text(encoding="utf-8")) for name in kept}
    return {name: found for name, found in sites.items() if found}


def draw_mutants(root: Path, count: int, seed: int) -> list[Mutant]:
    """Return different mutants, of all modules in turn, of each with its kinds in turn; a larger count adds some."""
    rng = np.random.default_rng(seed)
    waiting = {name: _in_turn(sites, rng) for name, sites in find_modules(root).items()}
    modules = list(waiting)
    drawn: list[Mutant] = []
    while len(drawn) < count and any(waiting.values()):
        for place in rng.permutation(len(modules)):
            if sites := waiting[modules[place]]:
                drawn.append(Mutant(modules[place], sites.pop(0)))
    return drawn[:count]


def _in_turn(sites: list[Site], rng: np.random.Generator) -> list[Site]:
    """Return sites in random order, one of each kind after the other."""
    shuffled = [sites[place] for place in rng.permutation(len(sites))]
    order = rng.permutation(sorted({site.kind for site in sites})).tolist()
    by_kind = {kind: [site for site in shuffled if site.kind == kind] for kind in order}
    longest = max(map(len, by_kind.values()), default=0)
    return [by_kind[kind][turn] for turn in range(longest) for kind in order if turn < len(by_kind[kind])]


def find_tests(root: Path, module: str) -> str:
    """Return the path of a module's tests: the file of its name, or the folder if it is tested with its neighbours."""
    path = Path("tests") / module
    one = path.with_name(f"test_{path.name}")
    return next(p for p in (one, path.with_suffix(""), *one.parents) if (root / p).exists()).as_posix()


def find_user_tests(root: Path, module: str) -> list[str]:
    """Return the paths of tests of and with modules that import this one, sorted; its own are left out."""
    name = module.removesuffix(".py").replace("/", ".")
    tests = [path.relative_to(root).as_posix() for path in (root / "tests").rglob("test_*.py")]
    users = [
        user
        for user in (*find_modules(root), *tests)
        if f"from {name} import" in (root / user).read_text(encoding="utf-8")
    ]
    found = {user if user in tests else find_tests(root, user) for user in users}
    own = find_tests(root, module)
    return sorted(test for test in found if test != own and not test.startswith(f"{own}/"))
