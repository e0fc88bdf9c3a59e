"""The static page of a board of made-up runs, and how a browser takes it apart."""

import json
from html.parser import HTMLParser

from prefbench.record.evidence import read_items, write_items
from prefbench.record.files import HISTORY_FILE, write_record
from support.records import make_items, make_record, make_run

RATES = {
    "good": {"many": 0.8, "few": 0.75},
    "greedy": {"many": 0.95, "few": 0.2},
    "meek": {"many": 0.55, "few": 0.5},
}
NASTY = "</script><script>alert(1)</script><!--\"'&amp;<img src=x onerror=alert(2)> @@data@@ \U0001f9ea"
ROWS = 3 * 2 + 1  # the last one lacks a seed and is of another task


def histories(folder, names=("reward/0", "reward/1"), steps=8):
    rows = [
        {**{name: i + k for k, name in enumerate(names)}, "kl": i / 2, "tokens": 9.0} for i in range(steps)
    ]
    (folder / HISTORY_FILE).write_text(json.dumps(rows))


def make_board(runs):
    """Three aligners at two ratios over three seeds, one of them saying something nasty, and a lone row."""
    for aligner, rates in RATES.items():
        for ratio in (0.5, 0.2):
            needs = ("user_id",) if aligner == "good" else ()
            for seed in range(3):
                folder = make_run(
                    runs, rates, aligner=aligner, minority_ratio=ratio, seed=seed, needs=needs, samples=2
                )
                if aligner == "good":
                    histories(folder)
                if aligner == "greedy":
                    items = read_items(folder)
                    said = f"{NASTY}\u2028{seed}"
                    items["response"] = items["response"].where(items["response"] == "", said)
                    write_items(items, folder)
    for seed, status in enumerate(("ok", "diverged")):
        items = make_items(RATES["meek"], seed=seed)
        write_record(
            make_record(items, aligner=NASTY, task="other", seed=seed, status=status), runs / f"lone-{seed}"
        )
        write_items(items, runs / f"lone-{seed}")
    return runs


class Reading(HTMLParser):
    """The page as a browser takes it: tags in order, scripts apart, and the table's rows."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.rows, self.inside = [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag
        if tag == "script":
            self.scripts.append("")
        if tag == "tr":
            self.rows.append((dict(attrs), []))
        if tag in ("td", "th") and self.rows:
            self.rows[-1][1].append("")

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts[-1] += data
        elif self.rows and self.rows[-1][1]:
            self.rows[-1][1][-1] += data

    def handle_endtag(self, tag):
        self.inside = None


def embedded(text):
    return json.loads(Reading(text).scripts[0])
