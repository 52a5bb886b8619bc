"""Attacks on the product: kills, full disks, pairs of writers, damaged files and hostile names."""

import os

# Before anything imports numpy: a process of several threads is not forked faithfully.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
