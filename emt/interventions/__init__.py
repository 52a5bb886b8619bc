"""Causal interventions: a run is changed at one place, goes its way from there, and its answers are compared."""
