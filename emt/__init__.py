"""EMT: train populations of recurrent memory models and take their memory apart."""

__version__ = "0.1.0"

DISTRIBUTION = "emt-workbench"
"""What the project is called on the package index, where ``emt`` is another project with the same import name."""
