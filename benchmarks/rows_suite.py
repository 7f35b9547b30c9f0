"""The whole suite of table probes for one student and its teacher, from cached tables of 50,000 x 512."""

from __future__ import annotations

import os

import synthetic_inputs
from pairs import Row, median_cpu, once


def rows(effort: int) -> list[Row]:
    from probes.compute.memoize import forget
    from probes.registry import PROBES

    n = (5_000, 50_000, 50_000)[effort]
    student, teacher, weights = (
        synthetic_inputs.table(n, "student", encoder=1),
        synthetic_inputs.table(n, "teacher"),
        synthetic_inputs.class_weights(),
    )

    functions = {name: spec.function for name, spec in PROBES.items() if spec.needs == "tables"}

    def suite() -> dict[str, float]:
        from concurrent.futures import ThreadPoolExecutor

        forget()
        with ThreadPoolExecutor(min(len(functions), os.cpu_count() or 1)) as pool:
            waiting = {name: pool.submit(probe, student, teacher, class_weights=weights) for name, probe in functions.items()}
            return {name: len(each.result().scores) for name, each in waiting.items()}

    runs = [once(suite) for _ in range((1, 1, 3)[effort])]
    scores_of_probes = ", ".join(f"{name} {scores}" for name, scores in runs[0].result.items())
    return [
        Row(
            work=f"all table probes, student and teacher, {n:,} x 512 cached",
            against="",
            ours=runs,
            goal="<= 15 s on two cores",
            most=15.0,
            flops=2 * n * (512 * 512 + 2 * 512 * 522) * 1.0,
            note=f"scores: {scores_of_probes}; probes in threads, one BLAS thread each; {median_cpu(runs):.3g} processor seconds are at least {median_cpu(runs) / 2:.2g} s "
            "on two idle cores",
        )
    ]
