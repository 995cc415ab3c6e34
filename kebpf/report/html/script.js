"use strict";
// Without this script all cases stand below each other.  With it they are parsed when they are
// shown: a browser hands over what is inside noscript as one text, in which all content is escaped.
(() => {
  const FIRST = 50, FIRST_OF_CAUSE = 10, MORE = 200, MOST_PRINTED = 50;
  const make = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content.firstElementChild;
  };
  const bodies = new WeakMap();
  const fill = (details) => {
    const body = bodies.get(details);
    if (body !== undefined) {
      bodies.delete(details);
      details.append(make(body));
    }
  };
  const escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;")
    .replace(/>/g, "&gt;").replace(/"/g, "&quot;").replace(/'/g, "&#x27;");

  class Case {
    constructor(html, node) {
      this.html = html;
      this.node = node;
      this.verdict = /^<details class="case (\w+)"/.exec(html)[1];
    }
    get text() {
      this.words ??= this.html.replace(/<[^>]*>/g, " ").toLowerCase();
      return this.words;
    }
    matches(verdict, words) {
      const isWanted = verdict === "all" || verdict === this.verdict;
      return isWanted && words.every((word) => this.text.includes(word));
    }
    show() {
      if (!this.node) {
        const at = this.html.indexOf("<!--body-->");
        this.node = make(this.html.slice(0, at) + "</details>");
        bodies.set(this.node, this.html.slice(at).replace(/<\/details>$/, ""));
        this.node.addEventListener("toggle", () => fill(this.node));
      }
      return this.node;
    }
  }

  class List {
    constructor(node) {
      const fixed = [...node.querySelectorAll(":scope > details.case")];
      const text = node.querySelector("noscript")?.textContent ?? "";
      const rest = text.split("<!--case-->").filter((html) => html.startsWith("<details"));
      this.cases = fixed.map((one) => new Case(one.outerHTML, one));
      this.cases.push(...rest.map((html) => new Case(html)));
      this.node = node;
      this.first = node.closest("article") ? FIRST_OF_CAUSE : FIRST;
      this.button = make('<button type="button" class="more"></button>');
      this.button.addEventListener("click", () => this.more(MORE));
    }
    filter(verdict, words) {
      this.left = this.cases.filter((one) => one.matches(verdict, words));
      const found = this.left.length;
      this.node.replaceChildren();
      this.more(this.first);
      const section = this.node.closest("article, section");
      section.hidden = found === 0;
      return found;
    }
    more(number) {
      this.button.remove();
      this.node.append(...this.left.splice(0, number).map((one) => one.show()));
      if (this.left.length) {
        const next = Math.min(MORE, this.left.length);
        this.button.textContent = next < this.left.length ? `Show ${next} of ${this.left.length} more` : `Show ${next} more`;
        this.node.append(this.button);
      }
    }
  }

  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      const isDone = document.execCommand("copy");
      area.remove();
      return isDone;
    }
  };

  document.documentElement.classList.add("js");
  const lists = [...document.querySelectorAll(".list")].map((node) => new List(node));
  const search = document.getElementById("search");
  const status = document.getElementById("status");
  const total = lists.reduce((sum, list) => sum + list.cases.length, 0);
  const update = () => {
    const verdict = document.querySelector("input[name=verdict]:checked").value;
    const words = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean).map(escape);
    const found = lists.reduce((sum, list) => sum + list.filter(verdict, words), 0);
    status.textContent = found === total ? `${total} cases` : `${found} of ${total} cases`;
  };
  document.querySelector(".tools").addEventListener("input", update);
  update();

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const label = button.textContent;
    const code = button.parentElement.querySelector("code");
    if (await copy(code.textContent)) {
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = label; }, 1500);
    } else {
      getSelection().selectAllChildren(code);
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target === search) {
      if (event.key === "Escape") { search.value = ""; update(); search.blur(); }
      return;
    }
    if (event.key === "/") {
      event.preventDefault();
      search.focus();
    } else if (event.key === "j" || event.key === "k") {
      const all = [...document.querySelectorAll("details.case > summary")];
      const at = all.indexOf(document.activeElement.closest("details.case > summary"));
      const next = at < 0 ? 0 : at + (event.key === "j" ? 1 : -1);
      all[Math.max(0, Math.min(next, all.length - 1))]?.focus();
    }
  });

  addEventListener("beforeprint", () => {
    const bad = document.querySelectorAll("details.failed, details.errored");
    for (const one of [...bad].slice(0, MOST_PRINTED)) { fill(one); one.open = true; }
  });
})();
