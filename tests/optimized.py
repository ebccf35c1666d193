"""How XLA compiles the programs of tests that run for seconds: nearly as it does for users."""

# Such a program takes up to twice as long to compile as the others, and a third to run. The fused
# loops of users would take longer still to compile, and save nothing here.
OPTIMIZED = {
    "xla_backend_optimization_level": 2,
    "xla_llvm_disable_expensive_passes": False,
}
