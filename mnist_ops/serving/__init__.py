"""What becomes of the best runs: champions, the registry, inference, verification."""
