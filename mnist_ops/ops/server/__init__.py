"""A tracking server for a team: MLflow's own server, started with safe settings."""
