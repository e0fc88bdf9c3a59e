"""Settings of small decoders of many kinds, and which of them are run without padding."""

WINDOW = 4
LLAMA = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
NEOX = {key: value for key, value in LLAMA.items() if key != "num_key_value_heads"}
WIDE = {**LLAMA, "head_dim": 6}
LAYERS = ["sliding_attention", "full_attention"]
SETTINGS = {
    "llama": LLAMA,
    "qwen3": WIDE,
    "gemma3_text": {**WIDE, "sliding_window": WINDOW, "layer_types": LAYERS, "final_logit_softcapping": 3.0},
    "mistral": {**LLAMA, "sliding_window": WINDOW},
    "qwen2": {**LLAMA, "sliding_window": WINDOW, "use_sliding_window": True, "layer_types": LAYERS},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "gpt_neox": NEOX,
    "opt": {
        "hidden_size": 16,
        "ffn_dim": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "word_embed_proj_dim": 16,
    },
    "cohere": {**LLAMA, "logit_scale": 0.3},
    "granite": {**LLAMA, "logits_scaling": 3.0, "attention_multiplier": 0.3},
    # What is not run without padding, as it is not all there for a kernel to see:
    "gemma2": {**WIDE, "sliding_window": 64, "final_logit_softcapping": 3.0},
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2},
    "lfm2": {**LLAMA, "layer_types": ["conv", "full_attention"]},
    "jamba": {**LLAMA, "mamba_d_state": 4, "num_experts": 1, "attn_layer_period": 2, "attn_layer_offset": 1},
}
PADDED = ("gemma2", "bloom", "lfm2", "jamba")
UNPADDED = tuple(name for name in SETTINGS if name not in PADDED)
