#!/usr/bin/env python3
"""One evaluation of the published base size: this program beside PyTorch, in turn, on the machine at hand.

    python3 -m venv venv && venv/bin/pip install torch==2.15.0 numpy
    cargo build --release --locked
    venv/bin/python benches/pytorch.py target/release/copgen

The network is written here anew from its description (specification D; arXiv 2603.03239), with PyTorch's fused attention. Before
anything is timed it has to reproduce the recorded numbers of tests/fixtures/parity. Then come rounds of: PyTorch eager and
compiled in float32, eager and compiled wholly in bfloat16, eager under bfloat16 autocast, and this program in each precision. Printed are
medians and ranges over the rounds, and the ratio to the faster of eager and compiled.
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import struct
import subprocess
import sys
import time

import torch
import torch.nn.functional as F

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Block(torch.nn.Module):
    """Attention and MLP, each followed by its norm; blocks after the middle take a long skip first."""

    def __init__(self, width, heads, ratio, skip):
        super().__init__()
        self.heads = heads
        if skip:
            self.norm1 = torch.nn.LayerNorm(width)
            self.skip_linear = torch.nn.Linear(2 * width, width)
        self.attn = torch.nn.Module()
        self.attn.qkv = torch.nn.Linear(width, 3 * width, bias=False)
        self.attn.proj = torch.nn.Linear(width, width)
        self.mlp = torch.nn.Module()
        self.mlp.fc1 = torch.nn.Linear(width, ratio * width)
        self.mlp.fc2 = torch.nn.Linear(ratio * width, width)
        self.norm2 = torch.nn.LayerNorm(width)
        self.norm3 = torch.nn.LayerNorm(width)

    def forward(self, x, skip=None):
        if skip is not None:
            x = self.norm1(self.skip_linear(torch.cat([x, skip], 2)))
        batch, tokens, width = x.shape
        qkv = self.attn.qkv(x).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        x = self.norm2(x + self.attn.proj(mixed.transpose(1, 2).reshape(batch, tokens, width)))
        return self.norm3(x + self.mlp.fc2(F.gelu(self.mlp.fc1(x))))


class Denoiser(torch.nn.Module):
    """Predicts the noise of all modalities; a token per patch, and one per modality for its time."""

    def __init__(self, table, width, depth, heads, ratio=4):
        super().__init__()
        self.table, self.width = table, width
        sizes = [(m["latent"], m["patch"]) for m in table]
        self.counts = [h // p * (w // p) for (_, h, w), p in sizes]
        self.patch_embeds = torch.nn.ModuleList()
        self.decoder_preds = torch.nn.ModuleList()
        for (channels, _, _), patch in sizes:
            embed = torch.nn.Module()
            embed.proj = torch.nn.Conv2d(channels, width, patch, patch)
            self.patch_embeds.append(embed)
            self.decoder_preds.append(torch.nn.Linear(width, patch * patch * channels))
        self.pos_embed = torch.nn.Parameter(torch.randn(1, len(table) + sum(self.counts), width) * 0.02)
        blocks = lambda count, skip: torch.nn.ModuleList(Block(width, heads, ratio, skip) for _ in range(count))
        self.in_blocks, self.out_blocks = blocks(depth // 2, False), blocks(depth // 2, True)
        self.mid_block = Block(width, heads, ratio, False)
        self.norm = torch.nn.LayerNorm(width)

    def forward(self, latents, times):
        kind = self.pos_embed.dtype
        half = self.width // 2
        frequencies = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float64) / half).float()
        angles = torch.stack(times, 1)[:, :, None] * frequencies
        tokens = [torch.cat([angles.cos(), angles.sin()], 2).to(kind)]
        for embed, latent in zip(self.patch_embeds, latents):
            tokens.append(embed.proj(latent.to(kind)).flatten(2).transpose(1, 2))
        x = torch.cat(tokens, 1) + self.pos_embed
        skips = []
        for block in self.in_blocks:
            x = block(x)
            skips.append(x)
        x = self.mid_block(x)
        for block in self.out_blocks:
            x = block(x, skips.pop())
        x = self.norm(x)
        parts = x.split([len(self.table), *self.counts], 1)[1:]
        noise = []
        for m, head, part in zip(self.table, self.decoder_preds, parts):
            (channels, high, wide), patch = m["latent"], m["patch"]
            grid = head(part).view(-1, high // patch, wide // patch, patch, patch, channels)
            noise.append(grid.permute(0, 5, 1, 3, 2, 4).reshape(-1, channels, high, wide))
        return noise


def tensors_of(path):
    """The tensors of a safetensors file in float32."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    found = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            begin, end = (8 + length + at for at in entry["data_offsets"])
            flat = torch.frombuffer(bytearray(data[begin:end]), dtype=torch.float32)
            found[name] = flat.reshape(entry["shape"])
    return found


