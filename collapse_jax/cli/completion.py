"""Scripts that complete commands, studies, options and their choices in a shell. No JAX here.

Each is written out whole, so that a TAB starts no Python.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from collapse_jax.advice.names import LABELS
from collapse_jax.cli.display import Shown
from collapse_jax.cli.session import Cluster
from collapse_jax.cli.watch_options import WatchOptions
from collapse_jax.studies.registry import STUDIES, Entry
from collapse_jax.validation import nearest

SHELLS = ("bash", "zsh", "fish")
Options = dict[str, tuple[str, ...]]  # option -> its choices, if it has some
_WITH_STUDY = ("run", "sweep")
_PLAIN = {"verify": ("quick", "seed"), "bench": ("quick",), "list": (), "help": (), "completion": ()}

_ADVISE = (
    "--real", "--synthetic", "--generations", "--regime", "--bias", "--effective-share", "--target", "--measure",
    "--reference", "--json",
)  # fmt: skip


def script(shell: str) -> str:
    """Return the script for a shell.

    Raises:
        ValueError: for none of that name.
    """
    if shell not in SHELLS:
        raise ValueError(f"there is no completion for '{shell}'; {nearest(shell, SHELLS)}")
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]()


def words_of(command: str) -> tuple[str, ...]:
    """Return what may stand behind a command that is no option."""
    if command == "completion":
        return SHELLS
    if command == "help":
        return COMMANDS
    return tuple(STUDIES) if command in (*_WITH_STUDY, "reproduce") else ()


def options_of(command: str, study: Entry | None = None) -> Options:
    """Return a command's options, of run and sweep with a study's fields."""
    if command == "advise":
        return {"--help": (), **dict.fromkeys(_ADVISE, ()), "--regime": tuple(LABELS)}
    if command in _PLAIN:
        return {f"--{name}": () for name in ("help", *_PLAIN[command])}
    if command == "watch":
        options = _fields(WatchOptions)
        return {"--help": (), **{name: choices for name, choices in options.items() if name != "--paths"}}
    shown, cluster = (_fields(kind) for kind in (Shown, Cluster))
    found: Options = {"--help": (), **shown}
    if command in ("reproduce", *_WITH_STUDY):
        presets = _common() if study is None else tuple(study.presets)
        found |= {"--preset": presets, "--out": (), "--overwrite": (), "--keep-states": (), **cluster}
    if command == "resume":
        found |= {"--despite-differences": (), "--study": (), "--trust": (), **cluster}
    if command == "report":
        found |= {"--records": (), "--metrics": (), "--study": (), "--trust": ()}
    if command == "sweep":
        found |= {"--axis": (), "--record-every": ()}
    if study is not None:
        config = next(iter(study.presets.values()))
        found |= _fields(type(config if command == "run" or study.cell is None else study.cell))
    return found


COMMANDS = (
    "list", "reproduce", "run", "sweep", "resume", "report", "watch", "advise", "verify", "bench", "help", "completion",
)  # fmt: skip


def _common() -> tuple[str, ...]:
    """Return the presets that every study has."""
    first, *others = (study.presets for study in STUDIES.values())
    return tuple(name for name in first if all(name in presets for presets in others))


def _fields(kind: Any) -> Options:
    hints = get_type_hints(kind)
    return {
        f"--{field.name.replace('_', '-')}": _choices(hints[field.name]) for field in dataclasses.fields(kind)
    }


def _choices(hint: Any) -> tuple[str, ...]:
    return tuple(str(choice) for choice in get_args(hint)) if get_origin(hint) is Literal else ()


def _places() -> Mapping[str, tuple[Sequence[str], Options]]:
    """Return what may follow "command", or "command study": words and options."""
    found: dict[str, tuple[Sequence[str], Options]] = {}
    for command in COMMANDS:
        found[command] = words_of(command), options_of(command)
        for study in STUDIES.values() if command in _WITH_STUDY else ():
            found[f"{command} {study.name}"] = (), options_of(command, study)
    return found


_BASH = """\
# completion of collapse-jax for {shell}
_collapse_jax() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" last="${{COMP_WORDS[COMP_CWORD-1]}}" place="" i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "${{COMP_WORDS[i]}}" in
            {commands}) if [ -z "$place" ]; then place="${{COMP_WORDS[i]}}"; fi ;;
            {studies}) case "$place" in {with_study}) place="$place ${{COMP_WORDS[i]}}" ;; esac ;;
        esac
    done
    local words="{all_commands} --help --version"
    case "$place|$last" in
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    if [ ${{#COMPREPLY[@]}} -eq 0 ]; then COMPREPLY=($(compgen -f -- "$word")); fi
}}
complete -F _collapse_jax collapse-jax
"""


def _bash(shell: str = "bash") -> str:
    cases = []
    for place, (words, options) in _places().items():
        for option, choices in options.items():
            if choices:
                cases.append(f'        "{place}|{option}") words="{" ".join(choices)}" ;;')
        cases.append(f'        "{place}|"*) words="{" ".join([*words, *options])}" ;;')
    return _BASH.format(
        shell=shell, commands="|".join(COMMANDS), studies="|".join(STUDIES), with_study="|".join(_WITH_STUDY),
        all_commands=" ".join(COMMANDS), cases="\n".join(cases),
    )  # fmt: skip


def _zsh() -> str:
    """Return bash's script behind zsh's own layer for such scripts."""
    return "#compdef collapse-jax\nautoload -U +X compinit bashcompinit\ncompinit\nbashcompinit\n" + _bash("zsh")


def _fish() -> str:
    start = "complete -c collapse-jax"
    lines = ["# completion of collapse-jax for fish"]
    lines.append(f'{start} -n "not __fish_seen_subcommand_from {" ".join(COMMANDS)}" -f -a "{" ".join(COMMANDS)}"')
    for place, (words, options) in _places().items():
        command, _, study = place.partition(" ")
        seen = f"__fish_seen_subcommand_from {command}"
        if study:
            seen += f"; and __fish_seen_subcommand_from {study}"
        if words:
            lines.append(f'{start} -n "{seen}" -a "{" ".join(words)}"')
        for option, choices in options.items():
            given = f' -x -a "{" ".join(choices)}"' if choices else ""
            lines.append(f'{start} -n "{seen}" -l {option.removeprefix("--")}{given}')
    return "\n".join(lines) + "\n"
