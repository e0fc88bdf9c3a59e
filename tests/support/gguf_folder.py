"""A tiny model in one GGUF file, tokenizer and all."""

import json

import gguf
import numpy as np

from support.tiny import tiny_tokenizer


def write_gguf(folder, blocks, *more):
    """A Llama of two layers whose file says that it has `blocks`, with `more` weights beside its own.

    All weights are equal, so that every token is as likely as any other.
    """
    tokenizer, (width, inner) = tiny_tokenizer(), (16, 24)
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    folder.mkdir()
    writer = gguf.GGUFWriter(folder / "tiny.gguf", "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_block_count(blocks)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // 4)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_merges([" ".join(merge) for merge in merges])
    for add in (writer.add_bos_token_id, writer.add_eos_token_id, writer.add_pad_token_id):
        add(tokenizer.eos_token_id)
    shapes = {"token_embd": (len(tokens), width), "output": (len(tokens), width), "output_norm": (width,)}
    for block in (f"blk.{layer}" for layer in range(2)):
        shapes |= {f"{block}.attn_{name}": (width, width) for name in ("q", "k", "v", "output")}
        shapes |= {f"{block}.{name}": (inner, width) for name in ("ffn_gate", "ffn_up")}
        shapes |= {f"{block}.ffn_down": (width, inner), f"{block}.ffn_norm": (width,)}
        shapes |= {f"{block}.attn_norm": (width,)}
    for name, shape in (shapes | dict.fromkeys(more, (4,))).items():
        writer.add_tensor(f"{name}.weight", np.full(shape, 0.1, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder
