"""Random command lines over every command: options, values and paths, right and wrong."""

import dataclasses
from typing import Any, get_args

from hypothesis import strategies as st

from collapse_jax.studies.registry import STUDIES

MINE = '''"""A Gaussian refitted to its own draws."""
from dataclasses import dataclass
from collapse_jax import accumulate, build_chain, gaussian, gaussian_metrics, gaussian_truth, replace

@dataclass(frozen=True)
class Config:
    generations: int = 2
    seeds: int = 2
    seed: int = 0
    num_samples: int = 10
    bias: float = 1.0
    regime: str = "replace"

def chain(config):
    regime = {"replace": replace(), "accumulate": accumulate(config.generations)}[config.regime]
    model = gaussian_statistics(1, bias=config.bias)
    real = gaussian_truth(1).moments_sampler(config.num_samples)
    return build_chain(model, regime, real, config.num_samples, gaussian_metrics())
'''
NUMBERS = (
    "1", "2", "3", "10", "0", "-1", "0.5", "1e-3", "2147483648", "4294967296", "9223372036854775807",
    "9223372036854775808", "-9223372036854775809", "18446744073709551616", "1" + "0" * 30, "1" + "0" * 400, "1e400",
    "nan", "inf", "-inf", "True", "None", "3.0", "abc", "", "1,2", "0x10", "1_000",
)  # fmt: skip
PATHS = (
    "new", "/proc/nowhere", "afile", "empty", "mine.py", "a b/ü☃", "-", "", "x" * 300, "~/zz", "out\n2", "[red]", "..",
)  # fmt: skip
_SIZES = ("1", "2", "3", "10")
_MINE_FIELDS = ("generations", "seeds", "seed", "num_samples", "bias", "regime")


def _fields(command: str, study: str) -> dict[str, Any]:
    """Return a study's options and their types."""
    if study not in STUDIES:
        return dict.fromkeys(_MINE_FIELDS, int)
    config = STUDIES[study].preset("smoke")
    if command == "sweep" and STUDIES[study].cell is not None:
        config = STUDIES[study].cell
    return {field.name: field.type for field in dataclasses.fields(config)}


@st.composite
def _values(draw, kind: Any) -> str:
    choices = [choice for choice in get_args(kind) if isinstance(choice, str)]
    if choices and draw(st.integers(0, 3)):
        return draw(st.sampled_from([*choices, choices[0][:-1], "wram"]))
    return draw(st.one_of(*[st.sampled_from(_SIZES)] * 2, st.sampled_from(NUMBERS), st.sampled_from(PATHS)))


@st.composite
def _axis(draw, fields: dict[str, Any]) -> str:
    name = draw(st.sampled_from(sorted(fields)))
    value = _values(fields[name])
    told = draw(
        st.one_of(
            st.lists(value, min_size=1, max_size=2, unique=True).map(",".join),
            st.lists(st.sampled_from(NUMBERS), min_size=3, max_size=3).map(":".join),
            st.sampled_from(("0:1:2", "1:3:2", "", "=", ":", "::")),
        )
    )
    return draw(st.sampled_from((f"{name}={told}",) * 6 + (name, f"{name[:-1]}={told}", told)))


@st.composite
def _study_lines(draw, studies: tuple[str, ...]) -> list[str]:
    """Draw a line of run or sweep."""
    command, study = draw(st.sampled_from(("run", "sweep"))), draw(st.sampled_from(studies))
    fields, line = _fields(command, study), [command, study]
    if command == "run" and study in STUDIES and draw(st.integers(0, 5)):
        line += ["--preset", draw(st.sampled_from(("smoke",) * 9 + ("papper", "", "quick")))]
    for name in draw(st.lists(st.sampled_from(sorted(fields)), max_size=3, unique=True)):
        option = name.replace("_", "-")
        if fields[name] is bool:
            line.append(draw(st.sampled_from((f"--{option}", f"--no-{option}"))))
        else:
            line += [f"--{option}", draw(_values(fields[name]))]
    if command == "sweep":
        for _ in range(draw(st.integers(0, 2))):
            line += ["--axis", draw(_axis(fields))]
        if draw(st.integers(0, 3)) == 0:
            line += ["--record-every", draw(st.sampled_from(_SIZES + NUMBERS))]
    if draw(st.integers(0, 9)):
        line += ["--out", draw(st.sampled_from(("new",) * 9 + PATHS))]
    extra = (["--overwrite"], ["--seads", "3"], ["--num-processes", "2"], ["--help"], ["word"], ["--bogus=1"])
    return line + draw(st.sampled_from(([],) * 12 + extra))


@st.composite
def _other_lines(draw) -> list[str]:
    """Draw a line of any other command, or of none."""
    known = ["list", "reproduce", "resume", "report", "watch", "verify", "bench", "rum", "run", "sweep"]
    command = draw(st.sampled_from(["", *known, "--version", "--help"]))
    path, number = st.sampled_from(PATHS), st.sampled_from(NUMBERS)
    pieces = {
        "reproduce": (("--preset", st.sampled_from(("smoke", "papper", ""))), ("--out", path)),
        "resume": ((path,), ("--study", path), ("--trust",), ("--despite-differences",)),
        "report": ((path,), ("--study", path), ("--records", path), ("--trust",)),
        "watch": (
            (path,), ("--reference", path), ("--out", path), ("--alpha", number), ("--share", number),
            ("--max-rows", number), ("--seed", number), ("--generation-from", path), ("--overwrite",), ("--json",),
        ),
        "verify": (("--seed", number), ("--quick",)),
        "bench": (("--quick",),),
    }.get(command, ())  # fmt: skip
    line = [command]
    for piece in (*pieces, ("--bogus",), ("word",)):
        if draw(st.booleans() if piece in pieces else st.integers(0, 9).map(lambda n: n == 0)):
            line += [draw(part) if isinstance(part, st.SearchStrategy) else part for part in piece]
    return line


def lines(studies: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    """Draw a command line; of run and sweep those of these studies, and of files that are none."""
    known, unknown = _study_lines((*studies, "mine.py")), _study_lines(("gmn", "./gone.py", "", "afile"))
    return st.one_of(known, known, known, unknown, _other_lines())
