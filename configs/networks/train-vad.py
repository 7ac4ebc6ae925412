#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright the nightbench authors
"""Trains the voice-activity network that campaigns run, and writes it in integers.

    OMP_WAIT_POLICY=passive configs/networks/train-vad.py --train data/vad-train.nbds --test data/vad-test.nbds \
        --out configs/networks/adelia-vad-w9

Reads data sets as nightbench-data writes them (chip/dataset.h). Trains in float, then with the quantisation in the
loop, then evaluates the integers themselves: the accuracy in the written file is that of exact integer arithmetic
on the written weights, not of the float network. The test set is looked at once, at the end; nothing is selected
by it. Needs Debian's python3-torch and python3-numpy, and libopenblas0-pthread for speed.

Integer arithmetic, per layer and output channel (chip/ implements the same):
    acc = sum of weight * input          exact integers; convolution pads with code 0
    m   = (input_scale * weight_scale[channel]) / output_scale          in double, in this order
    y   = floor(acc * m + 0.5) + bias[channel]
hidden layers clamp y to 0..255 (that is their ReLU), the last one to -32767..32767. Inputs are the data set's u8
codes, scale 1/255. Tensors are HWC; weights are [out][kernel row][kernel column][in], fully connected [out][in].
"""
import argparse
import hashlib
import json
import math
import os
import struct
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

INPUT_SHAPE = (13, 64, 1)
# name, output channels, stride (mel, time); kernels are 3x3, padding 1
CONVS = (("conv1", 18, (2, 2)), ("conv2", 18, (1, 1)), ("conv3", 18, (2, 1)), ("conv4", 20, (2, 2)),
         ("conv5", 44, (2, 2)))
HIDDEN = 24
CLASSES = ("noise", "speech")
WEIGHT_BITS = 9
WEIGHT_MAX = 219  # three digits of -4..3, base 8, reach -292..219: the symmetric part
INPUT_SCALE = 1.0 / 255
PARAMETERS, MACS = 25794, 1238256  # as published for the chip; checked below
ROLL_FRAMES = 6
CALIBRATION_EXAMPLES = 2000
CALIBRATION_QUANTILE = 0.9995


def load_dataset(path):
    """Returns a dict of numpy arrays and the description of an .nbds file."""
    raw = open(path, "rb").read()
    if raw[:8] != b"NBDATA1\n" or hashlib.sha256(raw[:-32]).digest() != raw[-32:]:
        sys.exit(f"{path}: is no intact data set; build it with nightbench-data")
    count, height, width, channels = struct.unpack_from("<4I", raw, 8)
    if (height, width, channels) != INPUT_SHAPE:
        sys.exit(f"{path}: samples are {height}x{width}x{channels}, the network takes {INPUT_SHAPE}")
    index = np.frombuffer(raw, np.dtype([("label", "u1"), ("pad", "u1"), ("source", "<u2"), ("clip", "<u4"),
                                         ("snr_db", "<f4")]), count, 40)
    at = 40 + count * index.itemsize
    codes = np.frombuffer(raw, np.uint8, count * height * width, at).reshape(count, 1, height, width)
    at += codes.size
    length, = struct.unpack_from("<I", raw, at)
    about = json.loads(raw[at + 4:at + 4 + length])
    if tuple(about["classes"]) != CLASSES:
        sys.exit(f"{path}: classes are {about['classes']}, the network has {CLASSES}")
    return {"codes": torch.from_numpy(codes.copy()), "label": torch.from_numpy(index["label"].astype(np.int64)),
            "source": index["source"], "snr_db": index["snr_db"], "about": about, "sha256": raw[-32:].hex()}


def check_disjoint(train, test):
    shared = {s["package"] for s in train["about"]["sources"]} & {s["package"] for s in test["about"]["sources"]}
    if shared:
        sys.exit(f"packages in both sets: {', '.join(sorted(shared))}; the accuracy would mean nothing")


