"""The command line: list, reproduce, run, sweep, resume, report, watch, advise, verify, bench, help, completion.

JAX is imported only by commands that compute, so that `--help` answers at once. Exit codes: 0 the run
finished (verify: every law holds; watch: no alarm), 1 a law fails, or in the midst of a run a fit does, 2
bad arguments or data (COLLAPSE_JAX_TRACEBACK=1 shows where), 3 watch raises its alarm, 75 stopped by SIGTERM
after a checkpoint, 130 interrupted; after a run's 1, 75 and 130 `resume` goes on.
"""

import os
import sys
from typing import Annotated

import tyro
from rich.table import Table

from collapse_jax.cli.advising import advise_mixing
from collapse_jax.cli.arguments import HELP, command_first
from collapse_jax.cli.checking import time_device, verify_laws
from collapse_jax.cli.display import Patient, console, joined, one_line
from collapse_jax.cli.reporting import report_runs
from collapse_jax.cli.running import reproduce_studies, resume_runs, run_study, sweep_study
from collapse_jax.cli.stopping import stop_at_once
from collapse_jax.drivers.machine import use_every_core
from collapse_jax.studies.registry import STUDIES
from collapse_jax.validation import RunFailed, nearest, out_of_memory, remedy_of


def main() -> None:
    """Run the command line and exit with its code."""
    stop_at_once()
    use_every_core()
    sys.stdout, sys.stderr = Patient(sys.stdout), Patient(sys.stderr)
    code = run_command(sys.argv[1:])
    jax = sys.modules.get("jax")
    if code and jax is not None and jax.distributed.is_initialized():  # the others may not come to say goodbye
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def run_command(arguments: list[str]) -> int:
    """Return the exit code of a command line."""
    commands = {
        "list": _list, "reproduce": reproduce_studies, "run": run_study, "sweep": sweep_study, "resume": resume_runs,
        "report": report_runs, "watch": _watch, "advise": advise_mixing, "verify": verify_laws, "bench": time_device,
        "completion": _completion,
    }  # fmt: skip
    arguments = command_first(arguments, [*commands, "help"])
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP)
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(version("collapse-jax"))
        return 0
    try:
        if arguments[0] not in commands:
            raise ValueError(f"there is no command '{arguments[0]}'; {nearest(arguments[0], commands)}")
        return commands[arguments[0]](arguments[1:])
    except KeyboardInterrupt:
        print(
            "\ncollapse-jax: interrupted before the first segment was finished; nothing was measured.",
            file=sys.stderr,
        )
        return 130
    except Exception as error:
        sentence = _sentence(error)
        if not sentence or os.environ.get("COLLAPSE_JAX_TRACEBACK"):
            raise
        print(f"collapse-jax: {one_line(sentence)}", file=sys.stderr)
        return 1 if isinstance(error, RunFailed) else 2


def _sentence(error: Exception) -> str:
    """Return what a user is told of an error, "" of one that nobody expects."""
    if isinstance(error, ValueError | TypeError | RunFailed):
        return str(error)
    if isinstance(error, MemoryError | RuntimeError):
        return out_of_memory(error)
    if isinstance(error, OSError):
        where = f"{error.filename} cannot be used" if error.filename else "a file cannot be used"
        return f"{where} ({error.strerror}); {remedy_of(error, 'name another')}."
    return ""


def _list(arguments: list[str]) -> int:
    def listing() -> None:
        """List the studies and their presets."""

    tyro.cli(listing, args=arguments, prog="collapse-jax list")
    table = Table("study", "what", "preset", "size", box=None, header_style="bold")
    for study in STUDIES.values():
        for index, (preset, config) in enumerate(study.presets.items()):
            size = (
                f"M = {joined(config.num_samples)}, {config.generations} generations, {config.seeds} seeds"
            )
            table.add_row(study.name if index == 0 else "", study.title if index == 0 else "", preset, size)
    console.print(table)
    return 0


def _watch(arguments: list[str]) -> int:
    from collapse_jax.cli.watching import watch_generations  # its imports are of no other command

    return watch_generations(arguments)


def _completion(arguments: list[str]) -> int:
    def completion(shell: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="bash|zsh|fish")]) -> str:
        """Print a script that completes commands, studies and options in a shell: eval "$(... completion bash)".

        Args:
            shell: which.
        """
        return shell

    from collapse_jax.cli.completion import script

    print(script(tyro.cli(completion, args=arguments, prog="collapse-jax completion")), end="")
    return 0


if __name__ == "__main__":
    main()
