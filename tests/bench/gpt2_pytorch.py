#!/usr/bin/env python3
"""Trains GPT-2 124M with PyTorch on the CPU for a few steps and prints one line of JSON: the peer of gpt2_124m.cpp.

Both train the same model on the same amount of work: 12 layers, hidden 768, 12 heads, vocabulary 50,304, 1,024
learned positions, tied embeddings, no dropout, steps of 4 x 256 tokens, AdamW with gradients clipped at norm 1.

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

LAYERS, HIDDEN, HEADS, VOCABULARY, CONTEXT = 12, 768, 12, 50304, 1024


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1 = nn.LayerNorm(HIDDEN)
        self.qkv = nn.Linear(HIDDEN, 3 * HIDDEN)
        self.projection = nn.Linear(HIDDEN, HIDDEN)
        self.norm2 = nn.LayerNorm(HIDDEN)
        self.up = nn.Linear(HIDDEN, 4 * HIDDEN)
        self.down = nn.Linear(4 * HIDDEN, HIDDEN)

    def forward(self, x):
        batch, tokens, _ = x.shape
        split = (batch, tokens, HEADS, HIDDEN // HEADS)
        q, k, v = (part.view(split).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(HIDDEN, dim=2))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.projection(attended.transpose(1, 2).reshape(batch, tokens, HIDDEN))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt2(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, HIDDEN)
        self.positions = nn.Embedding(CONTEXT, HIDDEN)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(HIDDEN)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                deviation = 0.02 / (2 * LAYERS) ** 0.5 if "projection" in name or "down" in name else 0.02
                nn.init.normal_(weight, std=deviation)

    def forward(self, inputs, targets):
        x = self.tokens(inputs) + self.positions.weight[: inputs.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.float().view(-1, VOCABULARY), targets.view(-1))


class Trainer:
    """One training step in the wanted precision."""

    def __init__(self, precision, compiled):
        self.model = Gpt2()
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
        self.loss = torch.compile(self.model) if compiled else self.model

    def step(self, inputs, targets):
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            loss = self.loss(inputs, targets)
        loss.backward()
        if self.masters:
            for master, weight in zip(self.masters, self.weights):
                master.grad = weight.grad.float()
                weight.grad = None
        nn.utils.clip_grad_norm_(self.masters or self.weights, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.masters:
            with torch.no_grad():
                torch._foreach_copy_(self.weights, self.masters)
        return loss.item()


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--precision", choices=["fp32", "bf16", "bf16-master"], default="fp32")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--compile", type=int, choices=[0, 1], default=0)
    options.add_argument("--steps", type=int, default=5, help="measured steps")
    options.add_argument("--warmup", type=int, default=2, help="steps before them")
    options.add_argument("--batch", type=int, default=4)
    options.add_argument("--tokens", type=int, default=256, help="of each sample of the batch")
    given = options.parse_args()

    torch.set_num_threads(given.threads)
    torch.manual_seed(1)
    imported = peak_mib()
    trainer = Trainer(given.precision, given.compile)
    seconds, losses = [], []
    for _ in range(given.warmup + given.steps):
        batch = torch.randint(VOCABULARY, (given.batch, given.tokens + 1))
        begin = time.perf_counter()
        losses.append(trainer.step(batch[:, :-1].contiguous(), batch[:, 1:].contiguous()))
        seconds.append(time.perf_counter() - begin)
    measured = seconds[given.warmup :]
    print(
        json.dumps(
            {
                "implementation": "pytorch" + ("+compile" if given.compile else ""),
                "version": torch.__version__,
                "precision": given.precision,
                "threads": given.threads,
                "parameters": sum(p.numel() for p in trainer.weights),
                "tokens_per_second": given.batch * given.tokens / statistics.median(measured),
                "step_seconds": measured,
                "peak_rss_mib": peak_mib(),
                "imported_rss_mib": imported,
                "first_loss": losses[0],
                "last_loss": losses[-1],
            }
        )
    )


if __name__ == "__main__":
    main()
