"""Samples to try things on: real scans fetched with their checksum, and phantoms that need no network."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from imagereg.errors import ImageregError, InputError, UsageError, did_you_mean
from imagereg.io.complaints import reason
from imagereg.measurement import Measurement
from imagereg.phantoms import PHANTOMS

MIRROR = "IMAGEREG_SAMPLES_MIRROR"
"""Environment variable that names a folder with the samples' files, for machines without a network."""


@dataclass(frozen=True)
class Sample:
    """One sample.

    Attributes
    ----------
    name : what users type.
    description : one sentence.
    licence : SPDX identifier or the owner's words; what may be done with it.
    kind : 'file' (fetched from `url` or a mirror), 'package' (comes with a dependency), 'generated'.
    file : its place in a mirror folder.
    url : lasting address; empty where there is none (cut or binned from a larger set): a mirror has it.
    reference : where it was published.
    sha256, size : of the file, size in bytes.
    hints : what `read` must be told of it.
    """

    name: str
    description: str
    licence: str
    kind: Literal["file", "package", "generated"] = "file"
    file: str = ""
    url: str = ""
    reference: str = ""
    sha256: str = ""
    size: int = 0
    hints: Mapping[str, Any] = field(default_factory=dict)


_FILES = (
    Sample(
        "tooth",
        "raw synchrotron counts of a tooth with flats and darks, 2 rows (Advanced Photon Source)",
        "BSD-3-Clause (UChicago Argonne, with TomoPy)",
        file="tooth/tooth.h5",
        url="https://raw.githubusercontent.com/tomopy/tomopy/"
        "9e5f8617e614732d3dd3d22eb4c8fbca7b9dd40b/tomopy/data/tooth.h5",
        reference="Gursoy et al., J. Synchrotron Rad. 21 (2014), doi:10.1107/S1600577514013939",
        sha256="ab1d9bd073b7fb1beae4defa991c2a2626605c5cf1f4be0d0203656bc47b6489",
        size=1043312,
    ),
    Sample(
        "htc2022_ta",
        "fan-beam scan over 360 degrees of a plastic disc with holes (Helsinki Tomography Challenge 2022)",
        "CC-BY-4.0",
        file="htc2022/ta_full_a_1.mat",
        reference="Meaney, de Moura, Siltanen, Zenodo (2022), doi:10.5281/zenodo.6984868",
        sha256="a91ae064e224cf60c1f08a4d016b62db48f8f5bf4f6f5d27588e02ffc74a0614",
        size=1650505,
    ),
    Sample(
        "htc2022_ta_truth",
        "published segmentation of the disc of htc2022_ta",
        "CC-BY-4.0",
        file="htc2022/gt/ta_category7.png",
        reference="Meaney, de Moura, Siltanen, Zenodo (2022), doi:10.5281/zenodo.6984868",
        sha256="7beb1a363aeafc9893535882224a07c9ea882ffb2995f9b8051b8ce62c37e12d",
        size=2822,
    ),
    Sample(
        "diamond_24737",
        "flat-fielded and binned synchrotron stack of 135 rows (Diamond Light Source I12, scan 24737)",
        "Apache-2.0 (with Savu)",
        file="savu/tomo24737_projections.npz",
        reference="Wadeson, Basham, Savu: a Python-based tomography framework (2016), arXiv:1610.08015",
        sha256="f68607a8bf9b7258b97e2036e5c68e1e293744b5747456448446d5129746f9b2",
        size=2539000,
        hints={"quantity": "transmission"},
    ),
    Sample(
        "haadf_needle",
        "aligned electron tilt series of a needle over +-76 degrees (HAADF-STEM, NIST)",
        "NIST, no licence stated with the file",
        file="haadf_tilt/haadf_aligned_crop.npz",
        sha256="fd4d9bf6226449a0bf62c983b1c7bb25940e240ab849b66674061b018e3ffd4d",
        size=2373326,
    ),
    Sample(
        "neutron_stripes",
        "neutron sinogram over 360 degrees with stripe artefacts",
        "Apache-2.0 (with Sarepy)",
        file="sarepy_neutron/sinogram_360_neutron_image.tif",
        url="https://raw.githubusercontent.com/nghia-vo/sarepy/"
        "1990f24188de02a8ba35c98f3dd92b54b1f0fb29/data/sinogram_360_neutron_image.tif",
        reference="Vo, Atwood, Drakopoulos, Optics Express 26 (2018), doi:10.1364/OE.26.028396",
        sha256="22f6b1efa88c32f7b346a76a7b8e72e96b530a9ae8a946c287d4ba08eb7b2377",
        size=462088,
        hints={"angles": "linspace(0, 360, N)", "angle_unit": "degrees"},
    ),
    Sample(
        "ct_slice",
        "clinical CT slice of 128 x 128 pixels in Hounsfield units (DICOM)",
        "MIT (with pydicom)",
        kind="package",
        file="ct_dicom/CT_small.dcm",
        sha256="3dd31e5cc835b3f2cdd46c9da1982f59251e78518fefa8163d914631c66437d6",
        size=39206,
    ),
)

