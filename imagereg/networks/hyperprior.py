"""Compressive autoencoders with a hyperprior: an image is decoded from latents whose density is learned."""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from torch import nn

from imagereg.errors import UsageError
from imagereg.networks.entropy import FactorisedPrior, log_gaussian
from imagereg.networks.gdn import GDN
from imagereg.networks.residual import Attention, Block, Doubling, Halving, convolution, shuffled, transposed
from imagereg.networks.unet import mirrored

Kind = Literal["mean_scale", "autoregressive", "attention"]
KINDS: tuple[Kind, ...] = ("mean_scale", "autoregressive", "attention")


class Masked(nn.Conv2d):
    """A convolution that sees of each window only what comes before its middle, row by row."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(B, ins, H, W) to (B, outs, H, W)."""
        height, width = self.weight.shape[-2:]
        order = torch.arange(height * width, device=self.weight.device).reshape(height, width)
        return self._conv_forward(input, self.weight * (order < order[height // 2, width // 2]), self.bias)


class Hyperprior(nn.Module):
    """x = D(z) with p(z | h) Gaussian, its means and scales a network's of h, and p(h) factorised.

        z = g_a(x),   h = h_a(z),   D = g_s,
        p(z | h) = N(mean, scale^2) * U(-1/2, 1/2),   p(h) = prod of learned densities * U(-1/2, 1/2).

    With 'autoregressive' and 'attention', mean and scale of an entry of z also depend on the entries before
    it; here all of z is known at once, so that nothing is sequential. Parts bear the names that compressai
    gives them, and its files fit; what is called z and h here, as in variational Bayes, is y and z there.

    Images are in [0, 1] and of any size: they are mirrored at their bottom and right to multiples of the
    stride of h, and what is decoded is cropped again.

    Parameters
    ----------
    width : channels N inside.
    latent : channels M of z ('attention' has N).
    channels : of the images.
    kind : 'mean_scale'; 'autoregressive' (its full model); 'attention' (residual blocks and attention).

    Raises
    ------
    UsageError
        For another kind or channels below 1.

    References
    ----------
    D. Minnen, J. Ballé, G. Toderici, NeurIPS (2018), arXiv:1809.02736; Z. Cheng, H. Sun, M. Takeuchi,
    J. Katto, CVPR (2020), arXiv:2001.01568 ('attention').
    """

    stride = 64

    def __init__(
        self, width: int = 48, latent: int = 96, *, channels: int = 1, kind: Kind = "mean_scale"
    ) -> None:
        super().__init__()
        wrong = kind == "attention" and latent != width
        if kind not in KINDS or min(width, latent, channels) < 1 or wrong:
            raise UsageError(
                f"Hyperprior(width={width}, latent={latent}, channels={channels}, kind={kind!r}): give a "
                f"kind of {', '.join(KINDS)}, positive numbers, and latent = width for 'attention'."
            )
        self.width, self.latent, self.channels, self.kind = width, latent, channels, kind
        stacks = _attention(width, channels) if kind == "attention" else _plain(width, latent, channels)
        self.g_a, self.g_s, self.h_a, self.h_s = stacks
        self.entropy_bottleneck = FactorisedPrior(width)
        if kind != "mean_scale":
            self.context_prediction = Masked(latent, 2 * latent, 5, padding=2)
            self.entropy_parameters = nn.Sequential(
                nn.Conv2d(4 * latent, latent * 10 // 3, 1),
                nn.LeakyReLU(),
                nn.Conv2d(latent * 10 // 3, latent * 8 // 3, 1),
                nn.LeakyReLU(),
                nn.Conv2d(latent * 8 // 3, 2 * latent, 1),
            )

    def settings(self) -> dict[str, object]:
        """Plain values from which the same architecture is built again."""
        return {"width": self.width, "latent": self.latent, "channels": self.channels, "kind": self.kind}

    def elementwise(self) -> set[str]:
        """Weights that are no matrices from features to features: densities and normalisations."""
        return {
            name
            for name, _ in self.named_parameters()
            if name.startswith("entropy_bottleneck") or name.endswith((".beta", ".gamma"))
        }

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """z (B, M, H / 16, W / 16) and h (B, N, H / 64, W / 64) of images (B, channels, H, W).

        Edges count as padded to multiples of 64.
        """
        z = self.g_a(mirrored(x, self.stride))
        return z, self.h_a(z)

    def decode(self, z: torch.Tensor, size: tuple[int, int] | None = None) -> torch.Tensor:
        """D(z), (B, channels, H, W), cropped to `size` where given."""
        x = self.g_s(z)
        return x if size is None else x[..., : size[0], : size[1]]

    def moments(self, z: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Means and scales of p(z | h), each in the shape of z."""
        parameters = self.h_s(h)
        if self.kind != "mean_scale":
            parameters = self.entropy_parameters(torch.cat((parameters, self.context_prediction(z)), 1))
        scales, means = parameters.chunk(2, 1)
        return means, scales

    def log_prior(self, z: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """log p(z | h) and log p(h) of each entry, in nats, in the shapes of z and h."""
        means, scales = self.moments(z, h)
        # Tails of the normal distribution need more digits than a half-precision region has.
        with torch.autocast(z.device.type, enabled=False):
            wide = torch.promote_types(z.dtype, torch.float32)
            conditional = log_gaussian(z.to(wide), means.to(wide), scales.to(wide))
            return conditional, self.entropy_bottleneck(h.to(wide))

    def forward(
        self, x: torch.Tensor, generator: torch.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """D(z + u) and the nats -log p(z + u | h + v) - log p(h + v) of each item (B,), u and v uniform.

        Parameters
        ----------
        x : (B, channels, H, W).
        generator : of the noise; without one there is none.
        """
        z, h = self.encode(x)
        if generator is not None:
            z, h = (
                v + (torch.rand(v.shape, generator=generator, dtype=v.dtype) - 0.5).to(v.device)
                for v in (z, h)
            )
        nats = sum(-log.flatten(1).sum(1) for log in self.log_prior(z, h))
        assert isinstance(nats, torch.Tensor)
        return self.decode(z, (x.shape[-2], x.shape[-1])), nats


Stacks = tuple[nn.Sequential, nn.Sequential, nn.Sequential, nn.Sequential]


def _plain(width: int, latent: int, channels: int) -> Stacks:
    """g_a, g_s, h_a, h_s of convolutions of 5 x 5 with divisive normalisation."""
    n, m = width, latent
    g_a = nn.Sequential(
        convolution(channels, n),
        GDN(n),
        convolution(n, n),
        GDN(n),
        convolution(n, n),
        GDN(n),
        convolution(n, m),
    )
    up = [m, n, n, n, channels]
    g_s: list[nn.Module] = []
    for coarse, fine in itertools.pairwise(up):
        g_s += [transposed(coarse, fine), GDN(fine, inverse=True)]
    h_a = nn.Sequential(
        convolution(m, n, 3, 1), nn.LeakyReLU(), convolution(n, n), nn.LeakyReLU(), convolution(n, n)
    )
    h_s = nn.Sequential(
        transposed(n, m),
        nn.LeakyReLU(),
        transposed(m, m * 3 // 2),
        nn.LeakyReLU(),
        convolution(m * 3 // 2, 2 * m, 3, 1),
    )
    return g_a, nn.Sequential(*g_s[:-1]), h_a, h_s


def _attention(width: int, channels: int) -> Stacks:
    """g_a, g_s, h_a, h_s of residual blocks with attention."""
    n = width
    g_a = nn.Sequential(
        Halving(channels, n),
        Block(n),
        Halving(n, n),
        Attention(n),
        Block(n),
        Halving(n, n),
        Block(n),
        convolution(n, n, 3, 2),
        Attention(n),
    )
    g_s = nn.Sequential(
        Attention(n),
        Block(n),
        Doubling(n),
        Block(n),
        Doubling(n),
        Attention(n),
        Block(n),
        Doubling(n),
        Block(n),
        shuffled(n, channels),
    )
    h_a = nn.Sequential(
        convolution(n, n, 3, 1),
        nn.LeakyReLU(),
        convolution(n, n, 3, 1),
        nn.LeakyReLU(),
        convolution(n, n, 3),
        nn.LeakyReLU(),
        convolution(n, n, 3, 1),
        nn.LeakyReLU(),
        convolution(n, n, 3),
    )
    h_s = nn.Sequential(
        convolution(n, n, 3, 1),
        nn.LeakyReLU(),
        shuffled(n, n),
        nn.LeakyReLU(),
        convolution(n, n * 3 // 2, 3, 1),
        nn.LeakyReLU(),
        shuffled(n * 3 // 2, n * 3 // 2),
        nn.LeakyReLU(),
        convolution(n * 3 // 2, 2 * n, 3, 1),
    )
    return g_a, g_s, h_a, h_s
