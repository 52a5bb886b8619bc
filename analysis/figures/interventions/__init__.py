"""Figures of `analysis.interventions`."""
