#!/usr/bin/env python3
"""Trains GPT-2 with PyTorch for a few steps and prints one line of JSON: the peer of gpt2.cpp.

Both train the same model on the same amount of work: vocabulary 50,304, 1,024 learned positions, tied embeddings, no
dropout, steps of one microbatch, AdamW (fused) with gradients clipped at norm 1. Attention is PyTorch's own choice
among its flash kernels.

--precision fp32         everything in fp32
            bf16         autocast over fp32 weights, the way most people train
            bf16-master  bf16 weights and gradients, fp32 masters in the optimizer, without autocast's casts
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
    sys.exit(f"gpt2_pytorch.py: {sys.executable} has no torch; set TRIREME_BENCH_PYTHON to a Python that has it")

SIZES = {"3M": (2, 64, 2), "124M": (12, 768, 12), "355M": (24, 1024, 16), "774M": (36, 1280, 20), "1558M": (48, 1600, 25)}
VOCABULARY, POSITIONS = 50304, 1024


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Block(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(hidden)
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.projection = nn.Linear(hidden, hidden)
        self.norm2 = nn.LayerNorm(hidden)
        self.up = nn.Linear(hidden, 4 * hidden)
        self.down = nn.Linear(4 * hidden, hidden)

    def forward(self, x):
        batch, tokens, hidden = x.shape
        split = (batch, tokens, self.heads, hidden // self.heads)
        q, k, v = (part.view(split).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(hidden, dim=2))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.projection(attended.transpose(1, 2).reshape(batch, tokens, hidden))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt2(nn.Module):
    def __init__(self, layers, hidden, heads):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, hidden)
        self.positions = nn.Embedding(POSITIONS, hidden)
        self.blocks = nn.ModuleList(Block(hidden, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                deviation = 0.02 / (2 * layers) ** 0.5 if "projection" in name or "down" in name else 0.02
                nn.init.normal_(weight, std=deviation)

    def forward(self, inputs, targets):
        x = self.tokens(inputs) + self.positions.weight[: inputs.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.float().view(-1, VOCABULARY), targets.view(-1))


class Trainer:
    """One training step in the wanted precision."""

    def __init__(self, size, device, precision):
        with torch.device(device):
            self.model = Gpt2(*SIZES[size])
        self.device = device
        self.autocast = precision == "bf16"
        self.masters = None
        if precision == "bf16-master":
            self.masters = [p.detach().clone().requires_grad_() for p in self.model.parameters()]
            self.model.to(torch.bfloat16)
        self.weights = list(self.model.parameters())
        updated = self.masters or self.weights
        groups = [
            {"params": [p for p in updated if p.dim() >= 2], "weight_decay": 0.1},
            {"params": [p for p in updated if p.dim() < 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=6e-4, betas=(0.9, 0.95), fused=True)
        self.loss = self.model

    def compile(self):
        self.loss = torch.compile(self.model, dynamic=False)

    def step(self, tokens):
        tokens = tokens.to(self.device)
        inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
        with torch.autocast(self.device, torch.bfloat16, enabled=self.autocast):
            loss = self.loss(inputs, targets)
        loss.backward()
        if self.masters:
            for master, weight in zip(self.masters, self.weights):
                master.grad = weight.grad.float()
                weight.grad = None
        nn.utils.clip_grad_norm_(self.masters or self.weights, 1.0)
        self.optimizer.step()
        self.clear()
        if self.masters:
            with torch.no_grad():
                torch._foreach_copy_(self.weights, self.masters)
        return loss.item()

    def clear(self):
        for tensor in [*self.weights, *(self.masters or [])]:
            tensor.grad = None


def random_tokens(samples, context):
    return torch.randint(VOCABULARY, (samples, context + 1))


def fits(trainer, samples, context):
    """Two steps, so that the optimizer's state is there in the second."""
    try:
        for _ in range(2):
            trainer.step(random_tokens(samples, context))
        return True
    except torch.cuda.OutOfMemoryError:
        return False


def largest_that_fits(trainer, samples, context):
    """128, 96, 64, 48, 32, ...: the largest that fits without compilation, which only takes less, from `samples` on."""
    while not fits(trainer, samples, context):
        trainer.clear()  # outside of the exception, whose traceback holds the step's tensors
        torch.cuda.empty_cache()
        print(f"gpt2_pytorch.py: micro-batch {samples} does not fit", file=sys.stderr)
        if samples == 1:
            sys.exit("gpt2_pytorch.py: not even one sample fits")
        power_of_two = samples & (samples - 1) == 0
        samples = samples * 3 // 4 if power_of_two and samples > 2 else samples * 2 // 3
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return samples


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--size", choices=SIZES, default="124M")
    options.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options.add_argument("--precision", choices=["fp32", "bf16", "bf16-master"], default="fp32")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--compile", type=int, choices=[0, 1], default=0)
    options.add_argument("--steps", type=int, default=5, help="measured steps")
    options.add_argument("--warmup", type=int, default=2, help="steps before them")
    options.add_argument("--micro-batch", type=int, default=4, help="samples of a step")
    options.add_argument("--context", type=int, default=256, help="tokens of a sample")
    options.add_argument("--fit", type=int, choices=[0, 1], default=0, help="a smaller micro-batch where it does not fit")
    given = options.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("gpt2_pytorch.py: --device=cuda: torch sees no GPU")

    torch.set_num_threads(given.threads)
    torch.set_float32_matmul_precision("high" if given.device == "cuda" else "highest")
    torch.manual_seed(1)
    imported = peak_mib()
    trainer = Trainer(given.size, given.device, given.precision)
    samples = largest_that_fits(trainer, given.micro_batch, given.context) if given.fit else given.micro_batch
    if given.compile:
        trainer.compile()
    seconds, losses = [], []
    for _ in range(given.warmup + given.steps):
        tokens = random_tokens(samples, given.context)
        begin = time.perf_counter()
        losses.append(trainer.step(tokens))
        seconds.append(time.perf_counter() - begin)
    measured = seconds[given.warmup :]
    result = {
        "implementation": "pytorch" + ("+compile" if given.compile else ""),
        "version": torch.__version__,
        "size": given.size,
        "device": torch.cuda.get_device_name() if given.device == "cuda" else "cpu",
        "precision": given.precision,
        "threads": given.threads,
        "micro_batch": samples,
        "context": given.context,
        "parameters": sum(p.numel() for p in trainer.weights),
        "tokens_per_second": samples * given.context / statistics.median(measured),
        "step_seconds": measured,
        "first_step_seconds": seconds[0],
        "peak_rss_mib": peak_mib(),
        "imported_rss_mib": imported,
        "first_loss": losses[0],
        "last_loss": losses[-1],
    }
    if given.device == "cuda":
        result["device_mib"] = torch.cuda.max_memory_reserved() / 2**20
    print(json.dumps(result))


if __name__ == "__main__":
    main()
