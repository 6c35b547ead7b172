"""What every room needs: errors, names, paths, files, cancellation."""
