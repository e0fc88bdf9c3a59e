"""Models, settings, sizes and problems that are estimated: small ones to hold against, large ones by name."""

import torch

from prefbench import registry, seeds
from prefbench.backbone.language.backbone import CausalLM
from prefbench.backbone.language.codec import Codec
from prefbench.backbone.language.gpt2 import fuse_activations
from prefbench.backbone.shapes import Shape, shape_of_config
from prefbench.estimate.setting import ModelSetting
from prefbench.learn.interface import Pairs
from prefbench.problem.problem import Group, Problem, Prompts
from prefbench.problem.utilities.content import Conciseness
from prefbench.spec import make_spec
from prefbench.store.stages import Store
from prefbench.store.stages import Work as StageWork
from prefbench.work import Sizes
from support.tiny import tiny_tokenizer

RESPONSE, CONTEXT, RANK, VOCABULARY = 12, 128, 4, 300
PROMPTS = [f"the film was a joy from start to finish and my sister sings number {i}" for i in range(10, 34)]
LONG = " the plot was dull and the music was worse and it runs for three hours or so I think"
PAIRS = Pairs(PROMPTS, [LONG] * len(PROMPTS), [LONG + " x"] * len(PROMPTS))


def new_model(architecture, dtype=torch.float32, layers=4, vocabulary=VOCABULARY):
    """A small model; of Llama's kind with fewer heads of keys and values than of queries."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    ends = {"bos_token_id": 0, "eos_token_id": 0, "vocab_size": vocabulary}
    with seeds.torch_seeded(0, "estimate"):
        if architecture == "gpt2":
            none = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
            config = GPT2Config(n_positions=CONTEXT, n_embd=64, n_layer=layers, n_head=4, **none, **ends)
            return fuse_activations(GPT2LMHeadModel(config).to(dtype))
        config = LlamaConfig(
            max_position_embeddings=CONTEXT,
            hidden_size=64,
            intermediate_size=172,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            **ends,
        )
        return LlamaForCausalLM(config).to(dtype)


def new_backbone(folder, architecture, dtype=torch.float32, lora=True, checkpointing=False, **more):
    return CausalLM(
        new_model(architecture, dtype, **more),
        Codec(tiny_tokenizer(), frozenset({0}), RESPONSE, CONTEXT),
        digest="small",
        store=Store(folder),
        lora={"r": RANK, "lora_alpha": 8} if lora else None,
        policy_learning_rate=1e-3,
        reward_learning_rate=1e-3,
        reward_pooling="last",
        gradient_checkpointing=checkpointing,
        work=StageWork("test", folder),
    )


def shape_of_model(model) -> Shape:
    shape = shape_of_config(model.config.to_dict())
    assert shape is not None
    return shape


def setting_of_backbone(backbone) -> ModelSetting:
    model = backbone.reference.model
    return ModelSetting(
        shape_of_model(model),
        model.dtype.itemsize,
        rank=RANK if backbone.base is not None else None,
        checkpointing=backbone.gradient_checkpointing,
        context=CONTEXT,
    )


def sizes(**changes) -> Sizes:
    given = {
        "train": 24,
        "validation": 4,
        "test": 10,
        "groups": 2,
        "instructed": 0,
        "sampled": True,
        "prompt": 20.0,
        "longest_prompt": 20,
        "text": 30.0,
        "response": RESPONSE,
    }
    return Sizes(**{**given, **changes})


def problem(**changes) -> Problem:
    prompts = Prompts(tuple(f"prompt number {i}" for i in range(20)), ("validate",), ("test one", "test two"))
    groups = (Group("many", 0.8, Conciseness(empty=-8.0)), Group("few", 0.2, Conciseness(empty=-8.0)))
    given = {
        "groups": groups,
        "prompts": prompts,
        "corpus": ("a text of the corpus",),
        "annotators": 4,
        "pairs_per_annotator": 5,
        "temperature": 0.5,
        "response_tokens": 8,
    }
    return Problem(**{**given, **changes})


def spec(preset="tulu2-7b", by="maxmin", **sets):
    registry.load_plugins()
    told = "instruction" in registry.get("aligner", by).needs
    task = "tulu_expertise" if told else "imdb_two_group"
    several = {"labels_per_pair": 2} if "votes" in registry.get("aligner", by).needs else {}
    sets = {**sets, "task": {**several, **sets.get("task", {})}}
    return make_spec(task=task, aligner=by, model=preset, sets=sets)
