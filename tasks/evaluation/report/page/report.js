// What the page can do beyond being read: values beside the pointer, classes chosen, tables sorted and filtered.
// Everything it shows is in the page as text; texts are set as text, never as HTML.
"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const make = (name, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  };
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // ---- plots: the nearest point under the pointer, or the next one by arrow keys
  const axis = text => {
    const [low, high, start, end, log] = text.split(" ").map(Number);
    const along = log ? value => (Math.log10(value) - Math.log10(low)) / (Math.log10(high) - Math.log10(low))
                      : value => (value / 2 - low / 2) / (high / 2 - low / 2);
    return value => start + (end - start) * along(value);
  };

  function pointsOf(series, x, y, names) {
    if (!series.dataset.points) return [];
    const said = series.dataset.said ? JSON.parse(series.dataset.said) : null;
    const name = series.dataset.name;
    return series.dataset.points.split(";").map((row, number) => {
      const cells = row.split(" "), at = { x: x(Number(cells[0])), y: y(Number(cells[1])), series };
      const interval = cells.length > 3 && cells[2] !== "undefined" ? ` (${cells[2]} to ${cells[3]})` : "";
      const numbers = `${names[0]}: ${cells[0]}\n${names[1]}: ${cells[1]}${interval}`;
      at.text = [name, said && said[number] ? said[number] : numbers].filter(Boolean).join("\n");
      return at;
    }).filter(at => Number.isFinite(at.x) && Number.isFinite(at.y));
  }

  function marksOf(svg) { // bars and cells, each with a title
    return all("title", svg).map(title => {
      const owner = title.parentNode, rect = owner.tagName === "rect" ? owner : owner.querySelector("rect");
      const [x, y, width, height] = ["x", "y", "width", "height"].map(name => Number(rect.getAttribute(name)));
      const at = { x: x + width / 2, y: y + height / 2, rect: [x, y, width, height], series: owner.closest(".series"), text: title.textContent };
      title.remove(); // the browser's own bubble would come too
      return at;
    });
  }

  function watch(svg) {
    const picture = svg.closest(".picture"), plot = svg.dataset;
    let points = null, chosen = null;
    const bubble = make("div", { className: "bubble" });
    bubble.setAttribute("role", "status");
    picture.append(bubble);
    const here = document.createElementNS(SVG, "rect");
    here.setAttribute("class", "here");
    const ready = () => {
      if (points) return;
      if (plot.x) {
        const x = axis(plot.x), y = axis(plot.y), names = JSON.parse(plot.names);
        points = all(".series", svg).flatMap(series => pointsOf(series, x, y, names));
      } else points = marksOf(svg);
    };
    const seen = () => points.filter(at => !at.series || !at.series.hasAttribute("hidden"));
    const hide = () => { bubble.textContent = ""; here.remove(); chosen = null; };
    const show = at => {
      if (!at) return hide();
      if (chosen !== at) {
        chosen = at;
        bubble.textContent = at.text;
        const [x, y, width, height] = at.rect || [at.x - 4.5, at.y - 4.5, 9, 9];
        for (const [name, value] of Object.entries({ x, y, width, height, rx: at.rect ? 0 : 4.5 })) here.setAttribute(name, value);
        svg.append(here);
      }
      const box = svg.viewBox.baseVal, scale = svg.clientWidth / box.width, wide = picture.clientWidth;
      const left = at.x * scale, half = bubble.offsetWidth / 2;
      bubble.style.left = `${Math.max(0, Math.min(wide - 2 * half, left - half))}px`;
      const top = (at.rect ? at.rect[1] : at.y) * scale - bubble.offsetHeight - 10;
      bubble.style.top = `${top > -20 ? top : at.y * scale + 14}px`;
    };
    const nearest = event => {
      const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
      const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
      let best = null, least = points.length && points[0].rect ? 1 : 40 * 40;
      for (const at of seen()) {
        const [dx, dy] = at.rect ? [Math.max(at.rect[0] - x, x - at.rect[0] - at.rect[2], 0), Math.max(at.rect[1] - y, y - at.rect[1] - at.rect[3], 0)] : [at.x - x, at.y - y];
        const far = dx * dx + dy * dy;
        if (far < least) { least = far; best = at; }
      }
      return best;
    };
    svg.addEventListener("pointermove", event => { ready(); show(nearest(event)); });
    svg.addEventListener("pointerdown", event => { ready(); show(nearest(event)); });
    svg.addEventListener("pointerleave", event => { if (event.pointerType === "mouse") hide(); });
    svg.setAttribute("tabindex", "0");
    svg.setAttribute("aria-roledescription", "plot; arrow keys read its points");
    svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", event => {
      ready();
      const there = seen(), at = there.indexOf(chosen);
      if (event.key === "Escape") return hide();
      const steps = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10 };
      let next = null;
      if (event.key in steps) next = there[Math.max(0, Math.min(there.length - 1, at < 0 ? 0 : at + steps[event.key]))];
      else if (event.key === "Home") next = there[0];
      else if (event.key === "End") next = there[there.length - 1];
      else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        const groups = [...new Set(there.map(point => point.series))];
        const turn = groups.indexOf(chosen ? chosen.series : groups[0]) + (event.key === "ArrowDown" ? 1 : -1);
        const of = there.filter(point => point.series === groups[(turn + groups.length) % groups.length]);
        next = !chosen || groups.length === 1 ? there[0] : of.reduce((a, b) => Math.abs(b.x - chosen.x) < Math.abs(a.x - chosen.x) ? b : a);
      } else return;
      event.preventDefault();
      show(next);
    });
  }

  // ---- legends: each entry becomes a button that hides or shows its lines, and brings them forward while it is pointed at
  function choose(figure) {
    const list = figure.querySelector(".keys");
    if (!list || list.children.length < 2) return;
    const entries = all("li", list), of = entry => all(".series", figure).filter(one => one.dataset.group === entry.dataset.group);
    const set = (entry, on) => {
      entry.firstChild.setAttribute("aria-pressed", String(on));
      for (const one of of(entry)) one.toggleAttribute("hidden", !on);
    };
    const forward = entry => {
      const mine = entry ? of(entry) : [];
      for (const one of all(".series", figure)) one.classList.toggle("faded", mine.length > 0 && !mine.includes(one) && !one.classList.contains("reference"));
    };
    for (const entry of entries) {
      const button = make("button", { type: "button" }, ...entry.childNodes);
      button.setAttribute("aria-pressed", "true");
      button.addEventListener("click", () => set(entry, button.getAttribute("aria-pressed") !== "true"));
      for (const name of ["pointerenter", "focus"]) button.addEventListener(name, () => forward(entry));
      for (const name of ["pointerleave", "blur"]) button.addEventListener(name, () => forward(null));
      entry.replaceChildren(button);
    }
    if (entries.length > 3) {
      const every = (text, on) => {
        const button = make("button", { type: "button", textContent: text });
        button.addEventListener("click", () => entries.forEach(entry => set(entry, on)));
        return make("li", { className: "every" }, button);
      };
      list.append(every("all", true), every("none", false));
    }
  }

  // ---- tables: sorted by a head, filtered by text and by a column's numbers
  function handle(block) {
    const table = block.querySelector("table"), body = table.tBodies[0], rows = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    const numeric = heads.map((_, at) => rows.some(row => row.cells[at].dataset.v !== undefined));
    const key = (row, at) => {
      const cell = row.cells[at];
      if (!numeric[at]) return cell.textContent;
      return cell.dataset.v ? Number(cell.dataset.v) : NaN;
    };
    const words = new Intl.Collator("en", { numeric: true });
    let order = rows, shown = null;
    const text = make("input", { type: "search" }), column = make("select"), least = make("input", { type: "number", step: "any" }), most = make("input", { type: "number", step: "any" });
    const count = make("span", { className: "small" });
    count.setAttribute("role", "status");
    const draw = () => {
      const wanted = text.value.toLowerCase().split(/\s+/).filter(Boolean), at = Number(column.value);
      const low = least.value === "" ? -Infinity : Number(least.value), high = most.value === "" ? Infinity : Number(most.value);
      const limited = low > -Infinity || high < Infinity;
      const kept = order.filter(row => wanted.every(word => row.textContent.toLowerCase().includes(word)) && (!limited || (key(row, at) >= low && key(row, at) <= high)));
      body.replaceChildren(...kept);
      count.textContent = `${kept.length} of ${rows.length} rows`;
      if (shown !== null && shown !== kept.length) body.closest(".wide").scrollTop = 0;
      shown = kept.length;
    };
    heads.forEach((head, at) => {
      if (!head.textContent) return;
      const button = make("button", { type: "button" }, ...head.childNodes);
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending", turn = up ? 1 : -1;
        for (const one of heads) one.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        order = rows.map(row => [key(row, at), row]).sort(([a], [b]) => {
          if (typeof a === "string") return turn * words.compare(a, b);
          return Number.isNaN(a) || Number.isNaN(b) ? Number.isNaN(a) - Number.isNaN(b) : turn * (a - b);
        }).map(pair => pair[1]);
        draw();
      });
    });
    const parts = [make("label", {}, "rows with", text)];
    if (numeric.includes(true)) {
      heads.forEach((head, at) => { if (numeric[at]) column.append(make("option", { value: String(at), textContent: head.textContent })); });
      parts.push(make("label", {}, "of which", column), make("label", {}, "from", least), make("label", {}, "to", most));
    }
    for (const input of [text, column, least, most]) input.addEventListener("input", draw);
    if (rows.length > 8) block.querySelector(".wide").before(make("div", { className: "tools" }, ...parts, count));
    draw();
  }

  // ---- contents: open beside the text on a desk, folded on a phone; where the reader is
  function contents() {
    const nav = document.querySelector(".contents"), folded = nav.querySelector("details"), desk = matchMedia("(min-width: 62rem)");
    const fit = () => { folded.open = desk.matches; };
    desk.addEventListener("change", fit);
    fit();
    const links = all("a", nav), at = new Map(links.map(link => [link.hash.slice(1), link]));
    for (const link of links) link.addEventListener("click", () => {
      const target = document.getElementById(link.hash.slice(1)), inner = target && target.querySelector(":scope > details.folded");
      if (inner) inner.open = true;
      if (!desk.matches) folded.open = false;
    });
    const near = new Set();
    const watcher = new IntersectionObserver(entries => {
      for (const entry of entries) near[entry.isIntersecting ? "add" : "delete"](entry.target.id);
      const first = links.find(link => near.has(link.hash.slice(1)));
      for (const link of links) link.toggleAttribute("aria-current", false);
      if (first) first.setAttribute("aria-current", "true");
    }, { rootMargin: "-10% 0px -70% 0px" });
    for (const id of at.keys()) { const section = document.getElementById(id); if (section) watcher.observe(section); }
  }

  // ---- paper: folded sections are printed, the numbers of plots are not
  let opened = [];
  addEventListener("beforeprint", () => { opened = all("details.folded:not([open])"); for (const one of opened) one.open = true; });
  addEventListener("afterprint", () => { for (const one of opened) one.open = false; });

  // ---- boxes that scroll are reached by the Tab key, those that need not are passed over
  const fits = new ResizeObserver(entries => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight) target.setAttribute("tabindex", "0");
      else target.removeAttribute("tabindex");
    }
  });

  contents();
  all(".wide").forEach(box => fits.observe(box));
  all("svg.plot").forEach(watch);
  all("figure.plotted").forEach(choose);
  all(".table.sortable").forEach(handle);
})();
