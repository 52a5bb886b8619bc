"""Figures of analyses: the only place that imports matplotlib. A figure function computes nothing and saves nothing."""
