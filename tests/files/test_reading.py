"""Files that somebody else made, or that are no files: refused in one sentence, before memory or time is spent."""

import gzip
import io
import json
import os
import pickle
import re
import shutil
import signal
import socket
import struct
import sys
import tracemalloc
import zipfile
import zlib
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import safetensors.numpy
from tiny_opt import SMALL, random_params
from tokenizers import Tokenizer, models, processors

from collapse_jax.cli import main as cli
from collapse_jax.datasets.mnist import load_mnist, mnist_sums, read_idx
from collapse_jax.datasets.text import load_text, load_wikitext2, text_sum, wikitext2_sums
from collapse_jax.drivers.results import read_netcdf
from collapse_jax.files import reading as gate
from collapse_jax.files.arrays import Damaged, load_arrays, save_arrays
from collapse_jax.files.writing import Lock
from collapse_jax.metrics.digit_classifiers import load_classifiers
from collapse_jax.networks.opt import tokenizer as bpe
from collapse_jax.networks.opt.tokenizer import (
    decode,
    encode,
    load_tokenizer,
    save_tokenizer,
    train_tokenizer,
)
from collapse_jax.networks.opt.weights import load_opt, save_opt
from collapse_jax.records.external import read_records
from collapse_jax.runs.checkpoints import load_tree
from collapse_jax.runs.job import read_jobs
from collapse_jax.runs.manifest import read_captions, read_claims, read_description
from collapse_jax.runs.pictures import Budget, pictured
from collapse_jax.studies.user_file import load_file

TOKENIZER = train_tokenizer(["to be or not to be"] * 3, 270)
EMBEDDING = "model.decoder.embed_tokens.weight"


@pytest.fixture(autouse=True)
def in_time():
    """Who waits for a pipe, or counts to a billion, fails."""

    def late(*_):
        raise AssertionError("it took ten seconds")  # no OSError, which would become a sentence

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with a model and a tokenizer, to be left as it is."""
    folder = tmp_path_factory.mktemp("whole") / "model"
    save_opt(folder, SMALL, random_params(SMALL))
    save_tokenizer(TOKENIZER, folder)
    return folder


@pytest.fixture
def model(whole, tmp_path):
    """The same, to be spoilt."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


def _socket(path):
    with socket.socket(socket.AF_UNIX) as end:
        here = Path.cwd()
        os.chdir(path.parent)  # names of sockets are short
        end.bind(path.name)
        os.chdir(here)


def _sparse(path, size=2**41):
    with path.open("wb") as file:
        file.truncate(size)


ODD = {
    "pipe": (os.mkfifo, "it is a pipe"),
    "device": (lambda path: path.symlink_to("/dev/null"), "it is a device"),
    "socket": (_socket, "it is a socket"),
    "folder": (Path.mkdir, "it is a folder"),
    "circle": (lambda path: path.symlink_to(path.name), "symbolic links"),
    "two terabytes": (_sparse, "at most"),
}
READERS = {
    "config.json": load_opt, "model.safetensors": load_opt, "flax_model.msgpack": load_opt,
    "pytorch_model.bin": load_opt, "model.safetensors.index.json": load_opt, "tokenizer.json": load_tokenizer,
    "vocab.json": load_tokenizer, "merges.txt": load_tokenizer, "train-images-idx3-ubyte": load_mnist,
    "train-images-idx3-ubyte.gz": mnist_sums, "one.txt": load_text, "two.txt": text_sum,
    "wiki.train.raw": load_wikitext2, "wiki.valid.tokens": wikitext2_sums,
    "jobs.json": read_jobs, "claims.json": read_claims, "figures/captions.json": read_captions,
}  # fmt: skip


def _picture(path):
    if not (path.parent / "figures").exists():
        (path.parent / "figures").symlink_to(path.parent)
    return pictured({"name": "figure", "caption": "", "alt": "lines"}, path.parent, path.parent, Budget())


