"""Fixtures of the report tests. This folder's helpers (`sample_run`, `run_folder`) are importable from it."""
