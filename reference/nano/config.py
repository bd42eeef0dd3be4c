"""Geometry, special tokens and voices of nano.

Everything shared by the data makers, the trainers and the exported checkpoint is here.
Reference: transformers `configuration_qwen3_omni_moe.py`; names and roles as in Qwen3-Omni-30B-A3B-Instruct.
"""

from pathlib import Path

HERE = Path(__file__).resolve().parent
WORK = HERE / "work"  # training state, git-ignored

SPECIAL_TOKENS = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
]
PLAIN_ADDED_TOKENS = ["<think>", "</think>"]
LATE_SPECIAL_TOKENS = [
    "<|audio_start|>", "<|audio_end|>", "<tts_pad>", "<tts_text_bos>", "<tts_text_eod>", "<tts_text_bos_single>",
    "<|audio_pad|>",
]

# Codec: 12.5 frames a second, eight residual codebooks of 256.
CODEBOOK = 256
GROUPS = 8
CODEC_PAD, CODEC_BOS, CODEC_EOS = CODEBOOK + 100, CODEBOOK + 101, CODEBOOK + 102
CODEC_NOTHINK, CODEC_THINK_BOS, CODEC_THINK_EOS = CODEBOOK + 107, CODEBOOK + 108, CODEBOOK + 109
FIRST_SPEAKER = CODEBOOK + 200
SAMPLE_RATE = 24000
FRAME = 1920

MIN_PIXELS, MAX_PIXELS = 128 * 128, 160 * 160

# name: (sex, median pitch in Hz, pace in espeak words per minute). From the character of each voice in the public
# voice table:
# young girls high, older men low and slow, sport commentators fast.
VOICES = {
    "Cherry": ("f", 215, 170), "Serena": ("f", 195, 155), "Ethan": ("m", 120, 170), "Chelsie": ("f", 235, 165),
    "Momo": ("f", 255, 175), "Vivian": ("f", 225, 190), "Moon": ("m", 130, 175), "Maia": ("f", 200, 160),
    "Kai": ("m", 110, 145), "Nofish": ("m", 125, 165), "Bella": ("f", 270, 165), "Jennifer": ("f", 190, 165),
    "Ryan": ("m", 135, 190), "Katerina": ("f", 175, 160), "Aiden": ("m", 140, 175), "Eldric Sage": ("m", 85, 140),
    "Mia": ("f", 220, 150), "Mochi": ("m", 200, 170), "Bellona": ("f", 205, 185), "Vincent": ("m", 88, 150),
    "Bunny": ("f", 280, 175), "Neil": ("m", 118, 180), "Elias": ("f", 185, 155), "Arthur": ("m", 92, 135),
    "Nini": ("f", 245, 145), "Ebona": ("f", 165, 130), "Seren": ("f", 185, 140), "Pip": ("m", 225, 185),
    "Stella": ("f", 260, 180), "Bodega": ("m", 112, 190), "Sonrisa": ("f", 210, 190), "Alek": ("m", 98, 160),
    "Dolce": ("m", 105, 145), "Sohee": ("f", 230, 170), "Ono Anna": ("f", 265, 185), "Lenn": ("m", 122, 165),
    "Emilien": ("m", 115, 155), "Andre": ("m", 102, 155), "Radio Gol": ("m", 145, 215), "Jada": ("f", 218, 200),
    "Dylan": ("m", 150, 180), "Li": ("m", 108, 150), "Marcus": ("m", 95, 165), "Roy": ("m", 138, 185),
    "Peter": ("m", 128, 195), "Sunny": ("f", 240, 175), "Eric": ("m", 132, 180), "Rocky": ("m", 116, 175),
    "Kiki": ("f", 228, 180),
}
SPEAKERS = {name.lower(): FIRST_SPEAKER + i for i, name in enumerate(VOICES)}


