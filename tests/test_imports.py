"""Who may import whom: the layers of the project, and which outside packages stay in one place."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ALLOWED = {
    "emt.options": (),
    "emt.streams": (),
    "emt.labelled": (),
    "emt.trace": ("emt.labelled",),
    "emt.ops": (),
    "emt.devices": ("emt.options",),
    "emt.config": ("emt.options",),
    "emt.runs": ("emt.config", "emt.trace", "emt.options"),
    "emt.commands.script": ("emt.options", "emt.runs"),
    "emt.engine": ("emt.config", "emt.runs", "emt.options"),
    "emt.tasks": ("emt.config", "emt.streams", "emt.options"),
    "emt.models": ("emt.ops", "emt.streams"),
    "emt.jacobians": ("emt.models",),
    "emt.record": (
        *("emt.config", "emt.tasks", "emt.models", "emt.runs", "emt.trace", "emt.options", "emt.devices"),
        "emt.jacobians",
    ),
    "emt.dynamics_file": ("emt.labelled",),
    "emt.dynamics": (
        *("emt.record", "emt.jacobians", "emt.models", "emt.tasks", "emt.streams", "emt.dynamics_file", "emt.options"),
    ),
    "emt.evaluation": (
        *("emt.config", "emt.runs", "emt.record", "emt.dynamics_file", "emt.dynamics", "emt.devices", "emt.options"),
    ),
    "emt.training": (
        *("emt.config", "emt.tasks", "emt.models", "emt.ops", "emt.runs", "emt.streams", "emt.options"),
        *("emt.devices", "emt.engine"),
    ),
    "analysis": ("emt.trace", "emt.dynamics_file"),
}
OUTSIDE = {
    "pytorch_lightning": "emt.training",
    "lightning": "emt.training",
    "dask": "emt.engine",
    "distributed": "emt.engine",
    "dask_jobqueue": "emt.engine",
    "matplotlib": "analysis.figures",
    # Brings torch along, so that it is imported where it was asked for, within the function.
    "DSA": "analysis.states.similarity",
}
NO_TORCH = (
    "analysis",
    "emt.tasks",
    "emt.trace",
    "emt.dynamics_file",
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


def wrong(module, imported):
    """Return why ``module`` may not import ``imported``, or None."""
    layer = max((a for a in ALLOWED if below(module, a)), key=len, default=None)
    top = imported.partition(".")[0]
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
        ("analysis.spectra.values", "emt.runs.read_json"),
        ("emt.models.elman", "emt.config.RunConfig"),
        ("analysis.spectra.values", "matplotlib.pyplot"),
        ("analysis.spectra.values", "DSA.DSA"),
        ("emt.tasks.base", "torch"),
        ("emt.new", "emt.ops.elman"),
    ],
)
def test_layers_refuse(module, imported):
    assert wrong(module, imported)


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import analysis", "torch matplotlib sklearn ripser"),
        ("import analysis.states.similarity", "torch DSA"),
        ("import emt.training.population, emt.tasks.variable_binding", "torch pytorch_lightning analysis"),
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
