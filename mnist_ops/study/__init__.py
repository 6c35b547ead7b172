"""What a study is: specs, grids, results."""
