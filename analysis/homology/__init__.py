"""Persistent homology of spectra and of hidden trajectories."""
