"""Goldens of the model's input: token ids, positions, log-mel, patches.

Run: python -m omniserve_reference.qwen2_5.make_processor_goldens
"""

import numpy as np
import torch

from .. import media
from ..golden_file import GoldenFile
from ..make_processor_goldens import sampled
from .conversations import CONVERSATIONS, spoken
from .processing import load_model, load_processor, positions, run

IMAGES = [(37, 53), (100, 75), (640, 481), (1000, 33), (16, 16), (333, 222), (28, 700), (257, 255), (1920, 1080)]
AUDIO_SAMPLES = [480, 1600, 4800, 15999, 16000, 16160, 37520, 160000, 976000]
CLIPS = [(64, 48, 2), (64, 48, 5), (200, 300, 4), (1280, 720, 2)]
SPOKEN = ["unicode", "mixed"]


def conversation(golden: GoldenFile, processor, model, name: str, messages: list[dict]) -> dict:
    processed = run(processor, messages)
    ids = processed["outputs"]["input_ids"][0]
    position_ids, next_position = positions(model, processed)
    golden.put(f"conversation.{name}.positions", position_ids, np.int32)
    golden.put(f"conversation.{name}.tokens", ids, np.int32)
    mels = []
    if "input_features" in processed["outputs"]:
        masks = processed["outputs"]["feature_attention_mask"]
        for index, (mel, mask) in enumerate(zip(processed["outputs"]["input_features"].numpy(), masks)):
            frames = int(mask.sum())
            mels.append({"frames": frames, **sampled(golden, f"conversation.{name}.mel.{index}", mel[:, :frames])})
    return {
        "name": name, "messages": messages, "useAudioInVideo": processed["use_audio_in_video"],
        "text": processed["text"], "tokens": len(ids), "nextPosition": next_position, "mels": mels,
        "imageGrids": processed["outputs"].get("image_grid_thw", torch.zeros(0, 3)).tolist(),
        "videoGrids": processed["outputs"].get("video_grid_thw", torch.zeros(0, 3)).tolist(),
    }  # fmt: skip


def main() -> None:
    for name in ("tiny25-grouped", "tiny25-even"):
        golden = GoldenFile(f"processor/{name}")
        processor, model = load_processor(name), load_model(name)
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
                media.audio(samples, 1), sampling_rate=16000, padding="max_length", return_attention_mask=True,
                return_tensors="np",
            )  # fmt: skip
            frames = int(out["attention_mask"].sum())
            facts["audio"].append(
                {"samples": samples, "seed": 1, "frames": frames, "tokens": ((frames - 1) // 2 + 1 - 2) // 2 + 1,
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
        facts["conversations"] = [
            conversation(golden, processor, model, case, messages) for case, messages in CONVERSATIONS.items()
        ]
        # The same with speech.
        facts["spoken"] = [
            {
                **conversation(golden, processor, model, f"spoken.{case}", spoken(CONVERSATIONS[case])),
                "asked": CONVERSATIONS[case],
            }
            for case in SPOKEN
        ]
        golden.save()


if __name__ == "__main__":
    main()
