"""The search of a site in a folder: what is a worker elsewhere runs in a hidden frame, and answers."""

import shutil

import pytest

from support.browser import BROWSER, Browser
from support.pages import ROOT

PAGE = """<!doctype html><body><script src="iframe-worker.js"></script></body>"""
WORKER = """addEventListener("message", async ({ data }) => {
  if (data.read) await importScripts(...data.read);
  postMessage({ asked: data, known: globalThis.known ?? null });
});"""
ASKED = """(async () => {
  const worker = new Worker(new URL("worker.js", location));
  const answers = [];
  const all = new Promise((resolve) => worker.addEventListener("message", ({ data }) => {
    if (answers.push(data) === 2) resolve();
  }));
  worker.postMessage({ query: "one" });
  const read = ["one.js", "two.js"].map((name) => new URL(name, location).href);
  worker.postMessage({ query: "two", read });
  await all;
  worker.terminate();
  return [answers, document.querySelectorAll("iframe").length, typeof known];
})()"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium: install the package chromium")
def test_a_worker_answers_where_there_is_no_server(tmp_path):
    shutil.copy(ROOT / "docs" / "iframe-worker.js", tmp_path)
    files = {"page.html": PAGE, "worker.js": WORKER, "one.js": "known = 1;", "two.js": "known += 1;"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    browser = Browser(tmp_path / "profile", tmp_path / "page.html")
    try:
        (first, second), frames, outside = browser.js(ASKED)
    finally:
        browser.close()
    assert first == {"asked": {"query": "one"}, "known": None}
    assert (second["asked"]["query"], second["known"]) == ("two", 2), "scripts are read one after the other"
    assert (frames, outside) == (0, "undefined"), "the page has none of the worker's names"
