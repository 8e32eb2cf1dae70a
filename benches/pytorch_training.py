#!/usr/bin/env python3
"""Steps of training: this program beside PyTorch, in turn, on the machine at hand.

    python3 -m venv venv && venv/bin/pip install torch==2.15.0 numpy
    cargo bench --locked --bench training_step -- --check     # builds target/release/deps/training_step-*
    venv/bin/python benches/pytorch_training.py target/release/deps/training_step-*

Two networks, written here as in benches/training_step.rs (whose weights are counted and compared): a convolutional U-Net of 150
channels of 48 × 48, and a transformer of 256 tokens. A step is forward, backward and AdamW on a batch of 16; printed are windows
per second, medians and ranges over the rounds, and the ratio to the faster of PyTorch eager and compiled.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

BATCH = 16


class Residual(nn.Module):
    """Two 3 × 3 convolutions, each after a group norm and SiLU; scale and shift of the second by the embedding."""

    def __init__(self, inputs, outputs, embedding):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(32, inputs, eps=1e-6), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.embed = nn.Linear(embedding, 2 * outputs)
        self.norm2, self.conv2 = nn.GroupNorm(32, outputs, eps=1e-6), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x, embedding):
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.embed(embedding)[:, :, None, None].chunk(2, 1)
        h = self.norm2(h) * (1 + scale) + shift
        return self.skip(x) + self.conv2(F.silu(h))


class Attention(nn.Module):
    """Heads of 64 channels over all positions."""

    def __init__(self, width):
        super().__init__()
        self.norm, self.qkv, self.proj = nn.GroupNorm(32, width, eps=1e-6), nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        batch, width, high, wide = x.shape
        tokens = self.norm(x).permute(0, 2, 3, 1).reshape(batch, high * wide, width)
        qkv = self.qkv(tokens).view(batch, high * wide, 3, width // 64, 64).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]).transpose(1, 2).reshape(tokens.shape)
        return x + self.proj(mixed).view(batch, high, wide, width).permute(0, 3, 1, 2)


class UNet(nn.Module):
    def __init__(self, channels=150, widths=(96, 192, 256), blocks=2, embedding=512):
        super().__init__()
        self.enter = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.time = nn.Sequential(nn.Linear(256, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU())
        self.down, self.up, kept, width = nn.ModuleList(), nn.ModuleList(), [widths[0]], widths[0]
        level = lambda i, w: Attention(w) if i > 0 else nn.Identity()
        for i, w in enumerate(widths):
            for _ in range(blocks):
                self.down.append(nn.ModuleList([Residual(width, w, embedding), level(i, w)]))
                width = w
                kept.append(w)
            if i + 1 < len(widths):
                self.down.append(nn.Conv2d(w, w, 3, stride=2))
                kept.append(w)
        self.middle = nn.ModuleList([Residual(width, width, embedding), Attention(width), Residual(width, width, embedding)])
        for i, w in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                self.up.append(nn.ModuleList([Residual(width + kept.pop(), w, embedding), level(i, w)]))
                width = w
            if i > 0:
                self.up.append(nn.Conv2d(w, w, 3, padding=1))
        self.norm, self.leave = nn.GroupNorm(32, width, eps=1e-6), nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, x, time):
        embedding, x = self.time(time), self.enter(x)
        kept = [x]
        for part in self.down:
            if isinstance(part, nn.Conv2d):
                x = part(F.pad(x, (0, 1, 0, 1)))
            else:
                x = part[1](part[0](x, embedding))
            kept.append(x)
        x = self.middle[2](self.middle[1](self.middle[0](x, embedding)), embedding)
        for part in self.up:
            if isinstance(part, nn.Conv2d):
                x = part(F.interpolate(x, scale_factor=2, mode="nearest"))
            else:
                x = part[1](part[0](torch.cat([x, kept.pop()], 1), embedding))
        return self.leave(F.silu(self.norm(x)))


class Block(nn.Module):
    """A block of DiT: norms without parameters, scaled, shifted and gated by the embedding."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.norm1, self.norm2 = heads, nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.embed = nn.Linear(width, 6 * width)

    def forward(self, x, embedding):
        batch, tokens, width = x.shape
        scale1, shift1, gate1, scale2, shift2, gate2 = self.embed(embedding)[:, None].chunk(6, 2)
        qkv = self.qkv(self.norm1(x) * (1 + scale1) + shift1).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]).transpose(1, 2).reshape(x.shape)
        x = x + gate1 * self.proj(mixed)
        return x + gate2 * self.fc2(F.gelu(self.fc1(self.norm2(x) * (1 + scale2) + shift2)))


