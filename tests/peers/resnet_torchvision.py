#!/usr/bin/env python3
"""resnet_torchvision.py TEST_MODEL: gives our ResNet-18 and ResNet-50 the weights and images of torchvision's, and has
TEST_MODEL compare the logits. TRIREME_BENCH_PYTHON names a Python that has torch and torchvision. Status 77: it has not.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PYTHON = os.environ.get("TRIREME_BENCH_PYTHON", sys.executable)
if sys.executable != PYTHON and "TRIREME_PEERS_INNER" not in os.environ:
    os.environ["TRIREME_PEERS_INNER"] = "yes"
    os.execv(PYTHON, [PYTHON, *sys.argv])

try:
    import torch
    import torchvision
except ImportError as error:
    print(f"SKIPPED: {PYTHON}: {error}; TRIREME_BENCH_PYTHON may name a Python that has torch and torchvision")
    sys.exit(77)

IMAGES, SIZE = 2, 224


def our_name(name):
    """Torchvision's name of a parameter -> ours."""
    name = re.sub(r"^conv1\.", "stem.", name)
    name = re.sub(r"^bn1\.", "stem.norm.", name)
    name = re.sub(r"^layer(\d)\.", lambda found: f"stages.{int(found[1]) - 1}.", name)
    name = re.sub(r"\.conv(\d)\.", lambda found: f".{int(found[1]) - 1}.", name)
    name = re.sub(r"\.bn(\d)\.", lambda found: f".{int(found[1]) - 1}.norm.", name)
    name = name.replace(".downsample.0.", ".shortcut.").replace(".downsample.1.", ".shortcut.norm.")
    return re.sub(r"^fc\.", "head.", name).replace("running_var", "running_variance")


def write(folder, depth):
    torch.manual_seed(depth)
    model = getattr(torchvision.models, f"resnet{depth}")(weights=None).eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("num_batches_tracked"):
                continue
            # Norms that do something, with logits of a usual size.
            if value.dim() == 1 and not name.startswith("fc"):
                value.copy_(torch.rand_like(value) * 0.4 + (0.8 if name.endswith("var") else 0.6 if name.endswith("weight") else -0.2))
            # Filters: [outputs, channels, rows, columns] there, channels last here.
            ours = value.permute(0, 2, 3, 1) if value.dim() == 4 else value
            ours.contiguous().numpy().tofile(folder / our_name(name))
        pixels = torch.randint(256, (IMAGES, SIZE, SIZE, 3), dtype=torch.uint8)
        pixels.numpy().tofile(folder / "pixels")
        mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        images = ((pixels / 255 - mean) / deviation).permute(0, 3, 1, 2)
        model.double()(images.double()).float().numpy().tofile(folder / "logits")


def main():
    for depth in (18, 50):
        with tempfile.TemporaryDirectory() as name:
            write(Path(name), depth)
            subprocess.run(
                [sys.argv[1], "--gtest_filter=ResnetPeer.*"],
                env={**os.environ, "TRIREME_RESNET_FOLDER": name, "TRIREME_RESNET_DEPTH": str(depth)},
                check=True,
            )


main()
