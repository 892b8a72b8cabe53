"""Command lines before they are parsed: the command and the study come first, wherever they were typed. No JAX here."""

import dataclasses
import shlex
from collections.abc import Iterable, Iterator, Sequence

from collapse_jax.studies.registry import MODELS_OF_NUMBERS, NUMBERS, STUDIES

HELP = """\
collapse-jax: a laboratory for model collapse

usage: collapse-jax COMMAND [options]

commands:
  list                       the studies and their presets
  reproduce [STUDY ...]      run every study, or those named, and write one report
      --preset smoke|laptop|paper   default laptop
      --out DIR                     default runs/PRESET
      --overwrite                   replace an earlier run there
  run STUDY                  run one study, or that of FILE.py: your own Config and chain
      --preset P --out DIR --overwrite
      --num-samples M --generations G --seeds S and every other field;
      collapse-jax help run STUDY lists them
  run gaussian|gmm|kde --data FILE.csv [--columns A B]
                             numbers of your own, refitted to what the fit draws
  sweep STUDY                run a study, or FILE.py, over a grid of settings, each with many seeds
      --axis FIELD=LOW:HIGH:COUNT or FIELD=VALUE,VALUE,...   once for each axis
      --record-every K and every field, as for run
  resume DIR                 go on with a run or a reproduce that was killed, stopped or interrupted
  report DIR                 draw and judge a run again, and write its report
  report --records FILE      the same from generations run elsewhere, CSV or JSONL
  watch PATH...              generations run elsewhere, their samples in files: are they collapsing?
      --reference PATH --generation-from REGEX --out DIR --alpha 0.05 --overwrite
                             exit code 0 no alarm, 3 alarm, 2 bad input
  advise --real N --synthetic M --generations G
                             what mixing synthetic rows into real ones costs, and what share is best
      --regime keep|fresh|accumulate|replace|deduplicate   what becomes of the real rows
      --bias B --effective-share E --target T --json
      --measure FILE --reference FILE   bias and effective share of a model of your own, from rows it drew
  verify [--quick]           compare this installation with the exact laws
  bench [--quick]            how fast this installation is, on whatever device it finds
  help [COMMAND [STUDY]]     this, or all options of a command
  completion bash|zsh|fish   a script that completes commands, studies and options in your shell

what reproduce, run, sweep, resume and report show at their end:
  the answer and a tally of the claims; --claims all of them, --json one JSON document, --quiet nothing
  (watch: the answer and a table; --json and --quiet as well)

examples:
  collapse-jax reproduce --preset smoke --out /tmp/first-look
  collapse-jax run gmm --num-samples 100 --generations 500 --seeds 32 --out runs/gmm-100
  collapse-jax run mine.py --seeds 8 --out runs/mine
  collapse-jax sweep gaussian --axis real_fraction=0:1:21 --axis num_samples=10,100,1000 --regime replace-part
  collapse-jax watch generations/ --reference held-out.csv
  srun collapse-jax run gmm --distributed --seeds 4096 --out runs/gmm-many
"""

_FLAGS = (  # options without a value
    "help", "version", "overwrite", "keep-states", "claims", "quiet", "json", "distributed", "quick", "trust",
    "despite-differences", "not-passed-on",
)  # fmt: skip


def command_first(arguments: Sequence[str], commands: Iterable[str]) -> list[str]:
    """Return the arguments with the command first, and for run and sweep the study second.

    Options that stood before a command go behind the rest; where no command is found, the first word that is no
    option's value comes first.

    >>> command_first(["--out", "x", "run", "--seeds", "3", "gmm"], ["run", "list"])
    ['run', 'gmm', '--seeds', '3', '--out', 'x']
    """
    words = list(arguments)
    known = list(commands)
    free = list(_free(words))
    place = next((at for at in free if words[at] in known), free[0] if free else None)
    if place is None:
        return words
    words = [words[place], *words[place + 1 :], *words[:place]]
    return [words[0], *study_first(words[1:])] if words[0] in ("run", "sweep") else words


def study_first(words: Sequence[str]) -> list[str]:
    """Return the arguments of run or sweep with the study first: a study's name, a file's, or a word that is no number.

    >>> study_first(["--num-samples", "10", "100", "gmm"])
    ['gmm', '--num-samples', '10', '100']
    """
    free = list(_free(words))
    if 0 in free:
        return list(words)
    named = [at for at in free if _is_study(words[at])] or [at for at, word in enumerate(words) if _is_study(word)]
    others = [at for at in free if not _is_number(words[at])]
    place = next(iter([*named, *others]), None)
    return list(words) if place is None else [words[place], *words[:place], *words[place + 1 :]]


def take_preset(arguments: Sequence[str], default: str) -> tuple[str, list[str]]:
    """Return the preset named in the arguments, and the arguments without it."""
    rest, preset = [], default
    pending = iter(arguments)
    for argument in pending:
        if argument == "--preset":
            preset = next(pending, "")
        elif argument.startswith("--preset="):
            preset = argument.removeprefix("--preset=")
        else:
            rest.append(argument)
    return preset, rest


def _free(words: Sequence[str]) -> Iterator[int]:
    """Return where words are that are neither options nor directly behind one that takes a value."""
    flags, follows = _known_flags(), False
    for at, word in enumerate(words):
        if word.startswith("-") and not _is_number(word):
            name = word.lstrip("-").replace("_", "-")
            follows = "=" not in word and word != "-h" and name not in flags
        elif follows:
            follows = False
        else:
            yield at


def _known_flags() -> set[str]:
    configs = [preset for study in STUDIES.values() for preset in study.presets.values()]
    fields = {field.name for config in configs for field in dataclasses.fields(config) if field.type is bool}
    flags = {*_FLAGS, *(name.replace("_", "-") for name in fields)}
    return flags | {f"no-{name}" for name in flags}


def _is_study(word: str) -> bool:
    return word in (*STUDIES, NUMBERS.name, *MODELS_OF_NUMBERS) or word.endswith(".py")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def command_line(command: str, arguments: list[str]) -> str:
    """Return what was typed, for `config.json` and the report."""
    return shlex.join(["collapse-jax", command, *arguments])
