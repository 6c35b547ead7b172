"""Speed on this machine, against what a user would otherwise run. `make bench` runs all."""