OF_A_FILE = {
    "mine.csv": read_records, "trajectory.nc": read_netcdf, "records.npz": load_arrays, "state.npz": load_tree,
    "judges.npz": load_classifiers, "figure.png": _picture, "study.py": lambda path: load_file(str(path)),
    "description.json": read_description, "text.txt": load_text,
}  # fmt: skip


GO_FIRST = {
    "vocab.json": ["tokenizer.json"], "merges.txt": ["tokenizer.json"], "flax_model.msgpack": ["model.safetensors"],
    "pytorch_model.bin": ["model.safetensors"], "model.safetensors.index.json": ["model.safetensors"],
}  # fmt: skip


@pytest.mark.parametrize("name", [*READERS, *OF_A_FILE])
def test_only_regular_files_of_some_size_are_read(model, name):
    read, place = (READERS | OF_A_FILE)[name], model / name if name in OF_A_FILE else model
    for goes_first in GO_FIRST.get(name, ()):
        (model / goes_first).unlink()
    if "wiki" in name:
        for part in ("wiki.train.raw", "wiki.valid.tokens", "wiki.test.raw"):
            (model / part).write_text("text")
    for odd, (make, told) in ODD.items():
        path = model / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        make(path)
        if odd == "folder" and name == "text.txt":
            told = "holds no .txt"  # a folder of texts
        with pytest.raises((ValueError, FileNotFoundError), match=told) as refused:
            read(place)
        assert "\n" not in str(refused.value)
        path.rmdir() if odd == "folder" else path.unlink()


def test_a_directory_whose_lock_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / ".lock")
    with pytest.raises(ValueError, match="cannot be written"):
        Lock(tmp_path)


def test_what_the_system_shows_as_files_is_not_read(tmp_path):
    """They say a size of 0, and some never end."""
    (tmp_path / "text.txt").symlink_to("/proc/self/environ")
    with pytest.raises(ValueError, match="it goes on after the 0 bytes"):
        load_text(tmp_path / "text.txt")


def test_links_into_the_hubs_cache_are_followed(model, tmp_path):
    blobs = tmp_path / "blobs"
    model.rename(blobs)
    model.mkdir()
    for file in blobs.iterdir():
        (model / file.name).symlink_to(os.path.relpath(file, model))
    assert load_opt(model)[0] == SMALL
    assert encode(load_tokenizer(model), ["to be"]) == encode(TOKENIZER, ["to be"])


@pytest.mark.parametrize("name", ["x" * 5000, "zero\0byte", "~nobody-of-this-name/x"])
@pytest.mark.parametrize("read", [load_text, load_mnist, load_opt, read_netcdf, lambda name: load_file(f"{name}.py")])
def test_names_that_no_file_can_have(read, name, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises((ValueError, FileNotFoundError)):
        read(Path(name) if read is read_netcdf else name)


# --- sizes that a model's description and its weights say


def reconfigure(folder, **changes):
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, **changes}))


@pytest.mark.parametrize(
    "field",
    ["num_hidden_layers", "hidden_size", "vocab_size", "max_position_embeddings", "ffn_dim", "word_embed_proj_dim"],
)  # fmt: skip
def test_sizes_are_compared_with_what_the_files_hold(model, field):
    for size in (10**9, 10**12, 10**30, 2**31, 2**63, 0, -1, 1.5, "8", True, [8], {"a": 8}, float("nan")):
        reconfigure(model, **{field: size})
        with pytest.raises(ValueError, match=r"config\.json asks for|must be|set it to a value") as told:
            load_opt(model)
        assert len(str(told.value)) < 500


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pad_token_id", 24), ("bos_token_id", -1), ("eos_token_id", 10**30), ("init_std", float("nan")),
        ("init_std", -1), ("init_std", 10**400), ("dropout", float("inf")),
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(model, field, value):
    reconfigure(model, **{field: value})
    with pytest.raises(ValueError, match=r"must|set it to a value"):
        load_opt(model)


