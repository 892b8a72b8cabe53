"""Flow matching in PyTorch: a perceptron trained and drawn from, eager, compiled, and many chains at once."""

import math
from collections.abc import Callable, Iterator

import torch
from sides import Side
from torch import nn

_WAVES = 8  # sines and cosines of the angle, as ours


class Denoiser(nn.Module):
    """Three hidden layers that see noised rows and the angle of their noise."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("turns", math.pi * 2.0 ** torch.arange(_WAVES) / 2)
        self.layers = nn.Sequential(
            nn.Linear(size + 2 * _WAVES, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width),
            nn.SiLU(), nn.Linear(width, size),
        )  # fmt: skip

    def forward(self, rows: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Return x - z of rows on the straight path at `time`, a column of signals."""
        noise = 1 - time
        angle = torch.atan2(noise, time) * (2 / math.pi) * self.turns
        seen = rows * torch.rsqrt(time**2 + noise**2)
        return self.layers(torch.cat([seen, torch.sin(angle), torch.cos(angle)], dim=1))


class _Loss(nn.Module):
    """The mean square error of what the net says; differentiated by compiled code where it is compiled."""

    def __init__(self, net: Denoiser) -> None:
        super().__init__()
        self.net = net

    def forward(self, rows: torch.Tensor, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return ((self.net(time * rows + (1 - time) * noise, time) - (rows - noise)) ** 2).mean()


def trainers(rows: torch.Tensor, width: int, batch: int, steps: int, chains: int = 1) -> Iterator[Side]:
    """Yield ways to train `chains` nets on minibatches of `rows` by a fused Adam, with a running mean of the weights.

    One chain after the other is what all but `vmap` do, so that their cost is that of one.
    """
    where = f", {torch.get_num_threads()} threads"
    for name, compiled in (("eager", False), ("compiled", True)):
        run = _trainer(rows, width, batch, steps, compiled)
        yield Side(f"PyTorch {name}, fused Adam{where}", run, batch * steps)
    if chains > 1:
        for name, compiled in (("", False), (", compiled", True)):
            run = _stacked(rows, width, batch, steps, chains, compiled)
            yield Side(f"PyTorch vmap over chains{name}, fused Adam{where}", run, batch * steps * chains)


def drawers(size: int, width: int, num: int, steps: int) -> Iterator[Side]:
    """Yield ways to draw `num` rows by Euler's method."""
    where = f", {torch.get_num_threads()} threads"
    net = Denoiser(size, width).eval()
    for name, step in (("eager", net), ("compiled", torch.compile(net))):

        @torch.inference_mode()
        def draw(step: Callable = step) -> None:
            rows = torch.randn(num, size)
            for index in range(steps):
                rows = rows + step(rows, torch.full((num, 1), index / steps)) / steps

        yield Side(f"PyTorch {name}{where}", draw, num)


def _trainer(rows: torch.Tensor, width: int, batch: int, steps: int, compiled: bool) -> Callable[[], None]:
    net = Denoiser(rows.shape[1], width)
    mean = [param.detach().clone() for param in net.parameters()]
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    loss = torch.compile(_Loss(net)) if compiled else _Loss(net)

    def run() -> None:
        for _ in range(steps):
            chosen = rows[torch.randint(len(rows), (batch,))]
            optimizer.zero_grad()
            loss(chosen, torch.randn_like(chosen), torch.rand(batch, 1)).backward()
            optimizer.step()
            _average(mean, list(net.parameters()))

    return run


def _stacked(
    rows: torch.Tensor, width: int, batch: int, steps: int, chains: int, compiled: bool
) -> Callable[[], None]:
    nets = [_Loss(Denoiser(rows.shape[1], width)) for _ in range(chains)]
    params, buffers = torch.func.stack_module_state(nets)
    mean = [param.detach().clone() for param in params.values()]
    optimizer = torch.optim.Adam(params.values(), lr=1e-3, fused=True)
    shape = _Loss(Denoiser(rows.shape[1], width)).to("meta")

    def losses(params: dict, *given: torch.Tensor) -> torch.Tensor:
        one = lambda params, buffers, *given: torch.func.functional_call(shape, (params, buffers), given)  # noqa: E731
        return torch.vmap(one)(params, buffers, *given).sum()

    loss = torch.compile(losses) if compiled else losses

    def run() -> None:
        for _ in range(steps):
            chosen = rows[torch.randint(len(rows), (chains, batch))]
            optimizer.zero_grad()
            loss(params, chosen, torch.randn_like(chosen), torch.rand(chains, batch, 1)).backward()
            optimizer.step()
            _average(mean, list(params.values()))

    return run


@torch.no_grad()
def _average(mean: list[torch.Tensor], new: list[torch.Tensor]) -> None:
    torch._foreach_lerp_(mean, new, 0.001)
