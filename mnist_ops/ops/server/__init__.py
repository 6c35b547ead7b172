"""The team's tracking server: MLflow's own, started with safe settings."""
