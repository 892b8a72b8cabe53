"""The commands that check this installation: verify and bench."""

import time

import tyro

from collapse_jax.cli.display import console, law_table, say, speed_table
from collapse_jax.cli.session import prepare_jax
from collapse_jax.validation import check_seed


def verify_laws(arguments: list[str]) -> int:
    """Compare simulations with theory; return the exit code."""
    def verify(quick: bool = False, seed: int = 0) -> tuple[bool, int]:
        """Simulate with the laboratory's own code and compare with theory; exit code 0 only if every |z| < 5.

        Args:
            quick: a subset of the laws with fewer runs.
            seed: root of all randomness.
        """
        return quick, seed

    quick, seed = tyro.cli(verify, args=arguments, prog="collapse-jax verify")
    check_seed("seed", seed)
    prepare_jax()
    from collapse_jax.selfcheck.verify import MAX_DETECTS, run_program, selected, weak

    checks, programs, begun = [], selected(quick=quick), time.monotonic()
    with console.status("") as status:
        for index, program in enumerate(programs):
            status.update(f"simulating {index + 1} of {len(programs)}: {program.name}")
            for name, found in run_program(program, quick=quick, seed=seed).items():
                checks += found
                console.print(law_table(name, found))
    console.print(
        "detects: the smallest deviation that would have failed, as a share of the prediction, or of 1 for 0"
    )
    failed = [item for item in checks if not item.holds]
    console.print(
        f"{len(checks) - len(failed)} of {len(checks)} laws hold (|z| < 5), {len(programs)} programs, "
        f"{time.monotonic() - begun:.0f} s"
    )
    if hardly := [] if quick else weak(checks):
        say(f"could hardly fail (detects > {MAX_DETECTS}): " + "; ".join(item.law for item in hardly))
    return 1 if failed else 0


def time_device(arguments: list[str]) -> int:
    """Time the laboratory's work on this device; return the exit code."""
    def bench(quick: bool = False) -> bool:
        """Time the laboratory's work on this device: chains, images and tokens a second, compile time, memory.

        Args:
            quick: smaller pieces of fewer kinds, under a minute.
        """
        return quick

    quick = tyro.cli(bench, args=arguments, prog="collapse-jax bench")
    prepare_jax()
    import jax

    from collapse_jax.runs.provenance import provenance
    from collapse_jax.selfcheck.speed import all_work, matmul_gflops, measure, peak_mib

    jax.config.update("jax_compilation_cache_dir", None)  # compiling is timed, too
    told, found = provenance(), []
    with console.status("building ...") as status:
        top = matmul_gflops(1024 if quick else 4096)
        for work in all_work(quick=quick):
            status.update(work.name)
            found.append(measure(work, repeats=3 if quick else 5))
    console.print(speed_table(found))
    versions = ", ".join(f"{name} {told['versions'][name]}" for name in ("collapse-jax", "jax", "jaxlib", "python"))
    console.print(
        f"{told['device']}, {told['threads']} threads, {top:,.0f} GFLOP/s in float32 matrix products, peak memory "
        f"{peak_mib():,.0f} MiB; {versions}; {told['started'][:10]}",
        soft_wrap=True,
    )
    return 0
