"""Loads a tiny checkpoint and runs its own processor over a conversation."""

import json
from pathlib import Path

import torch
from transformers import PreTrainedModel, Qwen2_5OmniForConditionalGeneration, Qwen2_5OmniProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from .. import media
from ..processing import CHECKPOINTS


def load_model(name: str) -> Qwen2_5OmniForConditionalGeneration:
    folder = CHECKPOINTS / name
    # The class's own loader demands spk_dict.pt of checkpoints without speech.
    model = PreTrainedModel.from_pretrained.__func__(
        Qwen2_5OmniForConditionalGeneration, folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    if model.has_talker:
        model.load_speakers(folder / "spk_dict.pt")
    return model


def load_processor(name: str) -> Qwen2_5OmniProcessor:
    """The checkpoint's processor, with Pillow's resampling for images (videos have a torchvision path only)."""
    processor = Qwen2_5OmniProcessor.from_pretrained(CHECKPOINTS / name)
    processor.image_processor = Qwen2VLImageProcessorPil.from_pretrained(CHECKPOINTS / name)
    config = json.loads((Path(CHECKPOINTS) / name / "config.json").read_text())["thinker_config"]
    processor.position_id_per_seconds = config["position_id_per_seconds"]
    processor.seconds_per_chunk = config["seconds_per_chunk"]
    return processor


def run(processor: Qwen2_5OmniProcessor, messages: list[dict]) -> dict:
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
        kwargs |= dict(videos=videos, fps=clips[0]["fps"])
    if audio:
        kwargs["audio"] = audio
    if in_video:
        kwargs |= dict(load_audio_from_video=True, audio_from_video_indices=sources)
    outputs = processor(
        text=[rendered],
        return_tensors="pt",
        position_id_per_seconds=processor.position_id_per_seconds,
        seconds_per_chunk=float(processor.seconds_per_chunk),
        **kwargs,
    )
    return {"text": rendered, "outputs": outputs, "use_audio_in_video": in_video}


def positions(model, processed: dict) -> tuple[torch.Tensor, float]:
    """`get_rope_index` of the thinker: positions [3, tokens] and the first generated token's position.

    `generate` continues from the last prompt position (`_update_model_kwargs_for_generation`).
    """
    outputs = processed["outputs"]
    mask = outputs.get("feature_attention_mask")
    position_ids, _ = model.thinker.model.get_rope_index(
        outputs["input_ids"],
        outputs.get("image_grid_thw"),
        outputs.get("video_grid_thw"),
        outputs["attention_mask"],
        processed["use_audio_in_video"],
        None if mask is None else mask.sum(-1),
        outputs.get("video_second_per_grid"),
    )
    return position_ids[:, 0], float(position_ids[:, 0, -1].max()) + 1
