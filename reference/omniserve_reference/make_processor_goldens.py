"""Goldens of the model's input: token ids, positions, log-mel, patches.

Run: python -m omniserve_reference.make_processor_goldens
"""

import numpy as np
import torch
from transformers import Qwen3OmniMoeForConditionalGeneration

from . import media
from .conversations import CONVERSATIONS
from .golden_file import GoldenFile
from .processing import CHECKPOINTS, load_processor, positions, run

IMAGES = [(37, 53), (100, 75), (640, 481), (1000, 33), (16, 16), (333, 222), (28, 700), (257, 255)]
AUDIO_SAMPLES = [4800, 8000, 15999, 16000, 16160, 37520, 160000, 480000, 560000]
CLIPS = [(64, 48, 2), (64, 48, 5), (200, 300, 4), (1280, 720, 2)]
STRIDE = 211


def sampled(golden: GoldenFile, name: str, value: np.ndarray) -> dict:
    """Stores the whole array when small, else every 211th value; always the sums."""
    flat = np.ascontiguousarray(value).reshape(-1)
    step = 1 if flat.size <= 8192 else STRIDE
    golden.put(name, flat[::step])
    return {"tensor": name, "shape": list(value.shape), "step": step, "sum": float(flat.sum(dtype=np.float64)),
            "sumOfSquares": float((flat.astype(np.float64) ** 2).sum())}  # fmt: skip


def main() -> None:
    for name in ("tiny-moe", "tiny-mixed"):
        golden = GoldenFile(f"processor/{name}")
        processor = load_processor(name)
        model = Qwen3OmniMoeForConditionalGeneration.from_pretrained(CHECKPOINTS / name, dtype=torch.float32)
        facts = golden.facts
        facts["images"] = []
        for width, height in IMAGES:
            out = processor.image_processor(media.image(width, height, 1), return_tensors="np")
            facts["images"].append(
                {"width": width, "height": height, "seed": 1, "grid": out["image_grid_thw"][0].tolist(),
                 "patches": sampled(golden, f"image.{width}x{height}", out["pixel_values"])}
            )  # fmt: skip
        facts["audio"] = []
        for samples in AUDIO_SAMPLES:
            out = processor.feature_extractor(
                media.audio(samples, 1), sampling_rate=16000, padding=True, truncation=False,
                return_attention_mask=True, return_tensors="np",
            )  # fmt: skip
            frames = int(out["attention_mask"].sum())
            window = model.config.thinker_config.audio_config.n_window
            facts["audio"].append(
                {"samples": samples, "seed": 1, "frames": frames,
                 "tokens": processor._get_num_audio_tokens(samples, n_window=window),
                 "mel": sampled(golden, f"audio.{samples}", out["input_features"][0][:, :frames])}
            )  # fmt: skip
        facts["videos"] = []
        for width, height, frames in CLIPS:
            out = processor.video_processor(
                [media.video(width, height, frames, 1)], size=processor.videos_kwargs["size"],
                cap_pixels_per_frame=False, return_tensors="np",
            )  # fmt: skip
            facts["videos"].append(
                {"width": width, "height": height, "frames": frames, "seed": 1,
                 "grid": out["video_grid_thw"][0].tolist(),
                 "patches": sampled(golden, f"video.{width}x{height}x{frames}", out["pixel_values_videos"])}
            )  # fmt: skip
        facts["conversations"] = []
        for case, messages in CONVERSATIONS.items():
            processed = run(processor, messages, model.config)
            ids = processed["outputs"]["input_ids"][0]
            position_ids, next_position = positions(model, processed)
            golden.put(f"conversation.{case}.positions", position_ids)
            golden.put(f"conversation.{case}.tokens", ids, np.int32)
            # Several audio inputs are padded to the longest before the transform, which changes a shorter one's last
            # frames.
            mels = []
            if "input_features" in processed["outputs"]:
                masks = processed["outputs"]["feature_attention_mask"]
                for index, (mel, mask) in enumerate(zip(processed["outputs"]["input_features"].numpy(), masks)):
                    frames = int(mask.sum())
                    mels.append(
                        {"frames": frames, **sampled(golden, f"conversation.{case}.mel.{index}", mel[:, :frames])}
                    )
            facts["conversations"].append(
                {"name": case, "messages": messages, "useAudioInVideo": processed["use_audio_in_video"],
                 "text": processed["text"], "tokens": len(ids), "nextPosition": next_position,
                 "mels": mels, "imageGrids": processed["outputs"].get("image_grid_thw", torch.zeros(0, 3)).tolist(),
                 "videoGrids": processed["outputs"].get("video_grid_thw", torch.zeros(0, 3)).tolist()}
            )  # fmt: skip
        golden.save()


if __name__ == "__main__":
    main()
