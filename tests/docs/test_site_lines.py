"""The site's lines: options, intervals and commands stay whole, long names may break after a part."""

from importlib import util

from support.pages import ROOT

SPEC = util.spec_from_file_location("lines_hook", ROOT / "docs" / "scripts" / "lines.py")
HOOK = util.module_from_spec(SPEC)
SPEC.loader.exec_module(HOOK)
marked = HOOK.on_page_content


def test_options_stay_whole_and_code_blocks_as_they_are():
    said = "<p><code>run --dry-run x</code></p><pre><span></span><code>run --dry-run x</code></pre>"
    whole = said.replace("--dry-run", '<span class="whole">--dry-run</span>', 1)
    assert marked(said) == whole
    long = f"<code>a {'b-' * 20}</code>"
    assert marked(long) == long


def test_long_cells_are_told_from_short_ones_beside_them():
    long = "word " * 20
    said = f'<tr><td>short</td><td style="text-align: right;">{long}</td><td>1</td></tr>'
    assert marked(said) == said.replace("<td style", '<td class="long" style')


def test_each_command_is_a_line_whose_options_stay_whole():
    space = '<span class="w"> </span>'
    text = f"a-b{space}--dry-run{space}-m{space}x-1\n\nb\n"
    before, after = '<div class="language-sh highlight"><pre><span></span><code>', "</code></pre></div>"
    whole = text.replace("--dry-run", '<span class="whole">--dry-run</span>')
    whole = whole.replace("-m", '<span class="whole">-m</span>')
    lines = "".join(f'<span class="command">{line}</span>\n' for line in whole.splitlines())
    assert marked(before + text + after) == before + lines + after
    other = before.replace("sh", "python") + text + after
    assert marked(other) == other


def test_intervals_in_tables_stay_in_a_line():
    for interval in ("[0.48, 0.57]", "± 0.02", "&lt; 0.001", "[-1%, +0.5%]"):
        whole = f'<td>0.53 <span class="whole">{interval}</span></td>'
        assert marked(f"<td>0.53 {interval}</td>") == whole
    for said in ("", "1", "0.69, 0.73", "R[i, k]", "[a]"):
        assert marked(f"<td>{said}</td>") == f"<td>{said}</td>"


def test_long_names_in_tables_may_break_after_their_parts():
    name = "<code>learn/fit_mixture.py</code>"
    said = f"<td>{name} <code>user_id</code></td><p>{name}</p>"
    broken = said.replace("learn/fit_mixture", "learn/<wbr>fit_<wbr>mixture", 1)
    assert marked(said) == broken
