"""An arm of the language-model study by its name: setting, epochs, and how text is written; no JAX here.

A5 beams                         no original data, 5 epochs, beam search (published)
B10 beams-penalty-2              a share of original data, 10 epochs, repetition penalty 2
accumulate5 sample               all data so far, plain sampling
fresh5 sample-temperature-0.7    the control: new real text in every generation
A5 sample-top-p-0.95             sampling from the nucleus
"""

import re
from typing import NamedTuple

_NAME = re.compile(
    r"(?P<setting>A|B|accumulate|fresh)(?P<epochs>[1-9]\d*) (?P<method>beams|sample)"
    r"(?P<options>(-(penalty|temperature|top-p|top-k)-\d+(\.\d+)?)*)"
)
_OPTION = re.compile(r"-(penalty|temperature|top-p|top-k)-(\d+(?:\.\d+)?)")
_EXAMPLES = (
    "'A5 beams', 'B10 beams-penalty-2', 'accumulate5 sample', 'fresh5 sample-temperature-0.7-top-p-0.95'"
)


class ArmOfTexts(NamedTuple):
    """What distinguishes an arm.

    Attributes:
        setting: "A" (no original data), "B" (some kept), "accumulate" (all data so far), "fresh" (new real text).
        epochs: passes of a fit.
        method: "beams" or "sample".
        penalty: on repetition; 1 is none.
        temperature: of sampling.
        top_p: probability of the nucleus that is sampled from.
        top_k: tokens that are sampled from; 0 is all.
    """

    setting: str
    epochs: int
    method: str
    penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0


def parse_arm(name: str) -> ArmOfTexts:
    """Return the arm of a name.

    Raises:
        ValueError: it is not one.

    >>> parse_arm("B10 beams-penalty-2")
    ArmOfTexts(setting='B', epochs=10, method='beams', penalty=2.0, temperature=1.0, top_p=1.0, top_k=0)
    """
    found = _NAME.fullmatch(name)
    if not found:
        raise ValueError(f"`arms` must hold names such as {_EXAMPLES}; got '{name}'.")
    given = {option: float(value) for option, value in _OPTION.findall(found["options"])}
    if found["method"] == "beams" and set(given) - {"penalty"}:
        raise ValueError(
            f"'{name}': beams take no option but a penalty; sample with temperature, top-p or top-k."
        )
    return ArmOfTexts(
        found["setting"], int(found["epochs"]), found["method"], given.get("penalty", 1.0),
        given.get("temperature", 1.0), given.get("top-p", 1.0), int(given.get("top-k", 0)),
    )  # fmt: skip
