"use strict";

// What the page does beyond showing: theme, figures, tables that sort and filter, contents.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");

  // Storage is closed to pages from disk in some browsers: then the choice lasts as long as the page.
  function remember(theme) {
    try { localStorage.setItem("mnist-ops-theme", theme); } catch { /* as above */ }
  }
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : dark.matches;
  const toggle = document.getElementById("theme");
  const show = () => toggle.setAttribute("aria-pressed", String(isDark()));
  toggle.hidden = false;
  show();
  toggle.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remember(root.dataset.theme);
    show();
    figures.redraw();
  });
  dark.addEventListener("change", () => { show(); figures.redraw(); });

  // Figures are drawn as they come near; until then, and where they cannot be, there is a picture.
  let script;
  function plotly() {
    script ??= new Promise((resolve, reject) => {
      const element = document.createElement("script");
      element.src = "figures/plotly.min.js";
      element.onload = resolve;
      element.onerror = reject;
      document.head.append(element);
    });
    return script;
  }
  const near = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      const json = target.querySelector("script").textContent;
      const room = JSON.parse(target.dataset.room);
      plotly()
        .then(() => { target.classList.add("drawn"); return figures.draw(target.querySelector(".plot"), json, room); })
        .catch((error) => {
          // A script that is not there is complained of by the browser itself.
          if (error instanceof Error) console.error(error);
          target.classList.replace("drawn", "undrawn");
        });
    }
  }, { rootMargin: "600px 0px" });
  document.querySelectorAll(".drawing").forEach((holder) => near.observe(holder));

  // The columns of a table by the heading right above them: headings may span rows and columns.
  function headings(table) {
    const grid = [];
    [...table.tHead.rows].forEach((row, y) => {
      grid[y] ??= [];
      let x = 0;
      for (const cell of row.cells) {
        while (grid[y][x]) x++;
        for (let dy = 0; dy < cell.rowSpan; dy++) {
          grid[y + dy] ??= [];
          for (let dx = 0; dx < cell.colSpan; dx++) grid[y + dy][x + dx] = cell;
        }
        x += cell.colSpan;
      }
    });
    return grid[grid.length - 1];
  }

  // Numbers before words; what has no value last, whichever way the rest is sorted.
  function key(cell) {
    const text = cell.textContent.trim();
    const digits = text.replaceAll("\u2212", "-").replaceAll(",", "");
    const number = /^[-+]?\d/.test(digits) ? Number.parseFloat(digits) : NaN;
    if (text === "" || text === "\u2013") return [2, 0, ""];
    return Number.isNaN(number) ? [1, 0, text] : [0, number, text];
  }
  function sort(table, column, heading, all) {
    const down = heading.getAttribute("aria-sort") === "ascending";
    all.forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const sign = down ? -1 : 1;
    const rows = [...table.tBodies[0].rows].map((row) => [key(row.cells[column]), row]);
    rows.sort(([[group, number, text]], [[otherGroup, otherNumber, otherText]]) =>
      group - otherGroup
      || sign * (number - otherNumber || text.localeCompare(otherText, "en", { numeric: true })));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  }
  for (const table of document.querySelectorAll("table.sorts")) {
    const all = headings(table);
    all.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => sort(table, column, heading, all));
    });
  }

  for (const tools of document.querySelectorAll(".tools")) {
    const rows = [...document.getElementById(tools.dataset.of).tBodies[0].rows];
    const [input, select] = [tools.querySelector("input"), tools.querySelector("select")];
    const count = tools.querySelector("output");
    const apply = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      const chosen = select?.value ?? "";
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word)) || (chosen !== "" && row.dataset.is !== chosen);
        shown += row.hidden ? 0 : 1;
      }
      count.textContent = shown === rows.length ? `${rows.length} rows` : `${shown} of ${rows.length} rows`;
    };
    tools.hidden = false;
    input.addEventListener("input", apply);
    select?.addEventListener("change", apply);
    apply();
  }

  // The contents mark the section that is read: the last whose beginning is above the middle.
  const links = [...document.querySelectorAll(".contents a")];
  const sections = links.map((link) => document.getElementById(link.hash.slice(1)));
  let pending = false;
  function mark() {
    pending = false;
    const current = sections.findLastIndex((section) => section.getBoundingClientRect().top < innerHeight / 2);
    links.forEach((link, place) => {
      if (place === current) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
    });
  }
  addEventListener("scroll", () => { if (!pending) { pending = true; requestAnimationFrame(mark); } }, { passive: true });
  mark();

  // A link to a claim shows its evidence.
  function unfold() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const details = target?.querySelector("details.evidence");
    if (details) details.open = true;
  }
  addEventListener("hashchange", unfold);
  unfold();

  // Paper is white, and what is folded on it stays so: evidence is shown, lists are not.
  const folded = [];
  let screen;
  function theme(name) {
    if (name) root.dataset.theme = name; else delete root.dataset.theme;
    figures.redraw();
  }
  addEventListener("beforeprint", () => {
    folded.push(...document.querySelectorAll("details.evidence:not([open])"));
    folded.forEach((details) => { details.open = true; });
    screen = isDark() ? { theme: root.dataset.theme } : undefined;
    if (screen) theme("light");
  });
  addEventListener("afterprint", () => {
    folded.splice(0).forEach((details) => { details.open = false; });
    if (screen) theme(screen.theme);
  });
})();