def check(table):
    """The largest distance from the recorded numbers, as a share of each tensor's largest value."""
    folder = ROOT / "tests/fixtures/parity"
    sizes = json.loads((folder / "config.json").read_text())["denoiser"]
    network = Denoiser(table, sizes["width"], sizes["depth"], sizes["heads"]).eval()
    network.load_state_dict(torch.load(folder / "denoiser.pth", weights_only=True))
    recorded = tensors_of(folder / "expected.safetensors")
    of = lambda part: [recorded[f"forward.{part}.{m['key']}"] for m in table]
    with torch.inference_mode():
        found = network(of("in"), of("t"))
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(found, of("out")))


def timed(network, inputs, autocast, repeats):
    """Median seconds of an evaluation, after one that is not timed."""
    seconds = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        network(*inputs)
        for _ in range(repeats):
            begun = time.perf_counter()
            network(*inputs)
            seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)


def ours(program, precision, repeats):
    command = [program, "bench", "--json", "--precision", precision, "--repeats", str(repeats)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("copgen", help="the program, built for release")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3, help="evaluations in a round, of which the median counts")
    parser.add_argument("--precisions", default="f32,bf16,i16", help="of this program")
    parser.add_argument("--without-compiled", action="store_true", help="leave torch.compile out: it needs a C++ compiler")
    parser.add_argument("--without-bfloat16", action="store_true", help="leave it out where the processor lacks it: it takes minutes")
    options = parser.parse_args()
    chosen = [name for name in os.environ if name.startswith(("OPENBLAS_", "MKL_", "OMP_"))]
    if chosen:
        sys.exit(f"Unset {', '.join(chosen)} first: PyTorch is measured as it comes.")
    # The network has the modalities in the order of their keys.
    table = sorted(json.loads((ROOT / "src/modality/published.json").read_text()), key=lambda m: m["key"])
    error = check(table)
    print(f"recorded numbers: {error:.1e} off")
    if error > 1e-5:
        sys.exit("This network is not the published one: nothing is measured.")
    torch.manual_seed(1)
    inputs = [[torch.randn(1, *m["latent"]) for m in table], [torch.full((1,), 500.0) for _ in table]]
    network = Denoiser(table, 1024, 20, 16).eval()
    runs = {"PyTorch float32, eager": (network, False)}
    if not options.without_compiled:
        runs["PyTorch float32, compiled"] = (torch.compile(network), False)
    if not options.without_bfloat16:
        halves = Denoiser(table, 1024, 20, 16).eval().bfloat16()
        runs["PyTorch bfloat16, eager"] = (halves, False)
        if not options.without_compiled:
            runs["PyTorch bfloat16, compiled"] = (torch.compile(halves), False)
        runs["PyTorch bfloat16 autocast, eager"] = (network, True)
    found = {}
    for _ in range(options.rounds):
        for name, (run, autocast) in runs.items():
            found.setdefault(name, []).append(timed(run, inputs, autocast, options.repeats))
        for precision in options.precisions.split(","):
            measured = ours(options.copgen, precision, options.repeats)
            name = f"COP-GEN Explorer {precision} ({measured['instructions']})"
            found.setdefault(name, []).append(measured["seconds_per_evaluation"])
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}")
    best = lambda start: min(statistics.median(v) for name, v in found.items() if name.startswith(start))
    rivals = {"float32": best("PyTorch float32")}
    if not options.without_bfloat16:
        rivals["bfloat16"] = best("PyTorch bfloat16")
    print(f"| | seconds | range | {' | '.join(f'÷ best PyTorch {kind}' for kind in rivals)} |")
    print("|---|---:|---:|" + "---:|" * len(rivals))
    for name, seconds in found.items():
        middle = statistics.median(seconds)
        ratios = " | ".join(f"{middle / rival:.2f}" for rival in rivals.values())
        print(f"| {name} | {middle:.2f} | {min(seconds):.2f}–{max(seconds):.2f} | {ratios} |")


if __name__ == "__main__":
    main()
