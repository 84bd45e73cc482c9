"use strict";
(() => {
  const body = document.getElementById("body");
  if (body) refresh(body);
  const log = document.getElementById("log");
  if (log) follow(log);

  // Fetches the page's body anew every two seconds, unless nobody looks or somebody has marked text.
  function refresh(body) {
    let last = "";
    const once = async () => {
      if (!document.hidden && String(document.getSelection()) === "") {
        try {
          const answer = await fetch(body.dataset.refresh + location.search, { headers: { accept: "application/xhtml+xml" } });
          if (answer.status === 401) { location.assign("/login"); return; }
          if (!answer.ok) throw new Error("status " + answer.status);
          const text = await answer.text();
          if (text !== last) {
            const at = [...body.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
            const open = new Set([...body.querySelectorAll("details[open]")].map((fold) => fold.dataset.key));
            body.innerHTML = text;
            body.querySelectorAll("details").forEach((fold) => { fold.open = open.has(fold.dataset.key); });
            body.querySelectorAll(".scroll").forEach((box, index) => { box.scrollLeft = at[index] || 0; });
            last = text;
          }
        } catch (error) {
          const stale = document.getElementById("stale");
          if (stale) { stale.className = "problem"; stale.textContent = "The master does not answer; what you see may be old."; }
        }
      }
      setTimeout(once, 2000);
    };
    setTimeout(once, 2000);
  }

  // Shows the end of a log and what is written to it from now on; keeps the last megabyte.
  async function follow(log) {
    const state = document.getElementById("log-state");
    const limit = 1 << 20;
    try {
      const answer = await fetch(log.dataset.source);
      if (!answer.ok) { state.textContent = (await answer.json()).message; return; }
      state.textContent = "Following…";
      const reader = answer.body.getReader();
      const decoder = new TextDecoder();
      let size = 0;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
        const text = decoder.decode(value, { stream: true });
        log.append(text);
        size += text.length;
        while (size > limit && log.firstChild !== log.lastChild) {
          size -= log.firstChild.length;
          log.firstChild.remove();
        }
        if (atEnd) log.scrollTop = log.scrollHeight;
      }
      state.textContent = "End of the log.";
    } catch (error) {
      state.textContent = "The connection broke off; load the page again to go on.";
    }
  }
})();
