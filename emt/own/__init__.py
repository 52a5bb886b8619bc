"""A researcher's own networks and recordings: from modules, step functions or arrays to a Trace and a run's folder.

`emt.from_torch`, `emt.from_cells` and `emt.from_arrays` return a `emt.own.run.Run`, which every analysis takes.
"""
