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
    code = (
        f"import sys, analysis, analysis.spectra.values, analysis.spectra.embedding; print({heavy} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_no_public_name_is_hidden_by_a_module():
    modules = {path.stem for path in Path(analysis.__file__).parent.iterdir()}
    assert not modules & set(analysis.__all__)
