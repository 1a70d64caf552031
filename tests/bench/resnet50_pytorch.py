#!/usr/bin/env python3
"""Trains a ResNet (v1.5) with PyTorch for a few steps and prints one line of JSON: the peer of resnet50.cpp.

Both train the same model on the same batch of random images: SGD with momentum 0.9 and weight decay 5e-5 on all but
norms and biases, channels-last memory, batch statistics of the whole batch. --precision bf16 is autocast over fp32
weights, the way most people train. The images, of 8 bits a colour, come from the host's memory (pinned) in every step
and are normalised on the device, as ours are.
"""

import argparse
import json
import resource
import statistics
import sys
import time

try:
    import torch
    import torch.nn as nn
    import torch.nn.functional as F
except ImportError:
    sys.exit(f"resnet50_pytorch.py: {sys.executable} has no torch; set TRIREME_BENCH_PYTHON to a Python that has it")

BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


class Unit(nn.Module):
    def __init__(self, channels, outputs, size, stride):
        super().__init__()
        self.convolution = nn.Conv2d(channels, outputs, size, stride, size // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        nn.init.kaiming_normal_(self.convolution.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        return self.norm(self.convolution(x))


class Residual(nn.Module):
    def __init__(self, channels, width, stride, bottleneck):
        super().__init__()
        outputs = width * (4 if bottleneck else 1)
        sizes = [(width, 1, 1), (width, 3, stride), (outputs, 1, 1)] if bottleneck else [(width, 3, stride), (width, 3, 1)]
        units, inputs = [], channels
        for made, size, step in sizes:
            units.append(Unit(inputs, made, size, step))
            inputs = made
        self.units = nn.ModuleList(units)
        nn.init.zeros_(units[-1].norm.weight)
        self.shortcut = Unit(channels, outputs, 1, stride) if stride != 1 or channels != outputs else None

    def forward(self, x):
        y = x
        for unit in self.units[:-1]:
            y = F.relu(unit(y), inplace=True)
        return F.relu(self.units[-1](y) + (x if self.shortcut is None else self.shortcut(x)), inplace=True)


class Resnet(nn.Module):
    def __init__(self, depth=50, width=64, channels=3, classes=1000, small_stem=False):
        super().__init__()
        bottleneck = depth >= 50
        self.stem = Unit(channels, width, 3 if small_stem else 7, 1 if small_stem else 2)
        self.small_stem = small_stem
        inputs, stages = width, []
        for stage, blocks in enumerate(BLOCKS[depth]):
            made = []
            for block in range(blocks):
                made.append(Residual(inputs, width << stage, 2 if stage and not block else 1, bottleneck))
                inputs = (width << stage) * (4 if bottleneck else 1)
            stages.append(nn.Sequential(*made))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(inputs, classes)

    def forward(self, x):
        x = F.relu(self.stem(x), inplace=True)
        if not self.small_stem:
            x = F.max_pool2d(x, 3, 2, 1)
        return self.head(self.stages(x).mean((2, 3)))


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--depth", type=int, choices=BLOCKS, default=50)
    options.add_argument("--image-size", type=int, default=224)
    options.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--compile", type=int, choices=[0, 1], default=0)
    options.add_argument("--steps", type=int, default=5, help="measured steps")
    options.add_argument("--warmup", type=int, default=2, help="steps before them")
    options.add_argument("--batch", type=int, default=16, help="images of a step")
    given = options.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("resnet50_pytorch.py: --device=cuda: torch sees no GPU")

    torch.set_num_threads(given.threads)
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high" if given.device == "cuda" else "highest")
    torch.manual_seed(1)
    model = Resnet(given.depth).to(given.device, memory_format=torch.channels_last)
    groups = [
        {"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": 5e-5},
        {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.01, momentum=0.9, fused=True)
    run = torch.compile(model) if given.compile else model
    size = given.image_size
    images = torch.randint(256, (given.batch, 3, size, size), dtype=torch.uint8)
    images = images.contiguous(memory_format=torch.channels_last)
    mean = torch.tensor([0.485, 0.456, 0.406], device=given.device).mul(255).view(1, 3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225], device=given.device).mul(255).view(1, 3, 1, 1)
    classes = torch.randint(1000, (given.batch,))
    if given.device == "cuda":
        images = images.pin_memory()

    def step():
        x, y = images.to(given.device, non_blocking=True), classes.to(given.device)
        x = (x.float() - mean) / deviation
        with torch.autocast(given.device, torch.bfloat16, enabled=given.precision == "bf16"):
            loss = F.cross_entropy(run(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    seconds, losses = [], []
    for _ in range(given.warmup + given.steps):
        begin = time.perf_counter()
        losses.append(step())
        seconds.append(time.perf_counter() - begin)
    measured = seconds[given.warmup :]
    result = {
        "implementation": "pytorch" + ("+compile" if given.compile else ""),
        "version": torch.__version__,
        "device": torch.cuda.get_device_name() if given.device == "cuda" else "cpu",
        "precision": given.precision,
        "threads": given.threads,
        "depth": given.depth,
        "image_size": size,
        "batch": given.batch,
        "parameters": sum(p.numel() for p in model.parameters()),
        "images_per_second": given.batch / statistics.median(measured),
        "step_seconds": measured,
        "first_step_seconds": seconds[0],
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "first_loss": losses[0],
        "last_loss": losses[-1],
    }
    if given.device == "cuda":
        result["device_mib"] = torch.cuda.max_memory_reserved() / 2**20
    print(json.dumps(result))


if __name__ == "__main__":
    main()
