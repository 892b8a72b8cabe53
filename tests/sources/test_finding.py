"""Which files and folders are generations, in which order, and with which numbers."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from collapse_jax.sources.finding import find_generations


def _files(folder, *names, content="x\n1\n"):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return [folder / name for name in names]


def _told(found):
    return [(source.generation, source.name) for source in found[0]]


def test_a_shell_s_order_is_made_that_of_people_and_another_is_kept(tmp_path):
    ten, two, base = _files(tmp_path, "gen10.csv", "gen2.csv", "start.csv")
    assert _told(find_generations([ten, two])) == [(2, "gen2.csv"), (10, "gen10.csv")]
    sources, notes = find_generations([base, ten, two])  # as somebody wrote it
    assert [source.paths for source in sources] == [(base,), (ten,), (two,)] and notes == []
    sources, notes = find_generations([ten, two, base])  # as a shell sorts it
    assert [source.name for source in sources] == ["gen2.csv", "gen10.csv", "start.csv"]
    assert notes == [
        "Generations are numbered in the order of names: 0 is gen2.csv, 2 is start.csv; otherwise say where the number "
        r"stands by --generation-from 'gen(\d+)'."
    ]


def test_numbers_may_stand_in_folders(tmp_path):
    given = _files(tmp_path, "gen0/samples.csv", "gen10/samples.csv", "gen5/samples.csv")
    assert _told(find_generations(given)) == [
        (0, "gen0/samples.csv"), (5, "gen5/samples.csv"), (10, "gen10/samples.csv")
    ]  # fmt: skip


def test_a_folder_of_generations_leaves_out_what_is_no_samples(tmp_path):
    _files(tmp_path, "gen_0.csv", "gen_1.csv", "gen_3.csv", "loss.png", "README.md", "config.json", ".hidden.csv",
           "plots/a.png", "metrics.jsonl")  # fmt: skip
    (tmp_path / "empty").mkdir()
    sources, notes = find_generations([tmp_path])
    assert _told((sources, [])) == [(0, "gen_0.csv"), (1, "gen_1.csv"), (3, "gen_3.csv")]
    assert notes == [
        "Left out: .hidden.csv, config.json and 5 others (no samples, or of another kind than the rest).",
        "Generation 2 is missing.",
    ]


def test_folders_are_generations_and_what_all_began_with_comes_first(tmp_path):
    _files(tmp_path, "gen1/0.png", "gen1/1.png", "gen2/0.png", "real/0.png", "labels.csv")
    sources, notes = find_generations([tmp_path])
    assert _told((sources, [])) == [(0, "real"), (1, "gen1"), (2, "gen2")]
    assert sources[0].paths == (tmp_path / "real",) and "labels.csv" in notes[0]


def test_steps_between_numbers_are_no_gap(tmp_path):
    given = _files(tmp_path, "step_1000.csv", "step_3000.csv", "step_2000.csv", "step_9000.csv")
    sources, notes = find_generations(given)
    assert [source.generation for source in sources] == [1000, 2000, 3000, 9000]
    assert notes == ["Generations 4000, 5000, 6000, 7000, 8000 are missing."]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (
            ["0.png", "1.png"],
            r"0.png\), each of which is one sample, .* by --generation-from 'gen\(\\d\+\)', or give",
        ),
        (
            ["part-0.parquet", "part-1.parquet"],
            r"named as a part .* --generation-from 'gen\(\\d\+\)', or give a folder",
        ),
        (["train-00000-of-00002.csv", "train-00001-of-00002.csv"], "named as a part"),
        (
            ["gen_0.csv", "gen_1.csv", "gen_1.csv.gz"],
            "gen_1.csv and gen_1.csv.gz both say generation 1; rename",
        ),
        (["gen_0.csv", "gen_1.npy"], r"several kinds \(.*\); keep those of one kind there"),
        (["README.md"], "holds no samples; name files or folders of samples"),
    ],
)
def test_a_folder_that_does_not_say_meets_a_sentence(tmp_path, names, sentence):
    _files(tmp_path, *names)
    with pytest.raises(ValueError, match=sentence):
        find_generations([tmp_path])


def test_a_pattern_joins_parts_and_looks_below(tmp_path):
    names = ["a/gen0_part0.csv", "b/gen0_part1.csv", "a/gen1.csv", "gen3.csv", "other.csv", "gen1.log"]
    paths = dict(zip(names, _files(tmp_path, *names), strict=True))
    sources, notes = find_generations([tmp_path], r"gen(\d+)")
    assert [(source.generation, source.paths) for source in sources] == [
        (0, (paths["a/gen0_part0.csv"], paths["b/gen0_part1.csv"])), (1, (paths["a/gen1.csv"],)),
        (3, (paths["gen3.csv"],)),
    ]  # fmt: skip
    assert sources[0].name == "a/gen0_part0.csv and 1 more"
    assert notes == [
        r"Left out: other.csv ('gen(\d+)' is not found in them).",
        "Left out: gen1.log (no samples, or of another kind than the rest).",
        "Generation 2 is missing.",
    ]


def test_a_folder_whose_files_all_have_its_number_is_the_generation(tmp_path):
    _files(tmp_path, "gen0/1.txt", "gen0/2.txt", "gen1/deep/1.txt", "gen1/2.txt")
    sources, notes = find_generations([tmp_path], r"gen(\d+)")
    assert [source.paths for source in sources] == [
        (tmp_path / "gen0",),
        (tmp_path / "gen1",),
    ] and notes == []
    assert [source.paths for source in find_generations([tmp_path / "gen1", tmp_path / "gen0"], r"gen(\d+)")[0]] == [
        (tmp_path / "gen0",), (tmp_path / "gen1",)
    ]  # fmt: skip
    (tmp_path / "gen7").symlink_to(tmp_path / "gen1")
    (tmp_path / "gen0/round").symlink_to(tmp_path)
    assert [source.generation for source in find_generations([tmp_path], r"gen(\d+)")[0]] == [0, 1, 7]
    files = sorted(tmp_path.glob("gen[01]/2.txt"))
    assert [source.generation for source in find_generations(files, r"gen(\d+)")[0]] == [0, 1]


def test_a_folder_is_no_generation_where_its_files_have_other_numbers(tmp_path):
    one, two = _files(tmp_path, "set1/1.csv", "set1/2.csv")
    sources, _ = find_generations([tmp_path], r"(\d+)\D*$")
    assert [(source.generation, source.paths) for source in sources] == [(1, (one,)), (2, (two,))]


def test_a_flat_folder_of_images_is_parted_by_a_pattern(tmp_path):
    _files(tmp_path, "gen0_1.png", "gen0_2.png", "gen1_1.png")
    sources, _ = find_generations([tmp_path], r"gen(\d+)_")
    assert [len(source.paths) for source in sources] == [2, 1]


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        (
            r"generation(\d+)",
            r"is found in no path, for example not in gen0.csv; write what stands before the number",
        ),
        ("gen(", r"is no regular expression \(.*\); for example --generation-from"),
        (r"gen\d+", r"has 0 groups, and one must give the number; put \( \) around it"),
        (r"(gen)(\d+)", "has 2 groups"),
        (r"(gen\d)", "finds 'gen0' in gen0.csv, which is no whole number; let its group be"),
    ],
)
def test_a_pattern_that_finds_nothing_meets_a_sentence(tmp_path, pattern, sentence):
    _files(tmp_path, "gen0.csv", "gen1.csv")
    with pytest.raises(ValueError, match=sentence):
        find_generations([tmp_path], pattern)


def test_what_cannot_be_a_generation_meets_a_sentence(tmp_path, monkeypatch):
    good = _files(tmp_path, "gen0.csv")[0]
    (tmp_path / "empty").mkdir()
    (tmp_path / "nothing.csv").touch()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.csv")
    for name, sentence in {
        "absent": "does not exist; name files or folders", "nothing.csv": "is empty; write the generation's samples",
        "empty": "is empty; put the generation's samples there", "gone": "is a link that leads to nothing; mend it",
        "pipe.csv": "it is a pipe",
    }.items():  # fmt: skip
        for pattern in (None, r"(\d+)"):
            with pytest.raises(ValueError, match=f"{re.escape(str(tmp_path / name))}.*{sentence}"):
                find_generations([good, tmp_path / name], pattern)
    with pytest.raises(ValueError, match=r"gen0.csv is given twice; name each generation once"):
        find_generations([good, good])
    with pytest.raises(ValueError, match="no path was given"):
        find_generations([])
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ValueError, match="may not be read; allow it"):
        find_generations([good, good.with_name("empty")])


def test_nothing_of_it_loads_jax():
    code = (
        "import sys, collapse_jax.sources.finding, collapse_jax.sources.reading; "
        "print(*sorted({'jax', 'xarray', 'matplotlib'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0 and done.stdout.split() == [], done
