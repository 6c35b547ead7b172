"""Run the cells of studies: plan, workers, tasks."""
