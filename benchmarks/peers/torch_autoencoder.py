"""Training autoencoders in PyTorch: eager, compiled, and many chains at once."""

from collections.abc import Callable, Iterator

import torch
from sides import Side
from torch import nn

LATENTS = {"MLP": 16, "conv": 20}


class Autoencoder(nn.Module):
    """The published convolutional net, or an MLP 784-256-16; images in, the loss out."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        if kind == "conv":
            self.encoder = nn.Sequential(
                nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 64, 4, 2, 1), nn.ReLU(), nn.Conv2d(64, 128, 4, 2, 1),
                nn.ReLU(), nn.Flatten(), nn.Linear(6272, 40),
            )  # fmt: skip
            self.decoder = nn.Sequential(
                nn.Linear(20, 6272), nn.Unflatten(1, (128, 7, 7)), nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.ReLU(),
                nn.ConvTranspose2d(64, 1, 4, 2, 1), nn.Flatten(),
            )  # fmt: skip
        else:
            self.encoder = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 32))
            self.decoder = nn.Sequential(nn.Linear(16, 256), nn.ReLU(), nn.Linear(256, 784))

    def forward(self, images: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return the negative ELBO, nats an image; `noise` makes the latents."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        logits = self.decoder(mean + torch.exp(0.5 * log_variance) * noise)
        value = nn.functional.binary_cross_entropy_with_logits(logits, images, reduction="sum")
        return (value + 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum()) / len(images)


def trainers(
    kind: str, images: torch.Tensor, batch: int, steps: int, chains: int = 1, *, compiled: bool = True
) -> Iterator[Side]:
    """Yield ways to train `chains` nets on minibatches of `images`, on the device where these are.

    One chain after the other is what the eager sides do, so that their cost is that of one; `vmap` trains all at once.
    """
    where = "" if images.is_cuda else f", {torch.get_num_threads()} threads"
    ways = [("eager", False, {}), ("eager, fused Adam", False, {"fused": True})]
    if kind == "conv":
        ways.append(("eager, channels last, fused Adam", True, {"fused": True}))
    for name, last, how in ways:
        yield Side(f"PyTorch {name}{where}", _trainer(kind, images, batch, steps, last, how), batch * steps)
    if compiled:
        modes = ("default", "reduce-overhead") if images.is_cuda else ("default",)
        for mode in modes:
            run = _trainer(kind, images, batch, steps, kind == "conv", {"fused": True}, mode)
            said = "" if mode == "default" else f" ({mode})"
            yield Side(f"PyTorch compiled{said}, fused Adam{where}", run, batch * steps)
    if chains > 1:
        run = _stacked(kind, images, batch, steps, chains, compiled=False)
        yield Side(f"PyTorch vmap over chains, fused Adam{where}", run, batch * steps * chains)
        if compiled:
            run = _stacked(kind, images, batch, steps, chains, compiled=True)
            yield Side(f"PyTorch vmap over chains, compiled, fused Adam{where}", run, batch * steps * chains)


def _trainer(
    kind: str, images: torch.Tensor, batch: int, steps: int, channels_last: bool, how: dict, mode: str = ""
) -> Callable[[], None]:
    net = Autoencoder(kind).to(images.device)
    net = net.to(memory_format=torch.channels_last) if channels_last else net
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, **how)
    loss = torch.compile(net, mode=mode) if mode else net

    def run() -> None:
        for _ in range(steps):
            rows = torch.randint(len(images), (batch,), device=images.device)
            noise = torch.randn(batch, LATENTS[kind], device=images.device)
            optimizer.zero_grad()
            loss(images[rows], noise).backward()
            optimizer.step()
        _wait(images)

    return run


def _stacked(
    kind: str, images: torch.Tensor, batch: int, steps: int, chains: int, compiled: bool
) -> Callable[[], None]:
    nets = [Autoencoder(kind).to(images.device) for _ in range(chains)]
    params, _ = torch.func.stack_module_state(nets)
    optimizer = torch.optim.Adam(params.values(), lr=1e-3, fused=True)
    shape = Autoencoder(kind).to("meta")

    def losses(params: dict, rows: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        one = lambda params, rows, noise: torch.func.functional_call(shape, params, (rows, noise))  # noqa: E731
        return torch.vmap(one)(params, rows, noise).sum()

    loss = torch.compile(losses) if compiled else losses

    def run() -> None:
        for _ in range(steps):
            rows = torch.randint(len(images), (chains, batch), device=images.device)
            noise = torch.randn(chains, batch, LATENTS[kind], device=images.device)
            optimizer.zero_grad()
            loss(params, images[rows], noise).backward()
            optimizer.step()
        _wait(images)

    return run


def _wait(tensor: torch.Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize()
