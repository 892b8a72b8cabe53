"""Chains of fitted mixtures in PyTorch: all as one batch, warm-started EM with a mask for those that are done."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from sides import Side

RIDGE, MOST_STEPS = 1e-6, 100  # on each covariance, in squared data units, as scikit-learn's


class Mixture(NamedTuple):
    """The mixtures of all chains: weights [chains, K], means [chains, K, D], covariances [chains, K, D, D]."""

    weights: torch.Tensor
    means: torch.Tensor
    covariances: torch.Tensor


def start(chains: int, device: str) -> Mixture:
    """Return two unit Gaussians in the plane, 4 apart, for each chain."""
    means = torch.tensor([[-2.0, 0.0], [2.0, 0.0]], device=device)
    return Mixture(
        torch.full((chains, 2), 0.5, device=device), means.expand(chains, 2, 2).clone(),
        torch.eye(2, device=device).expand(chains, 2, 2, 2).clone(),
    )  # fmt: skip


def em_step(x: torch.Tensor, mixture: Mixture) -> tuple[Mixture, torch.Tensor]:
    """Return the mixtures after a step of EM on x [chains, n, D], and their mean log-likelihoods before it."""
    tril = torch.linalg.cholesky_ex(mixture.covariances).L
    eye = torch.eye(x.shape[-1], device=x.device).expand_as(tril)
    whiten = torch.linalg.solve_triangular(tril, eye, upper=False)
    white = (x[:, None] - mixture.means[:, :, None]) @ whiten.mT
    log_norm = torch.diagonal(whiten, dim1=-2, dim2=-1).log().sum(-1) - 0.5 * x.shape[-1] * math.log(2 * math.pi)
    log_joint = (mixture.weights.log() + log_norm)[..., None] - 0.5 * white.square().sum(-1)
    log_prob = log_joint.logsumexp(1)
    resp = (log_joint - log_prob[:, None]).exp()
    counts = resp.sum(-1).clamp_min(1e-10)
    means = resp @ x / counts[..., None]
    centred = x[:, None] - means[:, :, None]
    covariances = (resp[..., None] * centred).mT @ centred / counts[..., None, None]
    return Mixture(counts / x.shape[1], means, covariances + RIDGE * eye), log_prob.mean(-1)


def draw(mixture: Mixture, num: int) -> torch.Tensor:
    """Return `num` points of each chain's mixture, [chains, num, D]."""
    chains, _, dim = mixture.means.shape
    component = torch.multinomial(mixture.weights, num, replacement=True)
    tril = torch.linalg.cholesky_ex(mixture.covariances).L
    noise = torch.randn(chains, num, dim, device=component.device)
    rows = component[..., None].expand(-1, -1, dim)
    chosen = tril.gather(1, component[..., None, None].expand(-1, -1, dim, dim))
    return mixture.means.gather(1, rows) + (chosen @ noise[..., None])[..., 0]


def fit(x: torch.Tensor, mixture: Mixture, tol: float, step: Callable = em_step) -> Mixture:
    """Return the mixtures after EM, each chain's until its mean log-likelihood changes by at most `tol`."""
    before = torch.full(x.shape[:1], -torch.inf, device=x.device)
    active = torch.ones(x.shape[:1], dtype=torch.bool, device=x.device)
    for _ in range(MOST_STEPS):
        after, now = step(x, mixture)
        mixture = Mixture(*(_chosen(active, new, old) for new, old in zip(after, mixture)))
        active = active & ((now - before).abs() > tol)
        before = now.clone()
        if not active.any():
            break
    return mixture


def _chosen(active: torch.Tensor, new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """Return the new values of the chains that are not done."""
    return torch.where(active.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def chains_of_mixtures(
    chains: int, size: int, num_generations: int, tol: float, device: str, *, compiled: bool = True
) -> Iterator[Side]:
    """Yield ways to run so many chains of generations on a device."""
    ways = [("eager", em_step, draw)]
    if compiled:
        modes = ("default", "max-autotune-no-cudagraphs") if device == "cuda" else ("default",)
        ways += [(f"compiled ({mode})", *(torch.compile(f, mode=mode) for f in (em_step, draw))) for mode in modes]
    where = "" if device == "cuda" else f", {torch.get_num_threads()} threads"
    for name, step, drawn in ways:

        def run(step: Callable = step, drawn: Callable = drawn) -> None:
            with torch.inference_mode():
                mixture = start(chains, device)
                x = drawn(mixture, size)
                for _ in range(num_generations):
                    mixture = fit(x, mixture, tol, step)
                    x = drawn(mixture, size)
            if device == "cuda":
                torch.cuda.synchronize()

        yield Side(f"PyTorch, chains as one batch, {name}{where}", run, chains * num_generations)