class Layer(torch.nn.Module):
    """Convolution or fully connected layer that can run in float or with its quantisation in the loop."""

    def __init__(self, name, op, shape_in, shape_out, stride=None):
        super().__init__()
        self.name, self.op, self.shape_in, self.shape_out, self.stride = name, op, shape_in, shape_out, stride
        self.last = False
        size = (shape_out[2], shape_in[2], 3, 3) if op == "conv" else (shape_out[2], math.prod(shape_in))
        fan_in = math.prod(size[1:])
        self.weight = torch.nn.Parameter(torch.randn(size) * math.sqrt(2 / fan_in))
        self.bias = torch.nn.Parameter(torch.zeros(size[0]))
        self.output_scale = None  # a number once calibrated

    def linear(self, x, weight):
        if self.op == "conv":
            return F.conv2d(x, weight, None, self.stride, 1)
        return F.linear(x, weight)

    def shaped(self, per_channel):
        return per_channel.view(1, -1, 1, 1) if self.op == "conv" else per_channel.view(1, -1)

    def weight_scale(self):
        peak = self.weight.detach().flatten(1).abs().amax(1)
        return torch.clamp(peak, min=1e-6) / WEIGHT_MAX

    def integer_weight(self):
        scale = self.weight_scale().view(-1, *[1] * (self.weight.dim() - 1))
        return torch.clamp(torch.round(self.weight / scale), -WEIGHT_MAX, WEIGHT_MAX), scale

    def forward(self, x, quantised):
        if not quantised:
            z = self.linear(x, self.weight) + self.shaped(self.bias)
            return z if self.last else F.relu(z)
        integer, scale = self.integer_weight()
        weight = self.weight + (integer * scale - self.weight).detach()
        step = self.output_scale
        bias = self.bias + (torch.clamp(torch.round(self.bias / step), -128, 127) * step - self.bias).detach()
        z = self.linear(x, weight)
        z = z + (torch.floor(z / step + 0.5) * step - z).detach() + self.shaped(bias)
        return z if self.last else torch.clamp(z, 0, 255 * step)


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        layers = []
        shape = INPUT_SHAPE
        for name, channels, stride in CONVS:
            out = (-(-shape[0] // stride[0]), -(-shape[1] // stride[1]), channels)
            layers.append(Layer(name, "conv", shape, out, stride))
            shape = out
        layers.append(Layer("fc1", "fc", shape, (1, 1, HIDDEN)))
        layers.append(Layer("fc2", "fc", (1, 1, HIDDEN), (1, 1, len(CLASSES))))
        layers[-1].last = True
        self.layers = torch.nn.ModuleList(layers)

    def forward(self, codes, quantised=False, watch=None):
        x = codes.float() * INPUT_SCALE
        for layer in self.layers:
            if layer.op == "fc" and x.dim() == 4:
                x = x.permute(0, 2, 3, 1).flatten(1)  # HWC
            x = layer(x, quantised)
            if watch is not None:
                watch.append(x)
        return x

    def counts(self):
        parameters = sum(p.numel() for p in self.parameters())
        macs = sum(layer.weight.numel() * (math.prod(layer.shape_out[:2]) if layer.op == "conv" else 1)
                   for layer in self.layers)
        return parameters, macs


def roll(codes):
    shift = int(torch.randint(-ROLL_FRAMES, ROLL_FRAMES + 1, ()))
    return torch.roll(codes, shift, 3)


def train(network, data, epochs, batch, rate, quantised):
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-4)
    count = len(data["label"])
    steps = epochs * (count // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for epoch in range(epochs):
        start, total = time.monotonic(), 0.0
        order = torch.randperm(count)
        for i in range(0, count - batch + 1, batch):
            pick = order[i:i + batch]
            logits = network(roll(data["codes"][pick]), quantised)
            loss = F.cross_entropy(logits, data["label"][pick], label_smoothing=0.02)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += float(loss)
        print(f"{'quantised' if quantised else 'float'} epoch {epoch + 1}/{epochs}: loss "
              f"{total / (count // batch):.4f}, {time.monotonic() - start:.1f} s", flush=True)


def calibrate(network, data):
    """Output scales from training examples; a bias must fit in a signed byte of output steps."""
    watch = []
    with torch.no_grad():
        network(data["codes"][:CALIBRATION_EXAMPLES], watch=watch)
    for layer, out in zip(network.layers, watch):
        bias_step = float(layer.bias.detach().abs().max()) / 127
        if layer.last:
            layer.output_scale = max(bias_step, 4 * float(out.abs().max()) / 32767)
        else:
            values = np.sort(out.flatten().numpy())
            top = float(values[int(CALIBRATION_QUANTILE * (len(values) - 1))])
            layer.output_scale = max(bias_step, top / 255)


def export(network, out, training):
    """The network as the two files' content: the description, and all weights as int16."""
    layers, blobs, offset = [], [], 0
    for layer in network.layers:
        weight = layer.integer_weight()[0].detach()
        if layer.op == "conv":
            weight = weight.permute(0, 2, 3, 1)
        blob = weight.numpy().astype("<i2")
        bias = torch.clamp(torch.round(layer.bias.detach() / layer.output_scale), -128, 127)
        item = {"name": layer.name, "op": layer.op, "in": list(layer.shape_in), "out": list(layer.shape_out)}
        if layer.op == "conv":
            item.update(kernel=[3, 3], stride=list(layer.stride), pad=[1, 1])
        item.update(activation="none" if layer.last else "relu", output="i16" if layer.last else "u8",
                    weights={"offset": offset, "count": blob.size}, weight_bits=WEIGHT_BITS,
                    weight_scale=[float(s) for s in layer.weight_scale()],
                    bias=[int(b) for b in bias], output_scale=layer.output_scale)
        layers.append(item)
        blobs.append(blob.tobytes())
        offset += blob.size
    weights = b"".join(blobs)
    name = os.path.basename(out)
    return {"format": "nightbench-network", "version": 1, "name": name,
            "input": {"shape": list(INPUT_SHAPE), "scale": INPUT_SCALE}, "classes": list(CLASSES),
            "layers": layers, "weights_file": name + ".weights",
            "weights_sha256": hashlib.sha256(weights).hexdigest(), "training": training}, weights


def run_integers(description, weights, codes):
    """Logits by the integer arithmetic of the module's text, from the exported content alone. Integers below 2^53
    are exact in double, so that torch's double kernels do integer arithmetic."""
    words = np.frombuffer(weights, "<i2")
    x = codes.double()
    scale = description["input"]["scale"]
    for layer in description["layers"]:
        at, count = layer["weights"]["offset"], layer["weights"]["count"]
        weight = torch.from_numpy(words[at:at + count].astype(np.float64))
        factor = torch.tensor([scale * s / layer["output_scale"] for s in layer["weight_scale"]], dtype=torch.float64)
        bias = torch.tensor(layer["bias"], dtype=torch.float64)
        if layer["op"] == "conv":
            weight = weight.reshape(layer["out"][2], *layer["kernel"], layer["in"][2]).permute(0, 3, 1, 2)
            acc = F.conv2d(x, weight, None, layer["stride"], layer["pad"])
            factor, bias = factor.view(1, -1, 1, 1), bias.view(1, -1, 1, 1)
        else:
            if x.dim() == 4:
                x = x.permute(0, 2, 3, 1).flatten(1)
            acc = F.linear(x, weight.reshape(layer["out"][2], -1))
        y = torch.floor(acc * factor + 0.5) + bias
        x = torch.clamp(y, 0, 255) if layer["output"] == "u8" else torch.clamp(y, -32767, 32767)
        scale = layer["output_scale"]
    return x


def predict(run, data, batch=500):
    with torch.no_grad():
        return torch.cat([run(data["codes"][i:i + batch]).argmax(1) for i in range(0, len(data["label"]), batch)])


def report(title, predicted, data):
    right = (predicted == data["label"]).numpy()
    print(f"{title}: {right.sum()} of {len(right)} right, {100 * right.mean():.2f} %")
    for source, about in enumerate(data["about"]["sources"]):
        mine = data["source"] == source
        print(f"  {about['name']:16s} {right[mine].sum():5d} of {mine.sum():5d}  {100 * right[mine].mean():5.1f} %")
    for low in range(5, 25, 5):
        mine = (data["snr_db"] >= low) & (data["snr_db"] < low + 5)
        if mine.any():
            print(f"  speech at {low}..{low + 5} dB  {100 * right[mine].mean():5.1f} % of {mine.sum()}")
    return int(right.sum())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True, help="data set to learn from")
    parser.add_argument("--test", required=True, help="data set to report on")
    parser.add_argument("--out", required=True, help="writes OUT.json and OUT.weights")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--quantised-epochs", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2, help="results are reproducible for equal thread counts")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    learn, test = load_dataset(options.train), load_dataset(options.test)
    check_disjoint(learn, test)

    network = Network()
    if network.counts() != (PARAMETERS, MACS):
        sys.exit(f"parameters and MACs are {network.counts()}, meant are {(PARAMETERS, MACS)}")
    train(network, learn, options.epochs, 100, 2e-3, quantised=False)
    float_right = report("float", predict(network, test), test)
    calibrate(network, learn)
    train(network, learn, options.quantised_epochs, 100, 4e-4, quantised=True)

    description, weights = export(network, options.out, {})
    right = report("integer", predict(lambda codes: run_integers(description, weights, codes), test), test)
    count = len(test["label"])
    description["training"] = {
        "command": "configs/networks/train-vad.py " + " ".join(
            f"--{key.replace('_', '-')} {value}" for key, value in vars(options).items()),
        "seed": options.seed, "train_set_sha256": learn["sha256"], "test_set_sha256": test["sha256"],
        "float_accuracy": float_right / count, "integer_accuracy": right / count, "integer_correct": right,
        "integer_count": count}
    with open(options.out + ".weights", "wb") as file:
        file.write(weights)
    with open(options.out + ".json", "w", encoding="utf-8") as file:
        json.dump(description, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
