"""A random checkpoint of middle size (about 260 million parameters) for timing a whole reply. Not committed.

Run: python -m omniserve_reference.make_mid_checkpoint FOLDER
"""

import sys
from pathlib import Path

from .configs import multimodal_rope, plain_rope, talker, thinker, top
from .make_checkpoints import write_checkpoint


def middle(ids: dict, vocab: int) -> dict:
    text = dict(
        vocab_size=vocab, hidden_size=512, intermediate_size=1024, num_hidden_layers=16, num_attention_heads=8,
        num_key_value_heads=2, head_dim=64, moe_intermediate_size=256, num_experts=32, num_experts_per_tok=4,
        norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[], max_position_embeddings=16384,
        rope_parameters=multimodal_rope(1_000_000, [12, 10, 10]), hidden_act="silu", rms_norm_eps=1e-6,
    )  # fmt: skip
    audio = dict(
        num_mel_bins=128, d_model=256, encoder_layers=6, encoder_attention_heads=4, encoder_ffn_dim=1024, n_window=50,
        n_window_infer=800, downsample_hidden_size=96, output_dim=512, max_source_positions=1500, conv_chunksize=500,
    )  # fmt: skip
    vision = dict(
        depth=6, hidden_size=256, hidden_act="gelu_pytorch_tanh", intermediate_size=1024, num_heads=4, in_channels=3,
        patch_size=16, temporal_patch_size=2, spatial_merge_size=2, out_hidden_size=512, num_position_embeddings=576,
        deepstack_visual_indexes=[1, 3], image_size=384,
    )  # fmt: skip
    talker_text = dict(
        hidden_size=256, intermediate_size=512, num_hidden_layers=6, num_attention_heads=4, num_key_value_heads=2,
        head_dim=64, moe_intermediate_size=128, num_experts=16, num_experts_per_tok=4, norm_topk_prob=True,
        shared_expert_intermediate_size=256, max_position_embeddings=16384,
        rope_parameters=multimodal_rope(1_000_000, [12, 10, 10]), rms_norm_eps=1e-6,
    )  # fmt: skip
    predictor = dict(
        hidden_size=256, intermediate_size=768, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        head_dim=64, max_position_embeddings=256, rope_parameters=plain_rope(1_000_000), rms_norm_eps=1e-6,
    )  # fmt: skip
    code2wav = dict(
        codebook_size=512, hidden_size=256, num_attention_heads=4, num_key_value_heads=4, sliding_window=72,
        intermediate_size=768, num_hidden_layers=4, num_quantizers=16, upsample_rates=[8, 5, 4, 3],
        upsampling_ratios=[2, 2], decoder_dim=512, max_position_embeddings=8000, rms_norm_eps=1e-5,
        rope_parameters=plain_rope(10_000),
    )  # fmt: skip
    return top(
        ids,
        thinker(ids, audio=audio, vision=vision, text=text, tie=False, ids_per_second=13),
        talker(ids, codebook=512, groups=16, text=talker_text, predictor=predictor, hidden=512, accept=8,
               speakers=["ethan", "chelsie"], ids_per_second=13),
        code2wav,
    )  # fmt: skip


if __name__ == "__main__":
    write_checkpoint(
        Path(sys.argv[1]), dict(build=middle, dtype="bfloat16", merges=180, seed=21, rope="rope_parameters")
    )
