"""A package in the place of wandb, which keeps what it is sent."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest


class Run:
    """What `wandb.init` returns."""

    def __init__(self, **about):
        self.about, self.points, self.config, self.summary, self.finished = about, {}, {}, {}, False
        self.config = SimpleNamespace(values={}, update=self._configure)

    def _configure(self, values, allow_val_change=False):
        self.config.values.update(values)

    def define_metric(self, *_, **__):
        """Take the axis of a metric."""

    def log(self, figures):
        figures = dict(figures)
        self.points.setdefault(figures.pop("trainer/global_step"), {}).update(figures)

    def finish(self):
        self.finished, sys.modules["wandb"].run = True, None


@pytest.fixture
def wandb_runs(monkeypatch):
    """Return the list of runs that are sent to Weights & Biases by Lightning's own logger."""
    sent = []

    def init(**about):
        assert package.run is None, "one run at a time: a second one would become a part of the first"
        package.run = Run(**about)
        sent.append(package.run)
        return package.run

    package = ModuleType("wandb")
    package.run, package.init = None, init
    for name, content in (
        ("sdk", {}),
        ("sdk.lib", {"RunDisabled": type("RunDisabled", (), {})}),
        ("wandb_run", {"Run": Run}),
    ):
        module = ModuleType(f"wandb.{name}")
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    package.__spec__ = ModuleSpec("wandb", None)
    monkeypatch.setitem(sys.modules, "wandb", package)
    monkeypatch.setattr("pytorch_lightning.loggers.wandb._WANDB_AVAILABLE", True)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return sent


@pytest.fixture
def without_wandb(monkeypatch):
    """Let the package be absent, whether it is installed or not."""
    found = importlib.util.find_spec
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *rest: None if name == "wandb" else found(name, *rest)
    )
