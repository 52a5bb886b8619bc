"""EMT: train populations of recurrent memory models and take their memory apart."""

__version__ = "0.1.0"
