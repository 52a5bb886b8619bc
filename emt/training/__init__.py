"""Training of populations: the only place that imports Lightning."""
