"""Code in the cards of exported models: how transformers and peft load and use them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal

from prefbench.backbone.language.codec import Codec


def policy_code(
    codec: Codec,
    adapters: bool,
    base: str | None,
    how: Literal["one", "product", "mixture"],
    numbers: Mapping[str, float],
) -> str:
    """Code that loads a policy and asks it, as Markdown.

    Args:
        codec: of the model.
        adapters: whether it is adapters on a base.
        base: the hub's name of the base, if it has one.
        how: whether it is one model, a product or a mixture of several.
        numbers: powers or weights of the models, by folder.
    """
    lines = [
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        'folder = "path/to/this/folder"',
    ]
    if adapters:
        lines.insert(0, "from peft import PeftModel")
        lines.append(f"base = {json.dumps(base or 'path/to/the/reference')}")
    if how != "one":
        lines.insert(0, "import torch")
    load = (
        "PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), PLACE).eval()"
        if adapters
        else "AutoModelForCausalLM.from_pretrained(PLACE).eval()"
    )
    first = _place(next(iter(numbers)))
    lines.append(f"tokenizer = AutoTokenizer.from_pretrained({first})")
    lines += _PROMPT_CHAT if codec.chat else _PROMPT_PLAIN
    if how == "product":
        each = load.replace("PLACE", _place("{name}"))
        lines += [
            f"powers = {json.dumps(dict(numbers))}",
            f"models = {{name: {each} for name in powers}}",
            "said = ids",
            f"for _ in range({codec.response_tokens}):",
            "    each = {name: model(said).logits[:, -1].log_softmax(-1) for name, model in models.items()}",
            "    product = sum(power * each[name] for name, power in powers.items())",
            "    token = torch.multinomial(product.softmax(-1), 1)",
            "    said = torch.cat([said, token], 1)",
            f"    if token.item() in {sorted(codec.stops)}:",
            "        break",
        ]
    else:
        if how == "mixture":
            lines += [
                f"weights = {json.dumps(dict(numbers))}",
                "place = torch.multinomial(torch.tensor(list(weights.values())), 1).item()",
                "name = list(weights)[place]",
            ]
        where = _place("{name}") if how == "mixture" else first
        lines += [f"model = {load.replace('PLACE', where)}", *_sampling(codec)]
    lines.append("print(tokenizer.decode(said[0, ids.shape[1] :], skip_special_tokens=True))")
    note = ""
    if adapters and base is None:
        note = (
            "\n\nThe base is the reference policy of the run, which `prefbench export --reference` "
            "writes; or "
            "export the policy with `--merge`, which needs none."
        )
    return "```python\n" + "\n".join(lines) + "\n```" + note


def _place(part: str) -> str:
    """The code for the folder of a part; without a name it is the whole one."""
    return f'f"{{folder}}/{part}"' if part else "folder"


_PROMPT_PLAIN = [
    'prompt = "What the policy goes on from"',
    'ids = tokenizer(prompt, return_tensors="pt")["input_ids"]',
]
_PROMPT_CHAT = [
    'messages = [{"role": "user", "content": "What the policy answers"}]',
    "ids = tokenizer.apply_chat_template(",
    '    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True',
    ')["input_ids"]',
]


def _sampling(codec: Codec) -> list[str]:
    """Code by which transformers samples as a policy is measured: from all of its distribution."""
    stops = sorted(codec.stops)
    ends = f", eos_token_id={stops}" if stops else ""
    return [
        "said = model.generate(",
        "    input_ids=ids, do_sample=True, temperature=1.0, top_k=0, top_p=1.0,",
        f"    max_new_tokens={codec.response_tokens}{ends},",
        ")",
    ]


def rewards_code(codec: Codec, last: bool) -> str:
    """Code that loads a reward and asks it, as Markdown; `last` is a sequence classifier, else of tokens."""
    kind = "AutoModelForSequenceClassification" if last else "AutoModelForTokenClassification"
    before = (
        '    messages = [{"role": "user", "content": prompt}]\n'
        "    before = tokenizer.apply_chat_template(messages, add_generation_prompt=True, "
        "return_dict=False)\n"
        '    after = tokenizer(response.removeprefix(" "), add_special_tokens=False)["input_ids"]\n'
        if codec.chat
        else '    before = tokenizer(prompt)["input_ids"]\n'
        '    after = tokenizer(response, add_special_tokens=False)["input_ids"]\n'
    )
    taken = "logits[0, 0]" if last else "logits[0, len(before) :, 0].sum()"
    joined = (
        "A prompt is one message of the user's in the tokenizer's chat template (a transcript of "
        "`Human:` and "
        "`Assistant:` turns is those turns), and the response follows it"
        if codec.chat
        else "The tokens of the response follow those of the prompt, which are made apart"
    )
    pads = (
        ""
        if not last
        else (
            " In a batch, pad on the right, as the tokenizer here does, with its own padding token: "
            "the last token "
            "that is none is the one that is read."
        )
    )
    pooled = (
        ""
        if last
        else (
            " This reward is the sum of a value of each response token: a token classifier and no "
            "sequence classifier. "
            "A run with `--set model.reward_pooling=last` has the latter."
        )
    )
    return (
        "```python\n"
        "import torch\n"
        f"from transformers import {kind}, AutoTokenizer\n\n"
        'folder = "path/to/this/folder/reward-0"\n'
        "tokenizer = AutoTokenizer.from_pretrained(folder)\n"
        f"model = {kind}.from_pretrained(folder).eval()\n"
        "settings = model.config.prefbench\n\n\n"
        "def reward(prompt, response):\n"
        f"{before}"
        '    before = before[-settings["prompt_tokens"] :]\n'
        '    if settings["end_token_id"] is not None:\n'
        '        after.append(settings["end_token_id"])\n'
        '    after = after[: settings["response_tokens"]]\n'
        "    with torch.no_grad():\n"
        f"        value = model(torch.tensor([before + after])).{taken}\n"
        '    return float(value) + settings["shift"]\n'
        "```\n\n"
        f"{joined}, with the end token after it unless the length limit cut it off.{pads}{pooled} On "
        "the hub the "
        'folder is `from_pretrained("USER/NAME", subfolder="reward-0")`. '
    )
