"""Samplers of machine and throughput, each on its own thread."""
