"""Systems whose answers are known by derivation: tests use them, and ``emt selftest`` runs them through every analysis.

Each file holds one family. Builders of systems are called ``plant_…``.
"""
