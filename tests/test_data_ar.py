"""Tests of the data of associative retrieval, under the name of the earlier program: ``python tests/test_data_ar.py``.

They are those of tests/emt/tasks/test_associative_retrieval.py; pytest, which collects them there, finds none here.
"""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

if __name__ == "__main__":
    # A script's own folder comes first, and the folder of the tests of `emt` there is called as the package is.
    sys.path[0] = str(ROOT)
    tests = ROOT / "tests" / "emt" / "tasks" / "test_associative_retrieval.py"
    sys.exit(pytest.main([str(tests), "-q", "-p", "no:cacheprovider"]))
