"""The command lines of the package: the only place that may import both `emt` and `analysis`."""
