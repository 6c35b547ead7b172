"""Networks: `train` has the training, `models` the networks and what they cost."""
