/* Where the site lies in a folder (file:) a browser starts no worker, and the theme's search is one: its script runs in
 * a hidden frame instead. What the page posts comes to the frame as a message, and what the script posts to the page. */
"use strict";

if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.srcdoc = "<!doctype html>";
      const begun = new Promise((resolve) => this.frame.addEventListener("load", resolve, { once: true }));
      this.ready = begun.then(() => {
        const inside = this.frame.contentWindow;
        inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
        inside.importScripts = async (...sources) => {
          for (const source of sources) await run(inside.document, source);
        };
        return run(inside.document, url);
      });
      document.body.append(this.frame);
    }

    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {
      this.frame.remove();
    }
  };

  const run = (page, src) =>
    new Promise((resolve, reject) => {
      const script = page.createElement("script");
      script.addEventListener("load", resolve);
      script.addEventListener("error", () => reject(new Error(`${src} cannot be read`)));
      script.src = src;
      page.body.append(script);
    });
}
