import subprocess
import sys

import pytest

from emt.ops import allocator as memory

SCRIPT = """
import resource
from emt.ops import allocator as memory
import torch
kept = memory.keep_freed_memory() if {keep} else None
def fill():
    torch.empty(20_000_000).fill_(1.0)
for _ in range(15):
    fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(keep):
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(keep=keep)], capture_output=True, text=True, check=True
    )
    return int(ran.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_memory_is_used_again_without_page_faults():
    assert faults(keep=False) > 20 * max(1, faults(keep=True))


def test_elsewhere_it_says_that_it_cannot(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert memory.keep_freed_memory() is False
