"""Faults that change no result, read one by one: no test can tell them from the source."""

EQUIVALENT = {
    (
        "analysis/spectra/eigenvalue.py",
        "sum(len(values) ** 2 for values in spectra) > MANY_PAIRS",
    ): "decides when processes are started",
    ("analysis/memory/capacity_lines.py", "len(values) <= values.shape[1]"): (
        "decides which of two products is taken, whose eigenvalues differ by zeros only"
    ),
    ("emt/ops/allocator.py", "2"): "free memory above which some is given back, 1.3 GB in the place of 2.1",
}
"""(module, source that is changed) -> why the change makes no difference."""