_GENERATED = tuple(
    Sample(name, phantom.summary.rstrip("."), "BSD-3-Clause", kind="generated")
    for name, phantom in PHANTOMS.items()
)

SAMPLES: Mapping[str, Sample] = MappingProxyType({s.name: s for s in (*_FILES, *_GENERATED)})
"""Every sample by name."""


def sample(name: str) -> Sample:
    """The sample called `name`.

    Raises
    ------
    UsageError
        When there is none; the sentence suggests one.
    """
    if name not in SAMPLES:
        raise UsageError(f"no sample is called {name!r}{did_you_mean(name, SAMPLES)}.")
    return SAMPLES[name]


def fetch(name: str, *, mirror: str | Path | None = None) -> Path:
    """The file of a sample, downloaded once into a cache, or taken from a mirror folder; its checksum holds.

    Parameters
    ----------
    name : a sample that is a file.
    mirror : folder that has the samples' files; the environment variable IMAGEREG_SAMPLES_MIRROR where not
        given. A mirror that lacks the file is passed over.

    Raises
    ------
    UsageError
        For an unknown name, or a generated sample.
    InputError
        When the file cannot be had, or is not the one that was registered.
    """
    chosen = sample(name)
    if chosen.kind == "generated":
        raise UsageError(f"{name} is made on the spot and has no file; use load({name!r}).")
    folder = Path(mirror if mirror is not None else os.environ.get(MIRROR, "")).expanduser()
    if mirror is not None and not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder of samples.")
    if mirror is not None or os.environ.get(MIRROR):
        for place in (folder / chosen.file, folder / Path(chosen.file).name):
            if place.is_file():
                return _checked(place, chosen)
    if chosen.kind == "package":
        from pydicom.data import get_testdata_file

        found = get_testdata_file(Path(chosen.file).name, download=False)
        if found is not None:
            return _checked(Path(str(found)), chosen)
    if not chosen.url:
        raise InputError(
            f"the sample {name} has no address of its own ({chosen.reference or chosen.description}); put "
            f"its file {chosen.file} into a folder and name that folder in {MIRROR}."
        )
    return _download(chosen)


def load(
    name: str, *, mirror: str | Path | None = None, size: int | None = None, seed: int = 0
) -> Measurement:
    """A sample ready for use: read from its file with its hints, or a phantom as an image, itself its truth.

    Parameters
    ----------
    name, mirror : as in `fetch`.
    size : pixels along each edge of a phantom, 256 in two dimensions and 64 in three where not given.
    seed : of random phantoms.
    """
    from imagereg.io import read

    chosen = sample(name)
    if chosen.kind != "generated":
        return read(fetch(name, mirror=mirror), **chosen.hints)
    phantom = PHANTOMS[name]
    image = phantom(size or (256 if phantom.ndim == 2 else 64), **({"seed": seed} if phantom.random else {}))
    edges = (1.0,) * image.ndim
    return Measurement(
        image, quantity="image", truth=image, pixel=edges, unit="mm", axes="ZYX"[-image.ndim :]
    )


def _checked(path: Path, chosen: Sample) -> Path:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != chosen.sha256:
        raise InputError(
            f"{path}: is not the registered file of the sample {chosen.name} (sha256 {digest[:12]}..., "
            f"expected {chosen.sha256[:12]}...); remove it and fetch it again."
        )
    return path


def _download(chosen: Sample) -> Path:
    import pooch

    pooch.get_logger().setLevel("WARNING")
    try:
        return Path(
            pooch.retrieve(
                chosen.url, f"sha256:{chosen.sha256}", Path(chosen.file).name, pooch.os_cache("imagereg")
            )
        )
    except ImageregError:
        raise
    except Exception as error:  # requests, urllib3 and pooch each have exceptions of their own
        raise InputError(
            f"the sample {chosen.name} cannot be fetched from {chosen.url} ({reason(error)}); put its file "
            f"{chosen.file} into a folder and name that folder in {MIRROR}."
        ) from error
