"""Runs a checkpoint's own processor over a conversation."""

from pathlib import Path

import torch
from transformers import Qwen3OmniMoeProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from . import media

CHECKPOINTS = Path(__file__).resolve().parents[2] / "testdata" / "checkpoints"


def load_processor(name: str) -> Qwen3OmniMoeProcessor:
    """The checkpoint's processor, with Pillow's resampling for images (videos have a torchvision path only)."""
    processor = Qwen3OmniMoeProcessor.from_pretrained(CHECKPOINTS / name)
    pil = Qwen2VLImageProcessorPil.from_pretrained(CHECKPOINTS / name)
    processor.image_processor = pil
    return processor


def run(processor: Qwen3OmniMoeProcessor, messages: list[dict], config) -> dict:
    """Returns the rendered text and the processor's outputs, all videos of one conversation sharing one `fps`.

    A video's audio is loaded when any video has it, which is how `use_audio_in_video` works: for all or none.
    """
    parts = [part for message in messages for part in message["content"]]
    images = [media.image(p["width"], p["height"], p["seed"]) for p in parts if p["type"] == "image"]
    clips = [p for p in parts if p["type"] == "video"]
    videos = [media.video(p["width"], p["height"], p["frames"], p["seed"]) for p in clips]
    in_video = any(p["audioSamples"] for p in clips)
    audio, sources = [], []
    for part in parts:
        if part["type"] == "audio":
            audio.append(media.audio(part["samples"], part["seed"]))
            sources.append(None)
        elif part["type"] == "video" and in_video:
            audio.append(media.audio(part["audioSamples"], part["seed"]))
            sources.append(clips.index(part))
    rendered = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    kwargs: dict = {}
    if images:
        kwargs["images"] = images
    if videos:
        kwargs |= dict(videos=videos, fps=clips[0]["fps"], videos_kwargs={"cap_pixels_per_frame": False})
    if audio:
        kwargs["audio"] = audio
    if in_video:
        kwargs |= dict(load_audio_from_video=True, audio_from_video_indices=sources)
    # An attribute, because `__call__` of this version drops the argument of the same name.
    processor.n_window = config.thinker_config.audio_config.n_window
    outputs = processor(
        text=[rendered],
        return_tensors="pt",
        position_id_per_seconds=config.thinker_config.position_id_per_seconds,
        **kwargs,
    )
    return {"text": rendered, "outputs": outputs, "use_audio_in_video": in_video}


def positions(model, processed: dict) -> tuple[torch.Tensor, float]:
    """`get_rope_index` of the thinker: positions [3, tokens] and the first generated token's position.

    `generate` continues from the last prompt position (`_update_model_kwargs_for_generation`), not from the largest
    plus 1 (`rope_deltas`).
    """
    outputs = processed["outputs"]
    mask = outputs.get("feature_attention_mask")
    position_ids, _ = model.thinker.get_rope_index(
        outputs["input_ids"],
        outputs.get("image_grid_thw"),
        outputs.get("video_grid_thw"),
        outputs["attention_mask"],
        processed["use_audio_in_video"],
        None if mask is None else mask.sum(-1),
        outputs.get("video_second_per_grid"),
    )
    return position_ids[:, 0], float(position_ids[0, 0, -1]) + 1
