"""Every estimator on processes of known truth: `python -m experiments.self_test`."""
