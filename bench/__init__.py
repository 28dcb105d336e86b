"""Benchmarks, run by `make bench`: figures as ratios within one run, for machines are noisy."""