def test_nested_and_long_values_are_told_in_short(model):
    text = (model / "config.json").read_text()
    for value in ("[" * 900 + "]" * 900, json.dumps("x" * 10**6)):
        (model / "config.json").write_text(text.replace("{", '{"quantization_config": ' + value + ",", 1))
        with pytest.raises(ValueError, match=r"says quantization_config=.*only None") as told:
            load_opt(model)
        assert len(str(told.value)) < 400


def test_weights_far_larger_than_their_model_are_not_read(model):
    """The header is in order; the zeros are on no disk."""
    num = 10**9
    header = json.dumps({EMBEDDING: {"dtype": "F32", "shape": [num], "data_offsets": [0, 4 * num]}}).encode()
    with (model / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + 4 * num)
    with pytest.raises(ValueError, match=r"config\.json asks for"):
        load_opt(model)


def test_weights_beyond_the_machines_memory_are_not_read(model, monkeypatch):
    monkeypatch.setattr("collapse_jax.networks.opt.weights.memory", lambda: 1000)
    with pytest.raises(ValueError, match=r"this machine has 1,000; take a smaller model"):
        load_opt(model)


def test_of_many_tensors_without_a_place_a_few_are_told(model):
    tensors = safetensors.numpy.load_file(model / "model.safetensors")
    tensors |= {f"junk.{index}": np.zeros(0, np.float32) for index in range(1000)}
    safetensors.numpy.save_file(tensors, model / "model.safetensors")
    with pytest.raises(ValueError, match=r"junk\.0 has no place in this model \(and 999 more\); take config\.json"):
        load_opt(model)


@pytest.mark.parametrize("name", ["../x.safetensors", "/x.safetensors", "x\0.safetensors", "x" * 5000 + ".safetensors"])
def test_shards_lie_in_their_folder(model, name):
    (model / "model.safetensors").unlink()
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises((ValueError, FileNotFoundError), match=r"no usable `weight_map`|fetch that too") as told:
        load_opt(model)
    assert len(str(told.value)) < 500


