"""`make speed`, the part about devices: what each way to compute is worth, against eager float32.

`python -m tests.performance.device --device cuda --out table.md` writes the whole table in about
eight minutes. It needs torch, lightning, timm, torchmetrics and pandas, no data and no network.
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path

import torch

from benchmark.formats.markdown import markdown_rows
from benchmark.profiling.cost import resolve_device, time_interleaved
from tests.performance.memory_peak import held, peak_of
from tests.performance.operations import count_evaluation, count_training
from tests.performance.variants import EAGER, Variant, all_variants
from tests.performance.workloads import PHASES, Case, cases
from usererror import UserError

MINUTES = 8.0
SIDE = {"cpu": 1024, "cuda": 8192}  # of large matrices
COUNTS: dict[str, Callable[[Callable[[], object]], float]]
COUNTS = {"training": count_training, "evaluation": count_evaluation}
HEAD = ["encoder", "phase", "variant", "ms", "times as fast", "peak memory GB"]
HEAD += ["share of matmul rate", "first call s", "remark"]


@dataclass
class Row:
    """What was found for a variant; `problem` says why there is nothing."""

    variant: Variant
    problem: str = ""
    first: float = 0.0  # seconds of the first call, compilation included
    peak: float = 0.0  # GB
    seconds: float = 0.0
    share: float = 0.0  # of the rate of matrix products, 0 where unknown


@dataclass
class Budget:
    """Time that is left; what is begun is not cut off."""

    minutes: float
    started: float = field(default_factory=time.perf_counter)
    longest: dict[bool, float] = field(default_factory=lambda: {False: 0.0, True: 0.0})

    def check(self, compiled: bool) -> None:
        """Raise a UserError where a variant like the longest so far would not fit."""
        spent = time.perf_counter() - self.started
        if spent + self.longest[compiled] > 60 * self.minutes:
            raise UserError(f"skipped: would take longer than {self.minutes:g} minutes")

    def note(self, compiled: bool, seconds: float) -> None:
        """Remember what a variant takes."""
        self.longest[compiled] = max(self.longest[compiled], seconds)


def part(rounds: int, device: str = "cpu") -> None:
    """Print the table; a CPU gets small encoders and windows."""
    place = resolve_device(device)
    measure_all(cases(small=place.type == "cpu"), place, rounds, MINUTES)


def measure_all(
    chosen: Sequence[Case],
    device: torch.device,
    rounds: int,
    minutes: float,
    out: Path | None = None,
) -> None:
    """Measure the cases in turn; print each one's rows as they come, and write them to `out`."""
    budget = Budget(minutes)
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    reduced = "small encoders and windows; " if chosen == cases(small=True) else ""
    notes = (
        f"{kind} ({device.type}), torch {torch.__version__}, Python {platform.python_version()}, "
        f"{torch.get_num_threads()} threads; {reduced}random weights, noise, three modalities; "
        f"minimum of {rounds} rounds in turn, without first calls."
    )
    print(notes, flush=True)
    lines: list[list[str]] = []
    for case, phase in product(chosen, PHASES):
        try:
            added = lines_of(case, phase, measure(case, phase, device, rounds, budget))
        except Exception as error:
            # such as out of memory: each fits alone, and not all beside each other
            added = [[case.name, phase, "all", *["-"] * 5, _one_line(error)]]
        print("\n".join(map(" | ".join, added)), flush=True)
        lines += added
        if out:
            # all there is so far, whatever ends the process
            table = markdown_rows(HEAD, lines, "lllrrrrrl")
            out.write_text(f"{notes}\n\n{table}\n", encoding="utf-8")


def square_products(device: torch.device) -> dict[str, Callable[[], None]]:
    """Make calls that multiply two large square matrices, one for each precision."""
    calls: dict[str, Callable[[], None]] = {}
    for variant in all_variants(device):
        dtype = torch.bfloat16 if variant.bf16 else torch.float32
        pair = torch.randn(2, SIDE[device.type], SIDE[device.type], device=device, dtype=dtype)
        calls[f"product {variant.products}"] = partial(_multiply, variant, pair, device)
    return calls


def _multiply(variant: Variant, pair: torch.Tensor, device: torch.device) -> None:
    with variant.products_of(device):
        synchronized(partial(torch.mm, *pair), device)


def measure(case: Case, phase: str, device: torch.device, rounds: int, budget: Budget) -> list[Row]:
    """Measure all variants of a case, and large matrix products, in turn."""
    rows, calls = [Row(variant) for variant in all_variants(device)], {}
    for row in rows:
        try:
            budget.check(row.variant.compiled)
            calls[row.variant.name] = _warm(row, case, phase, device, rounds, budget)
        except Exception as error:
            # out of memory, no compiler, no kernel for this GPU: each has an exception of its own
            row.problem = _one_line(error)
    if not calls:
        return rows
    seconds = time_interleaved(calls | square_products(device), rounds)
    flops = 0.0
    with contextlib.suppress(KeyError, torch.OutOfMemoryError):
        flops = COUNTS[phase](calls[EAGER.name])
    for row in rows:
        if not row.problem:
            row.seconds = seconds[row.variant.name]
            products = 2 * SIDE[device.type] ** 3 / seconds[f"product {row.variant.products}"]
            row.share = flops / row.seconds / products
    return rows


def _warm(
    row: Row, case: Case, phase: str, device: torch.device, rounds: int, budget: Budget
) -> Callable[[], None]:
    """Build a variant and call it twice, for the seconds of the first call and for the peak."""
    before, started = held(device), time.perf_counter()
    call = partial(synchronized, PHASES[phase](case, row.variant, device), device)
    built = time.perf_counter()
    call()
    warm = time.perf_counter()
    peak = peak_of(call, device)
    steady = time.perf_counter() - warm
    row.first, row.peak = warm - built, (peak - before) / 1e9
    # its timings, still to come, included
    budget.note(row.variant.compiled, warm - started + (rounds + 2) * steady)
    return call


def lines_of(case: Case, phase: str, rows: Sequence[Row]) -> list[list[str]]:
    """Write the rows of a case as cells of the table."""
    lines, eager = [], rows[0].seconds
    for row in rows:
        cells = ["-"] * 5
        if not row.problem:
            faster = f"{eager / row.seconds:.2f}" if eager else "-"
            share = f"{100 * row.share:.0f} %" if row.share else "-"
            first = f"{row.first:.1f}"
            cells = [f"{1000 * row.seconds:.1f}", faster, f"{row.peak:.2f}", share, first]
        lines.append([case.name, phase, row.variant.name, *cells, row.problem])
    return lines


def _one_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def synchronized(call: Callable[[], object], device: torch.device) -> None:
    """Call, and wait for what it has begun on a GPU."""
    call()
    if device.type == "cuda":
        # kernels run on after the call that starts them
        torch.cuda.synchronize(device)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.performance.device")
    parser.add_argument("--device", default="", help="cpu or cuda; default: a GPU if there is any")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="what would not fit is left")
    parser.add_argument(
        "--small", action="store_true", help="small encoders and windows, as on a CPU"
    )
    parser.add_argument("--out", type=Path, help="Markdown file")
    given = parser.parse_args(argv)
    try:
        device = resolve_device(given.device)
    except UserError as error:
        parser.error(str(error))
    chosen = cases(given.small or device.type == "cpu")
    measure_all(chosen, device, given.rounds, given.minutes, given.out)


if __name__ == "__main__":
    main()
