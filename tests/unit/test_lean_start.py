"""Quick starts: what torchvision leaves for later, and that it comes when it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

START = "from imagereg.running.lean_start import start_lean; start_lean(); import sys; "


def python(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_deepinv_starts_without_the_compiler_and_detection_networks() -> None:
    program = START + (
        "import deepinv, torchvision;"
        "assert not {'torch._dynamo', 'sympy', 'torchvision.models', 'torchvision.ops'} & set(sys.modules);"
        "from torchvision import models;"
        "print(models.resnet18.__name__, torchvision.ops.nms.__name__, torchvision.models is models);"
        "import torchvision.ops.boxes;"
        "print(hasattr(torchvision, 'nothing'), 'torch._dynamo' in sys.modules)"
    )
    assert python(program).split() == ["resnet18", "nms", "True", "False", "True"]


def test_a_part_that_torchvision_itself_wants_is_loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("packages")
    for name, text in {
        "__init__": "from torchvision import models, ops, transforms",
        "models": "from . import ops\nwide = 'wide'",
        "ops": "nms = 'nms'",
        "transforms": "from torchvision.ops import nms\nfound = nms",
    }.items():
        (folder / "torchvision").mkdir(exist_ok=True)
        (folder / "torchvision" / f"{name}.py").write_text(text)
    program = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); "
        + START
        + (
            "import torchvision; print(torchvision.transforms.found, 'torchvision.models' in sys.modules,"
            "torchvision.models.wide, torchvision.ops.nms)"
        )
    )
    assert python(program).split() == ["nms", "False", "wide", "nms"]


def test_a_torchvision_that_is_there_already_is_left_alone() -> None:
    assert python("import torchvision; " + START + "print(len(sys.meta_path), torchvision.models.__name__)")
    assert (
        python(START + "start_lean(); print([type(f).__name__ for f in sys.meta_path].count('_Finder'))")
        == "1"
    )