def _archive(torch, path, tensors, packing=zipfile.ZIP_STORED, pickled=None):
    whole = io.BytesIO()
    torch.save(tensors, whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w", packing) as new:
        for name in old.namelist():
            new.writestr(name, pickled if pickled and name.endswith("data.pkl") else old.read(name))


@pytest.mark.parity
def test_a_bin_asks_for_no_more_than_it_holds(model):
    torch = pytest.importorskip("torch")
    tensors = safetensors.numpy.load_file(model / "model.safetensors")
    tensors = {name: torch.tensor(array) for name, array in tensors.items()}
    (model / "model.safetensors").unlink()
    path = model / "pytorch_model.bin"
    torch.save(tensors, path)
    assert load_opt(model)[0] == SMALL
    _archive(torch, path, tensors, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="its members are packed"):
        load_opt(model)
    one = torch.zeros(1, dtype=torch.bfloat16).expand(10**8).view(10**4, 10**4)
    torch.save({**tensors, EMBEDDING: one}, path)
    with pytest.raises(ValueError, match="is larger than the file"):
        load_opt(model)
    _archive(torch, path, tensors, pickled=b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.")
    with pytest.raises(ValueError, match="names builtins bytearray"):
        load_opt(model)
    torch.save(tensors, path, _use_new_zipfile_serialization=False)
    old = path.read_bytes()
    assert load_opt(model)[0] == SMALL
    asked = re.sub(rb"(?s)(cpuq.)(K.|M..)", lambda found: found[1] + b"J\xff\xff\xff\x7f", old, count=1)
    assert asked != old
    path.write_bytes(asked)  # it would ask for memory before it looks what is there
    with pytest.raises(ValueError, match=f"asks for {2**31 - 1} values"):
        load_opt(model)
    path.write_bytes(old.replace(b"ccollections\nOrderedDict", b"cbuiltins\nbytearray", 1))
    with pytest.raises(ValueError, match="names builtins bytearray"):
        load_opt(model)
    path.write_bytes(old[:-8])
    with pytest.raises(ValueError, match=r"pytorch_model\.bin' is damaged"):
        load_opt(model)


# --- packed files


@pytest.fixture
def little_memory():
    """Fail where more than 32 MiB are taken in Python's arrays and strings."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**25


def _header(*shape):
    return b"\0\0\x08" + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


def _packed(head, num_zeros):
    packing = zlib.compressobj(9, wbits=31)
    parts = [packing.compress(head)]
    parts += [packing.compress(bytes(2**20)) for _ in range(num_zeros // 2**20)]
    return b"".join([*parts, packing.flush()])


BOMB = _packed(_header(2, 28, 28), 2**27)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (BOMB, "truncated or too long"),
        (_packed(b"no images" * 10, 2**27), "not an IDX file"),
        (gzip.compress(_header(2**32 - 1, 28, 28)), "at most 1,073,741,824 bytes are read"),
        (gzip.compress(_header(*[2**32 - 1] * 255)), "not an IDX file"),
        (gzip.compress(b"") * 10**5, "not an IDX file"),
    ],
    ids=["longer than it says", "of another kind", "says terabytes", "many axes", "many members"],
)
def test_images_are_unpacked_as_far_as_their_header_says(tmp_path, little_memory, content, told):
    (tmp_path / "images.gz").write_bytes(content)
    with pytest.raises(ValueError, match=told) as refused:
        read_idx(tmp_path / "images.gz")
    assert len(str(refused.value)) < 400


def _member(shape, kind="<f8", body=b""):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": kind, "fortran_order": False, "shape": shape})
    return head.getvalue() + body


@pytest.mark.parametrize("shape", [(10**12,), (10**8,)])
@pytest.mark.parametrize("read", [load_arrays, load_classifiers])
def test_arrays_are_no_larger_than_their_file(tmp_path, little_memory, shape, read):
    save_arrays(tmp_path / "whole.npz", {"a": np.zeros(2)}, {})
    with zipfile.ZipFile(tmp_path / "whole.npz") as old, zipfile.ZipFile(tmp_path / "a.npz", "w") as new:
        for name in ("about.npy", "seal.npy"):
            new.writestr(name, old.read(name))
        new.writestr("array0.npy", _member(shape))
        new.writestr("0.npy", _member(shape))
    with pytest.raises(ValueError, match="which its bytes do not hold"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize("read", [load_arrays, load_classifiers])
def test_arrays_are_not_unpacked_without_bound(tmp_path, little_memory, monkeypatch, read):
    monkeypatch.setattr(gate, "_UNPACKED", 2**20)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("about.npy", _member((2**22,), "|u1", bytes(2**22)))
    with pytest.raises(ValueError, match="would become 4,194,"):
        read(tmp_path / "a.npz")


def test_arrays_of_objects_are_not_unpickled(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as new:
        new.writestr("about.npy", _member((1,), "|O", pickle.dumps([print])))
    with pytest.raises(Damaged, match="is not whole"):
        load_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("is_coordinate", [False, True])
def test_a_trajectory_says_no_more_than_it_may_hold(tmp_path, is_coordinate):
    """Without a byte on disk: HDF5 fills in what was never written, and xarray reads coordinates at once."""
    with h5py.File(tmp_path / "trajectory.nc", "w") as file:
        array = file.create_dataset("seed", (10**9,), "i8", chunks=(10**6,), compression="gzip")
        if is_coordinate:
            array.make_scale("seed")
    with pytest.raises(ValueError, match="would become 8,000,000,000"):
        read_netcdf(tmp_path / "trajectory.nc")


def test_the_hubs_archive_of_wikitext_is_unpacked_within_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr(gate, "_UNPACKED", 2**20)
    with zipfile.ZipFile(tmp_path / "wikitext.zip", "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("wikitext-2-raw/wiki.train.raw", bytes(2**24))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: str(tmp_path / "wikitext.zip"))
    with pytest.raises(ValueError, match=r"could not be fetched from the hub \(Refused\)"):
        load_wikitext2()
    assert not (tmp_path / "wikitext").exists()


@pytest.mark.parametrize(
    "about",
    [
        {"skeleton": 0}, {"skeleton": {"x": 1}}, {"facts": None}, {"kinds": [3]}, {"paths": None, "skeleton": "x"},
        {"skeleton": {"kind": "collapse_jax.core.protocol:Metric", "children": []}},
    ],
)  # fmt: skip
def test_a_checkpoint_that_no_run_writes_is_damaged(tmp_path, about):
    told = {"kinds": [], "paths": [], "facts": {}, "skeleton": {"kind": "none"}}
    save_arrays(tmp_path / "a.npz", {}, {**told, **about})
    with pytest.raises(Damaged, match="is no checkpoint"):
        load_tree(tmp_path / "a.npz")


@pytest.mark.parametrize("kind", ["collapse_jax.nothing:X", "antigravity:X", "Nothing", "optax.nothing"])
def test_a_checkpoint_of_a_class_that_is_not_there_imports_nothing(tmp_path, kind):
    about = {"kinds": [], "paths": [], "facts": {}, "skeleton": {"kind": kind, "children": []}}
    save_arrays(tmp_path / "a.npz", {}, about)
    with pytest.raises(ValueError, match=f"needs the NamedTuple {kind}, which is not there; resume from the program"):
        load_tree(tmp_path / "a.npz")
    assert "antigravity" not in sys.modules


# --- texts and records


def test_a_text_holds_no_zero_bytes(tmp_path):
    (tmp_path / "text.txt").write_bytes(b"one\n\ntwo\0\n\nthree\n")
    with pytest.raises(ValueError, match="holds zero bytes"):
        load_text(tmp_path / "text.txt")


def test_many_texts_are_no_larger_than_one_may_be(tmp_path):
    for name in "abc":
        _sparse(tmp_path / f"{name}.txt", gate.DATA // 2)
    for read in (load_text, text_sum):
        with pytest.raises(ValueError, match="bytes together; give fewer"):
            read(tmp_path)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (["0,0,1", "0,1,1", f"0,{10**12},1"], "lacks generation 2;"),
        (["0,0,1", "0,2,1", "0,3,1", "0,6,1"], "lacks generation 1;"),
        (["0,0,1", "0,1e300,1"], "not a whole number"),
        ([f"0,{g},1" for g in range(3000)] + [f"{s},0,1" for s in range(1, 3000)], "would be a table of 1 metrics"),
    ],
)  # fmt: skip
def test_records_make_no_table_far_larger_than_themselves(tmp_path, monkeypatch, rows, told):
    monkeypatch.setattr("collapse_jax.records.external._MOST_CELLS", 10**6)
    (tmp_path / "mine.csv").write_text("\n".join(["seed,generation,loss", *rows]))
    with pytest.raises(ValueError, match=told):
        read_records(tmp_path / "mine.csv")


def test_thousands_of_metrics_are_not_drawn(tmp_path):
    (tmp_path / "mine.csv").write_text(f"generation,{','.join(f'm{index}' for index in range(5000))}\n0{',1' * 5000}\n")
    with pytest.raises(ValueError, match="has 5,000 metrics, and at most 200"):
        read_records(tmp_path / "mine.csv")


# --- the tokenizer's library


class Panic(BaseException):
    """As a panic of Rust's comes: no `Exception`."""


def _panicking():
    """Return a tokenizer that panics when it reads a text: its pieces would overlap by more than they hold."""
    tokenizer = Tokenizer.from_str(TOKENIZER.to_str())
    tokenizer.post_processor = None
    tokenizer.enable_truncation(max_length=6, stride=5)
    tokenizer.post_processor = processors.TemplateProcessing(single="</s> $A </s> </s>", special_tokens=[("</s>", 2)])
    return tokenizer


@pytest.mark.parametrize(
    "work",
    [
        partial(encode, _panicking(), ["to be or not to be or not at all"]),
        partial(encode, TOKENIZER, ["a\ud800"]), partial(decode, TOKENIZER, [[-1]]),
        partial(decode, TOKENIZER, [[2**40]]), partial(train_tokenizer, ["a\ud800"], 300),
    ],
)  # fmt: skip
def test_whatever_the_library_says_is_a_sentence(work):
    with pytest.raises(ValueError, match=r"the tokenizer cannot .* \(.+\); give text"):
        work()


def test_a_panic_while_vocabulary_and_merges_become_opts_is_a_sentence(model, monkeypatch):
    (model / "tokenizer.json").unlink()

    def panic(*_):
        raise Panic("capacity overflow")

    monkeypatch.setattr(bpe, "Tokenizer", panic)
    with pytest.raises(ValueError, match=r"vocab\.json' is damaged.*capacity overflow"):
        load_tokenizer(model)


@pytest.mark.parametrize("num", [10**15, 2**70])
def test_a_vocabulary_beyond_memory_is_not_learnt(num):
    with pytest.raises(ValueError, match="`vocab_size` must be at most"):
        train_tokenizer(["abc"], num)


def test_tokenizers_that_are_not_opts_are_refused(model):
    def spoilt(told, change):
        content = json.loads(TOKENIZER.to_str())
        change(content["model"])
        (model / "tokenizer.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match=told):
            load_tokenizer(model)

    spoilt("marks beginnings or ends of words", lambda inner: inner.update(end_of_word_suffix="</w>"))
    spoilt("has a token of id 4294967295", lambda inner: inner["vocab"].update(far=2**32 - 1))
    words = models.WordLevel(TOKENIZER.get_vocab(), unk_token="none")
    Tokenizer(words).save(str(model / "tokenizer.json"))
    with pytest.raises(ValueError, match="is a WordLevel, where OPT's is a BPE"):
        load_tokenizer(model)


# --- what is shown


def test_signs_that_steer_a_terminal_are_shown_and_brackets_stay(tmp_path, capsys):
    model = str(tmp_path / "\x1b[31m\n[red]")
    assert cli.run_command(["run", "opt", "--preset", "smoke", "--model", model, "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "\x1b" not in told and r"\x1b[31m [red]" in told


@pytest.mark.parametrize("arguments", [["resume", "x" * 5000], ["report", "x" * 5000]])
def test_a_path_that_the_system_refuses_is_a_sentence(arguments, capsys):
    assert cli.run_command(arguments) == 2
    assert "cannot be used (File name too long); name another." in capsys.readouterr().err


def test_names_in_records_may_be_markup_of_any_kind(tmp_path, capsys):
    folder = tmp_path / "[red]<b>"
    folder.mkdir()
    path = folder / os.fsdecode(b"[bold]<i>\xff.csv")  # and bytes that are no UTF-8
    path.write_text("generation,[/bold]<u>,$\\frac{$\n0,1,2\n1,2,3\n")
    assert cli.run_command(["report", "--records", str(path)]) == 0
    page = next(folder.glob("*-report/report.html")).read_text()
    assert "&lt;i&gt;" in page and "[/bold]&lt;u&gt;" in page and "<i>" not in page and "<u>" not in page
    shutil.rmtree(folder)


def test_a_trajectory_of_one_value_may_be_packed_as_tightly_as_gzip_can():
    """Chains that have collapsed hold little else; of what strangers give, a hundred times is much."""
    gate.check_unpacked(Path("trajectory.nc"), 2**21, 2**31 - 2**20, 1032)
    with pytest.raises(gate.Refused, match="would become"):
        gate.check_unpacked(Path("digits.npz"), 2**21, 2**31 - 2**20)
