"""Run the cells of studies: plan, engine, workers, and the task that a worker runs."""
