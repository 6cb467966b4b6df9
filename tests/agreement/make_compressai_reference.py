"""Make compressai_reference.npz: what compressai's networks give for small random weights.

    python tests/agreement/make_compressai_reference.py

It needs compressai, which pins numpy < 2: run it in an environment of its own. The file holds, of each
network, the seed of its weights, latents and what is made of them; weights are drawn anew by the test, by
the same rule (`draw`), so that they need not be stored.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

SIZES = {
    "MeanScaleHyperprior": (8, 12),
    "JointAutoregressiveHierarchicalPriors": (8, 12),
    "Cheng2020Attention": (8,),
}


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Weights of a name: small normal numbers, positive ones for normalisations."""
    random = np.random.default_rng(sum(map(ord, name)))
    values = random.standard_normal(shape)
    if name.endswith("beta"):
        return 1 + 0.1 * values
    if name.endswith("gamma"):
        return 0.1 * np.abs(values)
    fan = np.prod(shape[1:]) if len(shape) > 1 else 1
    return (0.9 * values / np.sqrt(fan)) if len(shape) > 1 else 0.1 * values


def main() -> None:
    from compressai import models

    out = {}
    for title, size in SIZES.items():
        network = getattr(models, title)(*size).double().eval()
        with torch.no_grad():
            for name, weight in network.named_parameters():
                if "quantiles" not in name:
                    weight.copy_(torch.from_numpy(draw(name, tuple(weight.shape))))
        names = list(network.state_dict())
        out[f"{title}.names"] = np.array(names)
        out[f"{title}.shapes"] = np.array([str(tuple(v.shape)) for v in network.state_dict().values()])
        x = torch.from_numpy(np.random.default_rng(0).random((2, 3, 64, 64)))
        with torch.no_grad():
            y = network.g_a(x)
            z = network.h_a(y)
            # Latents of a spread at which likelihoods are neither all 1 nor all at their floor.
            y, z = 3 * y / y.std(), 3 * z / z.std()
            parameters = network.h_s(z)
            if title != "MeanScaleHyperprior":
                context = network.context_prediction(y)
                parameters = network.entropy_parameters(torch.cat((parameters, context), 1))
            scales, means = parameters.chunk(2, 1)
            p_y = network.gaussian_conditional._likelihood(y, scales, means)
            values = z.permute(1, 0, 2, 3).reshape(z.shape[1], 1, -1)
            p_z = network.entropy_bottleneck._likelihood(values)[0]
            p_z = p_z.reshape(z.shape[1], z.shape[0], *z.shape[2:]).permute(1, 0, 2, 3)
            out[f"{title}.decoded"] = network.g_s(y)[:, :, ::8, ::8].numpy()
            out[f"{title}.encoded"] = network.g_a(x).numpy()
            out[f"{title}.hyper"] = network.h_a(network.g_a(x)).numpy()
        for name, value in (("y", y), ("z", z), ("p_y", p_y), ("p_z", p_z)):
            out[f"{title}.{name}"] = value.numpy()
        print(title, float(p_y.min()), float(p_y.max()), float(p_z.min()), float(p_z.max()))
    path = Path(__file__).with_name("compressai_reference.npz")
    np.savez_compressed(path, **out)
    print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
