/* Work under way: the block is fetched anew every two seconds, and the page comes back when the state has changed.
   Without a script the page reloads by itself (see live_page.html). */
"use strict";

(() => {
    const PAUSE = 2000;
    const block = document.querySelector("[data-progress-url]");
    if (!block || block.dataset.live !== "true") return;

    async function refresh() {
        try {
            const answer = await fetch(block.dataset.progressUrl, { credentials: "same-origin" });
            if (answer.ok) {
                const found = await answer.json();
                if (found.state !== block.dataset.state) {
                    window.location.reload();
                    return;
                }
                block.innerHTML = found.html;
            }
        } catch {
            // The next look may succeed.
        }
        window.setTimeout(refresh, PAUSE);
    }

    window.setTimeout(refresh, PAUSE);
})();
