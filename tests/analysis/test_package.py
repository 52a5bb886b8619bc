"""The package as users import it."""

import subprocess
import sys
from pathlib import Path

import pytest

import analysis


@pytest.mark.parametrize("name", [n for n in analysis.__all__ if n != "COMMANDS"])
def test_every_public_name_can_be_imported(name):
    assert getattr(analysis, name).__doc__


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'anything'"):
        analysis.anything  # noqa: B018


def test_importing_the_package_loads_nothing_heavy():
    heavy = "{'torch', 'matplotlib', 'sklearn', 'ripser', 'persim'}"
    modules = "analysis, analysis.spectra.values, analysis.spectra.embedding"
    code = f"import sys, {modules}; print({heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_no_public_name_is_hidden_by_a_module():
    modules = {path.stem for path in Path(analysis.__file__).parent.iterdir()}
    assert not modules & set(analysis.__all__)


@pytest.mark.parametrize(("old", "new"), analysis.RENAMED.items())
def test_an_old_public_name_still_works_and_names_the_new_one(old, new):
    with pytest.warns(DeprecationWarning, match=f"analysis.{old} is now called analysis.{new}"):
        assert getattr(analysis, old) is getattr(analysis, new)
