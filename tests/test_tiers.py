"""What `make test` leaves out is there, and none of it is what catches an error that `make mutants` puts in."""

import re
import tomllib
from pathlib import Path

from mutants import ROOT, mutants

TIERS = tomllib.loads((Path(__file__).parent / "tiers.toml").read_text(encoding="utf-8"))


def test_every_entry_names_a_test():
    for tier in ("long", "heavy"):
        for path, functions in TIERS[tier].items():
            text = (ROOT / path).read_text(encoding="utf-8")
            for function in set(functions) - {"*"}:
                assert f"def {function}(" in text, f"{path} has no {function}; mend tests/tiers.toml"
    for entry, tier in TIERS["fixtures"].items():
        path, fixture = entry.split("::")
        assert tier in ("long", "heavy") and f"def {fixture}(" in (ROOT / path).read_text(encoding="utf-8")


def test_every_mutant_can_be_made_and_its_test_is_no_long_one():
    found = mutants()
    assert len(found) >= 70
    for mutant in found:
        spoilt = mutant.spoil((ROOT / mutant.file).read_text(encoding="utf-8"))
        compile(spoilt, mutant.file, "exec")
        path, *_, name = mutant.test.split("::")
        function = re.sub(r"\[.*", "", name)
        for tier in ("long", "heavy"):
            assert not {function, "*"} & set(TIERS[tier].get(path, ())), f"{mutant.test} is {tier}"
