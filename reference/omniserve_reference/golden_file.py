"""Golden outputs: one safetensors file and one JSON file side by side."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parents[2] / "testdata" / "golden"


class GoldenFile:
    def __init__(self, name: str):
        self.path = ROOT / name
        self.tensors: dict[str, np.ndarray] = {}
        self.facts: dict = {}

    def put(self, name: str, value: object, dtype: type = np.float32) -> None:
        array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        self.tensors[name] = np.ascontiguousarray(array.astype(dtype))

    def put_waveform(self, name: str, value: torch.Tensor) -> None:
        """As 16-bit samples: half a step is 1.5e-5, well inside the 1e-4 that the tests allow."""
        self.put(name, np.rint(value.double().numpy() * 32767), np.int16)

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        save_file(self.tensors, self.path.with_suffix(".safetensors"))
        self.path.with_suffix(".safetensors").chmod(0o644)
        self.path.with_suffix(".json").write_text(json.dumps(self.facts, indent=1, ensure_ascii=False) + "\n")
        size = self.path.with_suffix(".safetensors").stat().st_size + self.path.with_suffix(".json").stat().st_size
        print(f"{self.path.name}: {len(self.tensors)} tensors, {size / 1e3:.0f} kB")
