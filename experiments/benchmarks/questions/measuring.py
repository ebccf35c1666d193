"""What is measured of a candidate: seconds, work, memory, and facts; or how it fails."""

import functools
import gc
import textwrap
import time
from typing import Any

from experiments.accelerators import facts
from experiments.benchmarks import timing
from experiments.benchmarks.questions.question import Candidate
from sgd_diffusion._memory import check_memory

LONGEST = 200  # characters of an error


def measured(candidate: Candidate, *, repeats: int, patience: float) -> dict[str, Any]:
    """Return the row of a candidate.

    Args:
        candidate: that is made, compiled and run here, and whose memory is then free again.
        repeats: as for `timing.in_a_row`.
        patience: as for `timing.in_a_row`.

    Returns:
        JSON-like. Either `error`, or `unit` and `amount` of the work of a run; seconds `compile`
        (None if the first run compiles), `first`, `median`, `min` and `max`, with the number of
        warm `runs`; units `per_second`; `bytes_at_peak` of the device and `flops_per_second`, None
        where they are not known; and `facts` of the result. Always `seconds`, of all of it.
    """
    begin = time.perf_counter()
    try:
        row = _measured(candidate, repeats, patience)
    except Exception as error:  # too much memory, a program that does not compile: it is a result
        first = (str(error).splitlines() or [""])[0]
        row = {"error": textwrap.shorten(f"{type(error).__name__}: {first}", LONGEST)}
    if "error" in row:
        gc.collect()  # what was taken before it failed may be in a cycle
    return row | {"seconds": time.perf_counter() - begin}


def _measured(candidate, repeats, patience):
    made = candidate.make()
    run, known = functools.partial(made.function, *made.arguments), {}
    if hasattr(made.function, "lower"):
        begin = time.perf_counter()
        lowered = made.function.lower(*made.arguments)
        compiled = lowered.compile()
        known["compile"] = time.perf_counter() - begin
        memory = facts.memory_of(compiled)
        check_memory(
            memory["bytes_at_peak"] - memory["bytes_of_arguments"],
            candidate.name,
            "take a smaller size",
        )
        known |= {"bytes_at_peak": memory["bytes_at_peak"]}
        run = functools.partial(compiled, *made.arguments)
        if made.passes is not None:
            work = sum(each.flops for each in facts.products(lowered).values())
            known["flops"] = work * made.passes
    times, result = timing.in_a_row(run, repeats=repeats, patience=patience)
    flops = known.pop("flops", None)
    return {
        "unit": candidate.unit,
        "amount": made.amount,
        "compile": None,
        "bytes_at_peak": None,
        **known,
        **times,
        "per_second": made.amount / times["median"],
        "flops_per_second": flops and flops / times["median"],
        "facts": {} if made.facts is None else made.facts(result),
    }