def model_config(tok):
    """The whole model's configuration as a dict; `tok` maps a token's text to its id."""
    t = tok
    rope = {"rope_theta": 1000000, "rope_type": "default", "mrope_section": [12, 10, 10], "mrope_interleaved": True,
            "interleaved": True}
    shared = {"audio_token_id": t("<|audio_pad|>"), "image_token_id": t("<|image_pad|>"), "video_token_id": t("<|video_pad|>"),
              "audio_start_token_id": t("<|audio_start|>"), "vision_start_token_id": t("<|vision_start|>"),
              "position_id_per_seconds": 13, "seconds_per_chunk": 2, "initializer_range": 0.02}
    return {
        "architectures": ["Qwen3OmniMoeForConditionalGeneration"],
        "model_type": "qwen3_omni_moe",
        "enable_audio_output": True,
        "im_start_token_id": t("<|im_start|>"), "im_end_token_id": t("<|im_end|>"),
        "tts_pad_token_id": t("<tts_pad>"), "tts_bos_token_id": t("<tts_text_bos>"), "tts_eos_token_id": t("<tts_text_eod>"),
        "system_token_id": t("system"), "user_token_id": t("user"), "assistant_token_id": t("assistant"),
        "initializer_range": 0.02,
        "thinker_config": {
            "model_type": "qwen3_omni_moe_thinker", **shared,
            "audio_end_token_id": t("<|audio_end|>"), "vision_end_token_id": t("<|vision_end|>"), "user_token_id": t("user"),
            "tie_word_embeddings": False,
            "audio_config": {
                "model_type": "qwen3_omni_moe_audio_encoder", "d_model": 192, "encoder_layers": 3, "num_hidden_layers": 3,
                "encoder_attention_heads": 6, "encoder_ffn_dim": 512, "downsample_hidden_size": 48, "num_mel_bins": 128,
                "max_source_positions": 1500, "n_window": 50, "n_window_infer": 800, "conv_chunksize": 500,
                "output_dim": 256, "activation_function": "gelu",
            },
            "vision_config": {
                "model_type": "qwen3_omni_moe_vision_encoder", "depth": 4, "hidden_size": 128, "intermediate_size": 384,
                "num_heads": 4, "in_channels": 3, "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2,
                "out_hidden_size": 256, "num_position_embeddings": 100, "deepstack_visual_indexes": [1],
                "hidden_act": "gelu_pytorch_tanh",
            },
            "text_config": {
                "model_type": "qwen3_omni_moe_text", "vocab_size": t(None), "hidden_size": 256, "intermediate_size": 192,
                "moe_intermediate_size": 192, "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2,
                "head_dim": 64, "num_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": True, "hidden_act": "silu",
                "max_position_embeddings": 8192, "rms_norm_eps": 1e-6, "rope_parameters": dict(rope), "decoder_sparse_step": 1,
                "mlp_only_layers": [], "router_aux_loss_coef": 0.001, "tie_word_embeddings": False, "use_cache": True,
            },
        },
        "talker_config": {
            **{k: v for k, v in shared.items()},
            "num_code_groups": GROUPS, "thinker_hidden_size": 256, "accept_hidden_layer": 4, "spatial_merge_size": 2,
            "codec_pad_id": CODEC_PAD, "codec_bos_id": CODEC_BOS, "codec_eos_token_id": CODEC_EOS,
            "codec_nothink_id": CODEC_NOTHINK, "codec_think_bos_id": CODEC_THINK_BOS, "codec_think_eos_id": CODEC_THINK_EOS,
            "speaker_id": dict(SPEAKERS), "tie_word_embeddings": False,
            "text_config": {
                "model_type": "qwen3_omni_moe_talker_text", "vocab_size": CODEBOOK + 1024, "hidden_size": 256,
                "intermediate_size": 512, "moe_intermediate_size": 128, "shared_expert_intermediate_size": 384,
                "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64,
                "num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": True, "hidden_act": "silu",
                "max_position_embeddings": 8192, "rms_norm_eps": 1e-6, "rope_parameters": dict(rope), "decoder_sparse_step": 1,
                "mlp_only_layers": [], "router_aux_loss_coef": 0.001, "tie_word_embeddings": False, "use_cache": True,
            },
            "code_predictor_config": {
                "model_type": "qwen3_omni_moe_talker_code_predictor", "vocab_size": CODEBOOK, "hidden_size": 256,
                "intermediate_size": 384, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                "head_dim": 64, "hidden_act": "silu", "max_position_embeddings": 64, "num_code_groups": GROUPS,
                "rms_norm_eps": 1e-6, "rope_parameters": {"rope_theta": 1000000, "rope_type": "default"},
                "tie_word_embeddings": False, "use_cache": True,
            },
        },
        "code2wav_config": {
            "codebook_size": CODEBOOK, "num_quantizers": GROUPS, "hidden_size": 192, "intermediate_size": 384,
            "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 3, "sliding_window": 12,
            "max_position_embeddings": 8000, "rope_parameters": {"rope_theta": 10000, "rope_type": "default"},
            "layer_scale_initial_scale": 0.1, "rms_norm_eps": 1e-5, "hidden_act": "silu", "attention_bias": False,
            "decoder_dim": 128, "upsample_rates": [8, 5, 4, 3], "upsampling_ratios": [2, 2],
        },
    }
