"""Fixtures of the experiments' command lines."""

import re
from contextlib import contextmanager

import pytest

from emt.errors import UserError


@pytest.fixture
def refused():
    """Return a context that fails unless its body is refused, in words that match, as a command line prints them."""

    @contextmanager
    def expect(message):
        with pytest.raises(UserError) as caught:
            yield
        assert re.search(message, caught.value.in_flags()), caught.value.in_flags()

    return expect
