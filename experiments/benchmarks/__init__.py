"""What things cost, run from the checkout as `python -m experiments.benchmarks.NAME`."""