class Transformer(nn.Module):
    def __init__(self, features=1200, width=384, depth=8, heads=6, tokens=256):
        super().__init__()
        self.enter, self.leave = nn.Linear(features, width), nn.Linear(width, features)
        self.position = nn.Parameter(0.02 * torch.randn(1, tokens, width))
        self.time = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, x, time):
        embedding, x = self.time(time), self.enter(x) + self.position
        for block in self.blocks:
            x = block(x, embedding)
        return self.leave(self.norm(x))


def windows_per_second(network, optimiser, inputs, autocast, steps):
    """Of the median step, after two that are not timed."""
    seconds = []
    for _ in range(steps + 2):
        begun = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = (network(*inputs) - inputs[0]).square().mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        seconds.append(time.perf_counter() - begun)
    return BATCH / statistics.median(seconds[2:])


def ours(program, network, precision, steps):
    command = [program, "--network", network, "--precision", precision, "--steps", str(steps), "--together", "8"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", nargs="?", help="the built bench; without it PyTorch alone is timed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="in a round, of which the median counts")
    parser.add_argument("--precisions", default="f32", help="f32,bf16")
    parser.add_argument("--networks", default="unet,transformer")
    parser.add_argument("--without-compiled", action="store_true", help="leave torch.compile out: it needs a C++ compiler")
    options = parser.parse_args()
    chosen = [name for name in os.environ if name.startswith(("OPENBLAS_", "MKL_", "OMP_"))]
    if chosen:
        sys.exit(f"Unset {', '.join(chosen)} first: PyTorch is measured as it comes.")
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}")
    print("| network | weights | | windows/s | range | ÷ best PyTorch |\n|---|---:|---|---:|---:|---:|")
    for name in options.networks.split(","):
        torch.manual_seed(1)
        if name == "unet":
            network = UNet().to(memory_format=torch.channels_last)
            x = torch.randn(BATCH, 150, 48, 48).to(memory_format=torch.channels_last)
        else:
            network, x = Transformer(), torch.randn(BATCH, 256, 1200)
        inputs = (x, torch.randn(BATCH, 256))
        optimiser = torch.optim.AdamW(network.parameters(), lr=1e-5)
        weights = sum(p.numel() for p in network.parameters())
        runs = {"eager": network} if options.without_compiled else {"eager": network, "compiled": torch.compile(network)}
        for precision in options.precisions.split(","):
            found = {}
            for _ in range(options.rounds):
                for kind, run in runs.items():
                    speed = windows_per_second(run, optimiser, inputs, precision == "bf16", options.steps)
                    found.setdefault(f"PyTorch {precision}, {kind}", []).append(speed)
                if options.bench:
                    measured = ours(options.bench, name, precision, options.steps)
                    if measured["weights"] != weights:
                        sys.exit(f"The networks differ: {measured['weights']} weights here, {weights} in PyTorch.")
                    kind = f"COP-GEN Explorer {precision} ({measured['instructions']})"
                    found.setdefault(kind, []).append(measured["windows_per_second"])
            best = max(statistics.median(v) for kind, v in found.items() if kind.startswith("PyTorch"))
            for kind, speeds in found.items():
                middle = statistics.median(speeds)
                print(f"| {name} | {weights / 1e6:.1f} M | {kind} | {middle:.2f} | {min(speeds):.2f}–{max(speeds):.2f} | {middle / best:.2f} |")


if __name__ == "__main__":
    main()
