// Galleries: cases sorted and filtered, the window of all scans moved, masks and boxes shown or not.
"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const compare = new Intl.Collator(undefined, { numeric: true }).compare;

  for (const gallery of all(".gallery")) {
    const tools = gallery.querySelector(".gallery-tools"), grid = gallery.querySelector(".gallery-cases");
    const said = gallery.querySelector(".gallery-said"), sort = tools.querySelector("[data-sort]");
    const cases = all(".gallery-case", grid).map((figure, place) => ({
      figure, place, id: figure.dataset.id,
      values: JSON.parse(figure.dataset.values),
      groups: { ...JSON.parse(figure.dataset.groups) },
      kinds: JSON.parse(figure.dataset.kinds),
    }));
    const filters = all("[data-filter]", tools);
    const [centre, width] = ["centre", "width"].map(name => tools.querySelector(`[data-window="${name}"]`));
    const units = gallery.dataset.units ? gallery.dataset.units.split(" ").map(Number) : null;

    const order = () => {
      const chosen = sort.value, name = chosen.replace(/^(up|down) /, "");
      if (!chosen) return (one, other) => one.place - other.place;
      if (chosen === "id") return (one, other) => compare(one.id, other.id) || one.place - other.place;
      const sign = chosen.startsWith("up ") ? 1 : -1;
      return (one, other) => { // what is undefined comes last
        const [a, b] = [one.values[name], other.values[name]];
        if (a === null || b === null) return (a === null) - (b === null) || one.place - other.place;
        return sign * (a - b) || one.place - other.place;
      };
    };

    const arrange = () => {
      const fits = one => filters.every(filter => {
        if (!filter.value) return true;
        const own = filter === filters[0] ? one.kinds : one.groups[filter.dataset.filter] || [];
        return own.includes(filter.value);
      });
      const sorted = [...cases].sort(order());
      const shown = sorted.filter(fits), others = sorted.filter(one => !shown.includes(one));
      for (const one of cases) one.figure.hidden = !shown.includes(one);
      grid.append(...[...shown, ...others].map(one => one.figure)); // those shown first: paper has room for the first
      tell(shown.length);
    };

    const ends = (low, high) => {
      const span = (high - low) * 4 ** (Number(width.value) / 100);
      const middle = (low + high) / 2 + (high - low) * Number(centre.value) / 100;
      return [middle - span / 2, middle + span / 2];
    };

    const inWords = () => {
      if (!units && !Number(centre.value) && !Number(width.value)) return "as at first";
      if (units) {
        const [low, high] = ends(...units);
        return `centre ${Math.round((low + high) / 2)}, width ${Math.round(high - low)}`;
      }
      const factor = 4 ** (Number(width.value) / 100);
      const shift = Number(centre.value);
      return `centre ${shift < 0 ? "−" : shift > 0 ? "+" : ""}${Math.abs(shift)} %, width × ${factor.toFixed(2)}`;
    };

    let count = cases.length;
    const tell = (shown = count) => {
      count = shown;
      said.textContent = `${shown} of ${cases.length} cases; window: ${inWords()}`;
    };

    const window_ = () => {
      for (const filter of all("filter", gallery)) {
        const [low, high] = ends(Number(filter.dataset.low), Number(filter.dataset.high));
        for (const one of filter.querySelectorAll("[slope]")) {
          one.setAttribute("slope", 1 / (high - low));
          one.setAttribute("intercept", -low / (high - low));
        }
      }
      for (const slider of [centre, width]) slider.setAttribute("aria-valuetext", inWords());
      tell();
    };

    const layers = () => {
      for (const tick of all("input[data-layer]", tools)) grid.classList.toggle(`hides-${tick.dataset.layer}`, !tick.checked);
    };

    for (const one of cases) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: "larger" });
      button.setAttribute("aria-label", `larger: ${one.id}`);
      button.addEventListener("click", () => {
        const large = one.figure.classList.toggle("large");
        button.textContent = large ? "smaller" : "larger";
        button.setAttribute("aria-label", `${button.textContent}: ${one.id}`);
        one.figure.scrollIntoView({ block: "nearest" });
      });
      one.figure.querySelector("figcaption").prepend(button);
    }
    for (const filter of [...filters, sort]) filter.addEventListener("change", arrange);
    for (const slider of [centre, width]) slider.addEventListener("input", window_);
    for (const tick of all("input[data-layer]", tools)) tick.addEventListener("change", layers);
    tools.querySelector("[data-reset]").addEventListener("click", () => {
      for (const one of [...filters, sort]) one.value = "";
      for (const slider of [centre, width]) slider.value = 0;
      for (const tick of all("input[data-layer]", tools)) tick.checked = true;
      arrange(); window_(); layers();
    });
    tools.hidden = said.hidden = false;
    window_();
  }
})();
