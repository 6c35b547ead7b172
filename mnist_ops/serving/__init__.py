"""Champions, the model registry, inference, and verification of runs."""
