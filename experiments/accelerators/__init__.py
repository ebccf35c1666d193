"""What the programs of the experiments are on accelerators, without an accelerator at hand."""
