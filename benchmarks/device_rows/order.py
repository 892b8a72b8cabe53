"""The rows of `accelerator.py`, most valuable first; nothing is imported here, so that they can be listed anywhere."""

from typing import NamedTuple


class Planned(NamedTuple):
    """A row, or a few that belong together.

    Attributes:
        name: on the command line.
        module: the file of `device_rows` that has it.
        seconds: about what it needs at full size on one card, compiling and peers included; a guess until it was run.
        about: what it measures.
        takes_all: whether it goes on for as long as there is time.
    """

    name: str
    module: str
    seconds: float
    about: str
    takes_all: bool = False


ORDER = (
    Planned("ceilings", "ceilings", 15, "matrix products in three precisions, a copy on the device"),
    Planned("laws", "laws", 60, "the laws of collapse-jax verify --quick"),
    Planned("bits-gmm", "laws", 15, "a mixture chain in segments: the bits of the whole run"),
    Planned("bits-vae", "laws", 20, "an autoencoder chain in segments: the bits of the whole run"),
    Planned("bits-opt", "laws", 25, "a tiny OPT chain in segments: the bits of the whole run"),
    Planned("law-on-cpu", "laws", 20, "final statistics on the device beside those on the CPU"),
    Planned("opt-train-bfloat16", "language", 60, "OPT-125m, a step of training, bfloat16"),
    Planned("opt-sample-128", "language", 45, "OPT-125m, sampling, batch 128, beside transformers"),
    Planned("opt-beams-128", "language", 60, "OPT-125m, 5 beams, batch 128, beside transformers"),
    Planned("opt-train-tf32", "language", 60, "OPT-125m, a step of training, TF32"),
    Planned("opt-train-float32", "language", 45, "OPT-125m, a step of training, float32"),
    Planned("opt-sample-512", "language", 40, "OPT-125m, sampling, batch 512, beside transformers"),
    Planned("opt-score", "language", 20, "OPT-125m, scoring texts"),
    Planned("opt-protocol", "language", 1, "the published language protocol, extrapolated from the rows before"),
    Planned("conv-64", "autoencoders", 60, "the published autoencoder, 64 chains"),
    Planned("conv-1", "autoencoders", 40, "the published autoencoder, 1 chain"),
    Planned("mlp-64", "autoencoders", 40, "the MLP autoencoder, 64 chains"),
    Planned("conv-16", "autoencoders", 40, "the published autoencoder, 16 chains"),
    Planned("conv-256", "autoencoders", 40, "the published autoencoder, 256 chains, without peers"),
    Planned("mlp-1", "autoencoders", 30, "the MLP autoencoder, 1 chain"),
    Planned("mlp-512", "autoencoders", 30, "the MLP autoencoder, 512 chains"),
    Planned("gmm-65536", "chains", 45, "mixture chains, 65,536 seeds, in blocks of three widths"),
    Planned("gmm-4096", "chains", 30, "mixture chains, 4,096 seeds"),
    Planned("gmm-64", "chains", 30, "mixture chains, 64 seeds"),
    Planned("gaussian-statistics", "chains", 20, "a million exact Gaussian chains as a summary"),
    Planned("gaussian-points", "chains", 20, "a million Gaussian chains of 100 points as a summary"),
    Planned("kde", "chains", 15, "kernel density chains, 4,096 seeds"),
    Planned("bigram", "chains", 20, "bigram chains, 4,096 seeds"),
    Planned("sweep", "chains", 25, "a sweep of 10,000 cells in one call"),
    Planned("random-bits", "generators", 15, "normal draws by threefry and by the device's own generator"),
    Planned("opt-sample-rbg", "generators", 35, "OPT-125m, sampling with the device's own generator"),
    Planned("unrolled", "generators", 30, "a loop of short generations, unrolled"),
    Planned("opt-sample-128-bfloat16", "language", 40, "OPT-125m, sampling, batch 128, bfloat16"),
    Planned("opt-beams-128-bfloat16", "language", 45, "OPT-125m, 5 beams, batch 128, bfloat16"),
    Planned("digits", "digits", 90, "the published autoencoder protocol on MNIST, generation by generation", True),
)
