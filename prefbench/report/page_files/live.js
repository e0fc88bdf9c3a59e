// ------------------------------------------------------------------------------------------- serving

// A page that `prefbench view` serves asks now and then whether runs have changed, and is loaded anew then. What
// was chosen is in its address. Nobody is interrupted who types or has marked some text.
const served = document.querySelector("meta[name=state]").content;
async function look() {
  const busy = document.hidden || document.activeElement?.matches("input[type=search], select") || String(getSelection());
  try {
    const answer = busy ? null : await fetch(location.pathname, { headers: { "If-None-Match": `"${served}"` }, cache: "no-store" });
    if (answer && answer.ok) return location.reload();
  } catch { /* the server has ended: what is here stays */ }
  setTimeout(look, 2000);
}
setTimeout(look, 2000);
