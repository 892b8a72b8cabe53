"""What kind of samples a file holds, told from its name, and which files of a folder are meant.

    folder -> its files, hidden ones left out, in natural order -> those of one kind
"""

import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from collapse_jax.files.reading import size_of

_KINDS = {
    ".csv": "table", ".tsv": "table", ".parquet": "table", ".npy": "array", ".npz": "array", ".idx": "idx",
    ".png": "images", ".jpg": "images", ".jpeg": "images", ".txt": "text", ".jsonl": "lines", ".ndjson": "lines",
}  # fmt: skip
_IDX = re.compile(r"[-._]idx[2-8]([-._]ubyte)?$")  # those with one axis are labels
_PACKED = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".idx")  # may have .gz behind it
_NO_SAMPLES = {  # "": hidden
    "", "readme", "license", "notice", "notes", "requirements", "metrics", "log", "logs", "config", "metadata", "plots",
    "figures", "checkpoints", "__pycache__",
}  # fmt: skip
_FOLDER_OF_IMAGES = 10  # a folder of this many times as many images as other files is one of images
REMEDY = "name files or folders of samples, one for each generation"
NOTHING = "no samples, or of another kind than the rest"
READ = ".csv, .tsv, .txt or .jsonl (.gz or not), .parquet, .npy, .npz, IDX, or a folder of .png or .jpg"


def kind_of(path: Path) -> str:
    """Return "table", "array", "idx", "images", "text" or "lines" (of JSON), "" where it is none; reads nothing.

    >>> kind_of(Path("gen_0.csv.gz")), kind_of(Path("t10k-images-idx3-ubyte")), kind_of(Path("README.md"))
    ('table', 'idx', '')
    """
    name = path.name.lower()
    packed = name.endswith(".gz")
    name = name.removesuffix(".gz")
    if _IDX.search(name):
        return "idx"
    suffix = os.path.splitext(name)[1]
    return _KINDS.get(suffix, "") if not packed or suffix in _PACKED else ""


def kind_inside(path: Path) -> str:
    """Return the kind of what lies in a folder, file or folder: "" too for what is hidden, or said to be no samples.

    A folder is of the kind of its files; "folders of images" are more than the figures beside tables.
    """
    stem = re.sub(r"[.].*", "", path.name.lower())
    if stem in _NO_SAMPLES:
        return ""
    if not os.path.isdir(path):
        return kind_of(path)
    files = files_in(path)
    kept, _ = of_one_kind(files, [kind_inside(file) for file in files], str(path))
    kind = kind_of(kept[0]) if kept else ""
    return "folders of images" if kind == "images" else kind


def natural(name: str) -> list[str | int]:
    """Return a key by which names are sorted as people count.

    >>> sorted(["gen10", "gen2"], key=natural)
    ['gen2', 'gen10']
    """
    parts: list[str | int] = list(re.split("([0-9]+)", name.casefold()))
    parts[1::2] = map(int, parts[1::2])
    return parts


def files_in(folder: Path) -> list[Path]:
    """Return all files below a folder, in natural order; hidden ones, and links to folders, are left out.

    Raises:
        ValueError: a folder may not be read.
    """

    def refuse(error: OSError) -> None:
        raise ValueError(
            f"{error.filename} cannot be read ({error.strerror}); allow it (chmod -R u+rX), or leave it out."
        ) from error

    found = []
    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural)
        found += [Path(place, name) for name in sorted(names, key=natural) if not name.startswith(".")]
    return found


def of_one_kind(paths: Iterable[Path], kinds: Sequence[str], where: str) -> tuple[list[Path], list[Path]]:
    """Return which of some samples are meant, and which are not: figures beside tables, labels beside images.

    Args:
        paths: of the samples.
        kinds: of each, as `kind_of` tells them; "" for what holds none.
        where: they lie, for the sentence.

    Raises:
        ValueError: they are of several kinds, neither of which is most.
    """
    paths = list(paths)
    first = {kind: path for path, kind in zip(paths[::-1], kinds[::-1], strict=True) if kind}
    counts = {kind: kinds.count(kind) for kind in first}
    if len(counts) > 1 and "images" in counts:
        others = sum(counts.values()) - counts["images"]
        counts = {kind: num for kind, num in counts.items() if kind != "images"} | (
            {"images": counts["images"]} if counts["images"] > _FOLDER_OF_IMAGES * others else {}
        )
    most = max(counts, key=lambda kind: counts[kind], default="")
    rest = sum(counts.values()) - counts.get(most, 0)
    if rest and counts[most] < 3 * rest:
        named = " and ".join(str(first[kind].name) for kind in list(counts)[:2])
        raise ValueError(f"{where} holds samples of several kinds ({named}); keep those of one kind there.")
    kept = [path for path, kind in zip(paths, kinds, strict=True) if kind == most and most]
    left = [path for path, kind in zip(paths, kinds, strict=True) if kind != most or not most]
    return kept, left


def check_path(path: Path) -> None:
    """Refuse what is not there, is empty or may not be read.

    Raises:
        ValueError: it is so.
    """
    if os.path.islink(path) and not os.path.exists(path):
        raise ValueError(f"{path} is a link that leads to nothing; mend it, or name what it should lead to.")
    if not os.path.lexists(path):
        raise ValueError(f"{path} does not exist; {REMEDY}.")
    if not os.access(path, os.R_OK | os.X_OK if os.path.isdir(path) else os.R_OK):
        raise ValueError(f"{path} may not be read; allow it (chmod -R u+rX), or leave it out.")
    if os.path.isdir(path):
        if not os.listdir(path):
            raise ValueError(f"{path} is empty; put the generation's samples there, or leave it out.")
    elif size_of(path, sys.maxsize, REMEDY) == 0:
        raise ValueError(f"{path} is empty; write the generation's samples into it, or leave it out.")


def left_out(names: Sequence[str], why: str) -> list[str]:
    """Return a note on what is not read, nothing where all is.

    >>> left_out(["a.md", "b.md", "c.md", "d.md"], "of no kind that holds samples")
    ['Left out: a.md, b.md and 2 others (of no kind that holds samples).']
    """
    if not names:
        return []
    if len(names) > 3:
        told = f"{names[0]}, {names[1]} and {len(names) - 2:,} others"
    else:
        told = " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
    return [f"Left out: {told} ({why})."]
