"""Who may import whom: the layers of the project, and which outside packages stay in one place."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

BASE = ("emt.errors", "emt.files", "emt.identity", "emt.locks", "emt.npz", "emt.schema", "emt.text")
ALLOWED = {
    "emt.errors": ("emt.text",),
    "emt.identity": (),
    "emt.npz": (),
    "emt.stopping": (),
    "emt.progress": ("emt.text",),
    "emt.text": (),
    "emt.files": ("emt.errors", "emt.text"),
    "emt.locks": ("emt.errors", "emt.files", "emt.text"),
    "emt.schema": ("emt.errors", "emt.files", "emt.text"),
    "emt.summary": ("emt.schema", "emt.text"),
    "emt.options": BASE,
    "emt.streams": (),
    "emt.labelled": BASE,
    "emt.memory_nodes": (*BASE, "emt.labelled"),
    "emt.tensor_file": (),
    "emt.netcdf": BASE,
    "emt.trace": (*BASE, "emt.labelled", "emt.memory_nodes", "emt.netcdf"),
    "emt.ops": (),
    "emt.devices": BASE,
    "emt.yaml_file": ("emt.errors",),
    "emt.config": (*BASE, "emt.options", "emt.yaml_file"),
    "emt.runs": (*BASE, "emt.summary", "emt.config", "emt.trace", "emt.options", "emt.tensor_file"),
    "emt.engine": (*BASE, "emt.config", "emt.runs", "emt.options", "emt.stopping"),
    "emt.tasks": (*BASE, "emt.config", "emt.streams", "emt.options"),
    "emt.models": ("emt.errors", "emt.ops", "emt.streams"),
    "emt.jacobians": ("emt.models",),
    "emt.acting": ("emt.models", "emt.tasks"),
    "emt.record": (
        *(
            *BASE,
            "emt.config",
            "emt.tasks",
            "emt.models",
            "emt.runs",
            "emt.trace",
            "emt.options",
            "emt.devices",
        ),
        *("emt.acting", "emt.jacobians", "emt.memory_nodes"),
    ),
    "emt.dynamics_file": (*BASE, "emt.labelled", "emt.netcdf"),
    "emt.dynamics": (
        *(
            *BASE,
            "emt.record",
            "emt.jacobians",
            "emt.models",
            "emt.tasks",
            "emt.streams",
            "emt.dynamics_file",
        ),
        *("emt.acting", "emt.options", "emt.progress"),
    ),
    "emt.codes": (),
    "emt.effects": (*BASE, "emt.labelled", "emt.netcdf"),
    "emt.interventions": (
        *(*BASE, "emt.record", "emt.models", "emt.tasks", "emt.streams", "emt.effects", "emt.progress"),
        *("emt.acting", "emt.memory_nodes", "emt.codes"),
    ),
    "emt.evaluation": (
        *(*BASE, "emt.config", "emt.runs", "emt.record", "emt.dynamics_file", "emt.dynamics", "emt.devices"),
        *("emt.effects", "emt.options"),
    ),
    "emt.member_parts": (*BASE, "emt.evaluation", "emt.runs", "emt.config"),
    "emt.member_interventions": (
        *(*BASE, "emt.evaluation", "emt.member_parts", "emt.record", "emt.effects", "emt.interventions"),
        *("emt.devices", "emt.codes", "emt.config", "emt.tasks", "emt.options", "emt.acting", "emt.runs"),
    ),
    "emt.member_dynamics": (
        *(*BASE, "emt.evaluation", "emt.member_parts", "emt.record", "emt.dynamics_file", "emt.dynamics"),
        "emt.devices",
    ),
    "emt.training": (
        *(
            *BASE,
            "emt.config",
            "emt.tasks",
            "emt.models",
            "emt.ops",
            "emt.runs",
            "emt.streams",
            "emt.options",
        ),
        *("emt.acting", "emt.devices", "emt.engine", "emt.stopping", "emt.progress", "emt.tensor_file"),
    ),
    "emt.own": (
        *(*BASE, "emt.trace", "emt.tasks", "emt.models", "emt.record", "emt.dynamics", "emt.dynamics_file"),
        *("emt.locks", "emt.memory_nodes", "emt.progress", "emt.interventions", "emt.codes"),
        # A run of one's own networks has the summary that evaluation would write, and memories that replay.
        "analysis.evaluation.from_recording",
        *("analysis.memory.log", "analysis.memory.replay"),
    ),
    "emt.weights": (*BASE, "emt.config", "emt.options", "emt.runs", "emt.tensor_file"),
    "emt.commands": ("emt", "analysis", "experiments"),
    "emt.__main__": ("emt.commands",),
    "analysis": (
        *BASE,
        "emt.trace",
        "emt.dynamics_file",
        "emt.effects",
        "emt.progress",
        "emt.stopping",
        "emt.codes",
    ),
}
"""Layer -> what of ours it may import besides itself."""

ROOMS = (
    *(
        "errors",
        "command",
        "parallel",
        "statistics",
        "comparability",
        "tables",
        "result",
        "cache",
        "population",
    ),
    *(
        "spectra",
        "homology",
        "states",
        "conditions",
        "degeneracy",
        "variables",
        "memory",
        "interventions",
        "accuracy",
    ),
    *("evaluation", "report"),
)
"""Rooms of `analysis` from the bottom up: each may import those before it, and figures those of their own kind."""

OUTSIDE = {
    "pytorch_lightning": "emt.training",
    "lightning": "emt.training",
    "dask": "emt.engine",
    "distributed": "emt.engine",
    "dask_jobqueue": "emt.engine",
    "matplotlib": "analysis.figures",
    # Brings torch along, so that it is imported where it was asked for, within the function.
    "DSA": "analysis.states.dynamical_similarity",
}
NO_TORCH = (
    "analysis",
    "emt.tasks",
    "emt.trace",
    "emt.dynamics_file",
    "emt.effects",
    "emt.interventions.kinds",
    "emt.own.arrays",
    "emt.own.run",
    "emt.own.trials",
    "emt.runs",
    "emt.config",
    "emt.options",
    "emt.engine",
)


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def below(name, package):
    return name == package or name.startswith(f"{package}.")


def room(name):
    """Return the place of a module of analysis among the rooms, None for the package; for a figure of what is drawn."""
    parts = [part for part in name.split(".")[1:] if part != "figures"]
    return ROOMS.index(parts[0]) if parts and parts[0] in ROOMS else None


def runs_up(module, imported):
    """Whether an import within analysis goes to a room above."""
    figures = [below(name, "analysis.figures") for name in (module, imported)]
    if figures[0] != figures[1]:
        return figures[1]
    rooms = room(module), room(imported)
    return None not in rooms and rooms[0] < rooms[1]


def wrong(module, imported):
    """Return why ``module`` may not import ``imported``, or None."""
    layer = max((a for a in ALLOWED if below(module, a)), key=len, default=None)
    top = imported.partition(".")[0]
    if below(module, "analysis") and below(imported, "analysis") and runs_up(module, imported):
        return f"{module} imports {imported}, a room above it"
    if top in ("emt", "analysis", "experiments") and imported != "emt":
        if layer is None:
            return f"{module} has no line in ALLOWED"
        if not any(below(imported, a) for a in (*ALLOWED[layer], layer)):
            return f"{module} imports {imported}"
    if top == "torch" and any(below(module, m) for m in NO_TORCH):
        return f"{module} imports torch"
    if top in OUTSIDE and not below(module, OUTSIDE[top]):
        return f"{module} imports {top}, which belongs to {OUTSIDE[top]}"
    return None


def test_layers():
    files = [p for package in ("emt", "analysis") for p in (ROOT / package).rglob("*.py")]
    assert len(files) > 10
    problems = [w for p in files for i in imports(p) if (w := wrong(module_name(p), i))]
    assert problems == []


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("analysis.spectra.values", "emt.runs.read_summary"),
        ("emt.models.elman", "emt.config.RunConfig"),
        ("analysis.spectra.values", "matplotlib.pyplot"),
        ("analysis.spectra.values", "DSA.DSA"),
        ("emt.tasks.base", "torch"),
        ("emt.new", "emt.ops.elman"),
        ("analysis.spectra.values", "analysis.homology.nulls"),
        ("analysis.states.dynamical_similarity", "analysis.figures.style"),
        ("analysis.figures.spectra.values", "analysis.figures.variables.find"),
        ("emt.record", "emt.commands.train"),
    ],
)
def test_layers_refuse(module, imported):
    assert wrong(module, imported)


def test_every_module_of_analysis_has_a_room():
    names = {module_name(path) for path in (ROOT / "analysis").rglob("*.py")} - {
        "analysis",
        "analysis.figures",
    }
    assert {name for name in names if room(name) is None} == {
        "analysis.figures.captions",
        "analysis.figures.house",
        "analysis.figures.style",
    }


def test_a_figure_file_has_the_name_of_its_analysis():
    folder = ROOT / "analysis"
    drawn = [path.relative_to(folder / "figures") for path in (folder / "figures").rglob("*.py")]
    assert sorted(p for p in drawn if not (folder / p).exists()) == [
        Path("captions.py"),
        Path("house.py"),
        Path("style.py"),
    ]


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import analysis", "torch matplotlib sklearn ripser"),
        ("import analysis.states.similarity", "torch DSA"),
        ("import emt.training.population, emt.tasks.variable_binding", "torch pytorch_lightning analysis"),
        ("import emt; emt.trials, emt.from_arrays, emt.Run", "torch analysis matplotlib"),
        ("import emt.training.module", "analysis pandas sklearn plotly dask"),
    ],
)
def test_import_loads_only_what_it_needs(code, absent):
    check = f"import sys; {code}; print([m for m in {absent.split()} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("script", ["train_multiple.py", "evaluate_multiple.py", "analyze.py"])
def test_help_loads_no_torch(script):
    code = (
        f"import sys, runpy; sys.argv = ['{script}', '--help']\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit: print([m for m in ('torch', 'pandas', 'matplotlib', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip().endswith("[]")
