"""Shared basics: errors, names of params and tags, paths, files, cancellation."""
