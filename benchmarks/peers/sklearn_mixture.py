"""Chains of fitted mixtures by scikit-learn: warm-started, with our stopping rule, one chain or one a core."""

import os
import pickle
import subprocess
import sys
import time

import numpy as np
from sides import Side
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits


def chain(start: np.ndarray, num_generations: int, tol: float, seed: int = 0) -> GaussianMixture:
    """Return the last fit of a chain: each fit starts from the last one's parameters, and draws as many points."""
    data, last = start, None
    for generation in range(num_generations):
        model = GaussianMixture(2, tol=tol, reg_covar=1e-6, random_state=seed * num_generations + generation)
        if last is not None:
            model.weights_init, model.means_init = last.weights_, last.means_
            model.precisions_init = last.precisions_
        last = model.fit(data)
        data, _ = last.sample(len(start))
    return last


def one_process(start: np.ndarray, num_generations: int, tol: float) -> Side:
    """Return one chain in this process, one thread: more threads do not help matrices of two columns."""

    def run() -> GaussianMixture:
        with threadpool_limits(1):
            return chain(start, num_generations, tol)

    return Side("scikit-learn, one process", run, num_generations)


def a_process_a_core(start: np.ndarray, num_generations: int, tol: float, processes: int) -> Side:
    """Return as many chains as processes, each in a process of its own that is already up."""
    workers = [_Worker(start, num_generations, tol, seed) for seed in range(processes)]

    def run() -> None:
        for worker in workers:
            worker.begin()
        for worker in workers:
            worker.wait()

    return Side(f"scikit-learn, {processes} processes", run, num_generations * processes)


class _Worker:
    """A process that runs a chain whenever it is asked to."""

    def __init__(self, start: np.ndarray, num_generations: int, tol: float, seed: int) -> None:
        arguments = [str(num_generations), str(tol), str(seed)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        pickle.dump(start, self._process.stdin)
        self._process.stdin.flush()
        self.wait()

    def begin(self) -> None:
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def wait(self) -> None:
        if not self._process.stdout.readline():
            raise RuntimeError("a process of scikit-learn ended.")


def _serve() -> None:
    num_generations, tol, seed = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    start = pickle.load(sys.stdin.buffer)
    print("ready", flush=True)
    with threadpool_limits(1):
        while sys.stdin.buffer.readline():
            begun = time.perf_counter()
            chain(start, num_generations, tol, seed)
            print(time.perf_counter() - begun, flush=True)


if __name__ == "__main__":
    _serve()
