/* The plan editor: rows that come and go, fields by model, minor units as money, and a live quote beside each price.
   Everything here only spares a round trip: each button is a submit button that the server understands as well. */
"use strict";

(() => {
    const form = document.getElementById("ch-editor");
    if (!form) return;
    const rules = readJson("ch-price-rules");
    const exponents = readJson("ch-exponents");
    const NEW_ROW = 100000; // numbers of rows made here begin above any the server gave
    const QUOTE_DELAY = 250;
    let nextNumber = NEW_ROW;

    function readJson(id) {
        const element = document.getElementById(id);
        return element ? JSON.parse(element.textContent) : {};
    }

    function field(price, name) {
        return price.querySelector(`[name="prices-${price.dataset.price}-${name}"]`);
    }

    function valueOf(price, name) {
        const input = field(price, name);
        return input ? input.value.trim() : "";
    }

    // ---- fields by model --------------------------------------------------------------------------------------------
    function showFields(price) {
        const meter = valueOf(price, "meter");
        const select = field(price, "model");
        if (!select) return;
        for (const option of select.options) {
            option.disabled = !meter && rules[option.value] !== undefined && rules[option.value].fee === null;
        }
        const rule = rules[select.value];
        if (!rule) return;
        const terms = (meter ? rule.usage : rule.fee || rule.usage);
        price.querySelectorAll(".ch-fields-terms > [data-term], .ch-tiers, .ch-variants").forEach((part) => {
            part.hidden = !terms.includes(part.dataset.term);
        });
        price.querySelectorAll(".ch-variant [data-term]").forEach((part) => {
            part.hidden = !terms.includes(part.dataset.term);
        });
        price.querySelectorAll(".ch-tier-table [data-column]").forEach((cell) => {
            cell.hidden = !rule.tiers.includes(cell.dataset.column);
            const inner = cell.querySelector("[data-term]");
            if (inner) inner.hidden = cell.hidden;
        });
        const amount = field(price, "unit_amount");
        const label = amount && amount.closest(".ch-field").querySelector(".ch-label");
        if (label && label.firstChild) label.firstChild.textContent = `${rule.amount} `;
        const meaning = price.querySelector("[data-meaning]");
        if (meaning) meaning.textContent = rule.meaning;
        const perEvent = select.value === "percentage" || select.value === "dynamic";
        const asked = {
            quantity: !perEvent,
            events: perEvent,
            dynamic: select.value === "dynamic",
            dimensions: price.querySelector(".ch-variant") !== null,
        };
        price.querySelectorAll("[data-ask]").forEach((part) => {
            part.hidden = !asked[part.dataset.ask];
        });
        if (terms.includes("tiers") && !price.querySelector("[data-row=tier]")) addTier(price);
    }

    // ---- minor units as money ---------------------------------------------------------------------------------------
    /* Texts, never numbers: a float would not keep the digits. */
    function showMoney(text, currency) {
        if (!/^-?\d{1,30}(\.\d{1,20})?$/.test(text) || !/^[a-z]{3}$/.test(currency)) return "";
        const digits = exponents[currency] === undefined ? 2 : exponents[currency];
        const negative = text.startsWith("-");
        const [whole, fraction = ""] = text.replace("-", "").split(".");
        const padded = whole.padStart(digits + 1, "0");
        const major = padded.slice(0, padded.length - digits).replace(/^0+(?=\d)/, "");
        let minor = (padded.slice(padded.length - digits) + fraction).replace(/0+$/, "");
        minor = minor.padEnd(digits, "0");
        const grouped = major.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
        return `${negative ? "\u2212" : ""}${grouped}${minor ? `.${minor}` : ""} ${currency.toUpperCase()}`;
    }

    function showMajors(price) {
        const currency = valueOf(price, "currency").toLowerCase();
        price.querySelectorAll("input[data-amount]").forEach((input) => {
            const shown = input.closest(".ch-field").querySelector("[data-major]");
            if (shown) shown.textContent = showMoney(input.value.trim(), currency);
        });
    }

    // ---- rows -------------------------------------------------------------------------------------------------------
    function fromTemplate(id, replacements) {
        const template = document.getElementById(id);
        const holder = document.createElement("template");
        let html = template.innerHTML;
        for (const [placeholder, value] of Object.entries(replacements)) {
            html = html.replaceAll(placeholder, value);
        }
        holder.innerHTML = html;
        return holder.content.firstElementChild;
    }

    function addTier(price) {
        const row = fromTemplate("ch-new-tier", {__price__: price.dataset.price, __row__: nextNumber++});
        const rows = price.querySelector("[data-rows=tiers]");
        // The last tier has no bound, so a new one goes before it.
        rows.insertBefore(row, rows.lastElementChild);
        showFields(price);
        return row;
    }

    function addVariant(price) {
        const row = fromTemplate("ch-new-variant", {__price__: price.dataset.price, __row__: nextNumber++});
        price.querySelector("[data-rows=variants]").append(row);
        showFields(price);
        return row;
    }

    function addQuota() {
        const row = fromTemplate("ch-new-quota", {__row__: nextNumber++});
        const rows = form.querySelector("[data-rows=quotas]");
        rows.append(row);
        rows.closest("table").hidden = false;
        return row;
    }

    function addPrice() {
        const price = fromTemplate("ch-new-price", {__price__: nextNumber++});
        form.querySelector("[data-rows=prices]").append(price);
        refresh(price);
        return price;
    }

    function copyPrice(price) {
        const number = nextNumber++;
        const copy = price.cloneNode(true);
        copy.dataset.price = number;
        const old = `prices-${price.dataset.price}-`;
        copy.querySelectorAll("[name], [id], [for], [aria-describedby]").forEach((element) => {
            for (const attribute of ["name", "id", "for", "aria-describedby"]) {
                const value = element.getAttribute(attribute);
                if (value && value.includes(old)) element.setAttribute(attribute, value.replace(old, `prices-${number}-`));
            }
        });
        price.querySelectorAll("select").forEach((select, index) => { // clones forget what was chosen
            copy.querySelectorAll("select")[index].value = select.value;
        });
        copy.querySelectorAll(".ch-errors").forEach((list) => { list.replaceChildren(); });
        price.after(copy);
        const key = field(copy, "lookup_key");
        if (key) key.value = ""; // stands once in a document
        copy.open = true;
        refresh(copy);
        return copy;
    }

    function removeWithFocus(element) {
        const next = element.nextElementSibling || element.previousElementSibling || element.parentElement;
        element.remove();
        const target = next.querySelector("summary, input:not([type=hidden]), button");
        if (target) target.focus();
    }

    function focusFirst(element) {
        const input = element.querySelector("input:not([type=hidden]), select");
        if (input) input.focus();
    }

    // ---- quotes -----------------------------------------------------------------------------------------------------
    const pending = new WeakMap();
    const asked = new WeakMap();

    function askQuote(price) {
        clearTimeout(pending.get(price));
        pending.set(price, setTimeout(() => fetchQuote(price), QUOTE_DELAY));
    }

    async function fetchQuote(price) {
        const mark = (asked.get(price) || 0) + 1;
        asked.set(price, mark);
        const data = new FormData();
        const prefix = `prices-${price.dataset.price}-`;
        for (const [name, value] of new FormData(form)) {
            if (name.startsWith(prefix) || name === "csrfmiddlewaretoken") data.append(name, value);
        }
        data.set("_price", price.dataset.price);
        let answer;
        try {
            const response = await fetch(form.dataset.quoteUrl, {method: "POST", body: data, credentials: "same-origin"});
            if (!response.ok) throw new Error(`${response.status}`);
            answer = await response.json();
        } catch (error) {
            answer = {errors: [{field: "", detail: "The quote could not be loaded."}], rows: [], amount: "", exact: ""};
        }
        if (asked.get(price) === mark) showQuote(price, answer); // a later question may have been answered first
    }

    function showQuote(price, answer) {
        const box = price.querySelector("[data-quote]");
        box.querySelector("[data-quote-amount]").textContent = answer.amount || "";
        box.querySelector("[data-quote-exact]").textContent = answer.exact || "";
        const errors = (answer.errors || []).map((error) => make("li", error.detail));
        box.querySelector("[data-quote-errors]").replaceChildren(...errors);
        const rows = (answer.rows || []).map((row) => {
            const line = document.createElement("tr");
            line.append(make("td", row.label));
            for (const key of ["quantity", "terms", "amount"]) line.append(make("td", row[key], "ch-right"));
            return line;
        });
        box.querySelector("[data-quote-rows]").replaceChildren(...rows);
        box.querySelector(".ch-quote-table").hidden = rows.length === 0;
        if (answer.title) price.querySelector("[data-price-title]").textContent = answer.title;
    }

    function make(tag, text, className) {
        const element = document.createElement(tag);
        element.textContent = text || "";
        if (className) element.className = className;
        return element;
    }

    function showPlace(price) {
        const count = valueOf(price, "interval_count");
        const interval = valueOf(price, "interval") || (valueOf(price, "meter") ? "month" : "");
        const every = count && count !== "1" ? `${count} ${interval}s` : interval;
        const parts = [valueOf(price, "meter") || "Fee", valueOf(price, "currency").toUpperCase(), every];
        price.querySelector("[data-price-place]").textContent = parts.filter(Boolean).join(" · ");
    }

    // ---- events -----------------------------------------------------------------------------------------------------
    function refresh(price) {
        showFields(price);
        showMajors(price);
        showPlace(price);
    }

    const actions = {
        "add-price": () => focusFirst(addPrice()),
        "copy-price": (price) => focusFirst(copyPrice(price)),
        "remove-price": (price) => removeWithFocus(price),
        "add-tier": (price) => focusFirst(addTier(price)),
        "add-variant": (price) => focusFirst(addVariant(price)),
        "add-quota": () => focusFirst(addQuota()),
        "quote": (price) => fetchQuote(price),
        "remove-row": (price, button) => {
            removeWithFocus(button.closest("[data-row]"));
            if (price) {
                refresh(price);
                askQuote(price);
            }
        },
    };

    let isDirty = false;

    form.addEventListener("click", (event) => {
        const button = event.target.closest("button[data-do]");
        if (!button || !actions[button.dataset.do]) return;
        event.preventDefault();
        if (button.dataset.do !== "quote") isDirty = true;
        actions[button.dataset.do](button.closest("[data-price]"), button);
    });

    form.addEventListener("input", (event) => {
        const price = event.target.closest("[data-price]");
        if (!event.target.name.includes("-quote_")) isDirty = true;
        if (!price) return;
        refresh(price);
        askQuote(price);
    });

    form.addEventListener("keydown", (event) => {
        // Enter in the quote asks; it does not save the plan.
        if (event.key === "Enter" && event.target.matches("[data-quote] input")) {
            event.preventDefault();
            fetchQuote(event.target.closest("[data-price]"));
        }
    });

    form.addEventListener("submit", () => { isDirty = false; });
    window.addEventListener("beforeunload", (event) => {
        if (isDirty) event.preventDefault();
    });

    form.classList.add("ch-live");
    form.querySelectorAll("[data-price]").forEach((price) => refresh(price));
})();
