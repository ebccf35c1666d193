"""Experiments, run from the checkout as `python -m experiments.NAME`."""

import sys

if sys.argv[:1] == ["-m"]:  # while Python looks for the module that it was told to run
    from experiments.interrupts import end_on_interrupt

    end_on_interrupt()
