"""How a command that ran studies ends: for each its answer and what became of its claims, then where the report is.

Or all of it as one JSON document.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.text import Text

from collapse_jax.analysis.answers import added, tally, tally_words
from collapse_jax.cli.display import Shown, aside, console, print_verdicts, say
from collapse_jax.runs.directory import RunDirectory
from collapse_jax.runs.manifest import plain


@dataclasses.dataclass(frozen=True)
class Ending:
    """What a run says at its end, read back from its directory.

    Attributes:
        study: its name.
        path: the run directory.
        about: preset, status, seconds.
        answer: a sentence without its stop; "" where there is none.
        claims: verdicts, as in `claims.json`.
    """

    study: str
    path: Path
    about: Mapping[str, Any]
    answer: str
    claims: list[dict[str, Any]]

    @classmethod
    def of(cls, run: RunDirectory) -> "Ending":
        """Return what a run says.

        Raises:
            ValueError: it was not drawn, or its files were changed.
        """
        told = run.description
        about = {name: told[name] for name in ("preset", "status", "seconds")}
        return cls(told["study"], run.path, about, told.get("answer", ""), run.verdicts)


def tell_ending(endings: Sequence[Ending], page: Path, shown: Shown) -> None:
    """Say how it ended: the answer and the tally of each run, of several their sum, and the report's path."""
    if shown.json:
        _print_json("finished", endings, page)
        return
    for ending in endings:
        if shown.claims:
            print_verdicts(ending.study, ending.claims)
        answer = f"{ending.answer}." if ending.answer else "nothing to say of its metrics."
        words = tally_words(tally(ending.claims))
        _sentence(f"{ending.study}: {answer}")
        if words:
            _sentence(f"  {words}." if len(endings) > 1 else f"{words}.")
    if len(endings) > 1 and (words := tally_words(added([tally(ending.claims) for ending in endings]))):
        _sentence(f"all {len(endings)} studies: {words}.")
    say(f"report: {page}")


def tell_early_end(status: str, out: Path, shown: Shown, sentence: str, endings: Sequence[Ending] = ()) -> None:
    """Say that it was stopped or interrupted, and how to go on."""
    if shown.json:
        _print_json(status, endings, None, f"collapse-jax resume {out}")
    else:
        say(sentence, "interrupted" if status == "interrupted" else "")


def _sentence(text: str) -> None:
    """Show a sentence: on a terminal broken between words, elsewhere one line."""
    console.print(Text(text), soft_wrap=not console.is_terminal)


def _print_json(status: str, endings: Sequence[Ending], page: Path | None, go_on: str | None = None) -> None:
    runs = [
        {"study": ending.study, "path": str(ending.path), **ending.about, "answer": ending.answer,
         "tally": tally(ending.claims)}
        for ending in endings
    ]  # fmt: skip
    told = {
        "status": status,
        "answer": "\n".join(f"{ending.study}: {ending.answer}" for ending in endings),
        "tally": added([tally(ending.claims) for ending in endings]),
        "claims": [{"study": ending.study, **claim} for ending in endings for claim in ending.claims],
        "runs": runs,
        "report": None if page is None else str(page),
        "resume": go_on,
    }
    print(json.dumps(plain(told), indent=2, allow_nan=False), flush=True)


@contextmanager
def shown_as(shown: Shown) -> Iterator[None]:
    """Within it nothing but what was asked for is shown."""
    before = console.quiet, aside.quiet
    if shown.quiet:
        console.quiet = aside.quiet = True
    if shown.json:
        console.quiet = True
    try:
        yield
    finally:
        console.quiet, aside.quiet = before
