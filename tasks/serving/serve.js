"use strict";
// The page of the service: sends what is dropped, and draws what comes back. Texts of data go through textContent alone.
const by = (id) => document.getElementById(id);
const COLOURS = [[0, 158, 115], [204, 121, 167], [230, 159, 0], [0, 114, 178], [221, 204, 119], [136, 34, 85], [153, 153, 51], [51, 34, 136]];
const colour = (number) => COLOURS[number % COLOURS.length];
const css = (number) => `rgb(${colour(number).join(" ")})`;
let token = "", about = null, view = null, shown = null, sending = null;

function element(name, text = "", kind = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

async function ask(path, more = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { ...more, headers, cache: "no-store", credentials: "omit", redirect: "error" });
  const refused = answer.headers.get("X-Refused");  // with status 200, so that the browser does not complain of it
  if (answer.ok && !refused) return answer;
  let line = `the service answers ${answer.status}`;
  try { line = (await answer.json()).error || line; } catch { /* no JSON: the status has to do */ }
  throw Object.assign(new Error(line), { status: Number(refused || answer.status) });
}

function say(state, error = "") {
  by("state").textContent = state;
  by("error").textContent = error;
}

// Models.
async function begin() {
  const { models } = await (await ask("/v1/models")).json();
  by("ask").hidden = true;
  by("work").hidden = false;
  by("model").replaceChildren(...models.map((one) => new Option(one.title ? `${one.name} (${one.title})` : one.name, one.name)));
  by("choose").hidden = models.length < 2;
  await choose();
}

async function choose() {
  about = await (await ask(`/v1/models/${encodeURIComponent(by("model").value)}`)).json();
  by("title").textContent = about.name || about.model_name;
  document.title = `${about.name || about.model_name} - scansuite`;
  by("notice").textContent = about.notice;
  const tasks = { classify: "classification", segment: "segmentation", detect: "detection" };
  const points = Object.entries(about.operating_points).map(([name, value]) => `${name}: ${number(value)}`).join(", ");
  const facts = [
    ["Task", tasks[about.task] || about.task], ["Classes", about.class_names.join(", ")],
    ["Image", `${about.in_channels} ${about.in_channels === 1 ? "channel" : "channels"}` + (about.input_size ? `, trained at ${about.input_size[1]} x ${about.input_size[0]} px` : "")],
    ["Operating point", points ? `${points}${about.operating_rule ? ` (by ${about.operating_rule} on validation)` : ""}` : "none was chosen"],
    ["Scores", about.calibration ? "calibrated on validation" : "as the model gives them, not calibrated"],
    ["Weights", [about.weights || "from scratch", about.precision].join(", ")], ["Licence", about.licence || "not known"],
    ["Made", [about.made, about.suite ? `scansuite ${about.suite}` : ""].filter(Boolean).join(", ")], ["Training run", about.run || "not known"],
  ];
  by("facts").replaceChildren(...facts.filter(([, text]) => text).flatMap(([name, text]) => [element("dt", name), element("dd", text)]));
}

// Sending.
async function send(files) {
  if (!files.length || sending || !about) return;
  const form = new FormData();
  for (const file of files) form.append("file", file, file.name);
  const size = files.reduce((sum, file) => sum + file.size, 0) / 1048576, most = Number(by("work").dataset.most);
  if (size > most) { say("", `${size.toFixed(0)} MiB are more than the ${most} MiB that this service takes.`); return; }
  say(`Sending ${files.length === 1 ? files[0].name : `${files.length} files`} (${size.toFixed(1)} MiB) ...`);
  by("result").hidden = true;
  sending = new AbortController();
  try {
    const path = `/v1/models/${encodeURIComponent(about.model_name)}/view`;
    const answer = await ask(path, { method: "POST", body: form, signal: sending.signal });
    view = unpack(await answer.arrayBuffer());
    say("");
    show();
  } catch (error) {
    view = null;
    say("", error.status ? error.message : `The service cannot be reached (${error.message}).`);
    if (error.status === 401) { by("work").hidden = true; by("ask").hidden = false; }
  } finally {
    sending = null;
    by("files").value = "";
  }
}

function unpack(buffer) {
  const head = new DataView(buffer);
  if (head.getUint32(0, false) !== 0x53535631) throw new Error("the answer is of another version: reload the page");
  const length = head.getUint32(4, true);
  const told = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const array = ({ offset, shape, type }) => {
    const count = shape.reduce((all, side) => all * side, 1), start = 8 + length + offset;
    return { shape, values: type === "u2" ? new Uint16Array(buffer, start, count) : new Uint8Array(buffer, start, count) };
  };
  for (const image of told.images) {
    if (image.pixels) image.pixels = array(image.pixels);
    if (image.mask) image.mask = array(image.mask);
    if (image.heat) image.heat.maps = array(image.heat.maps);
  }
  return told;
}

// Results.
const number = (value) => (value === null || value === undefined ? "" : Math.abs(value) >= 1000 || Number.isInteger(value) ? String(Math.round(value)) : Number(value).toPrecision(3));
const rowsOf = (id) => view.answer.predictions.filter((row) => row.case_id === id);

function show() {
  const cases = view.answer.cases;
  by("case").replaceChildren(...cases.map((one) => new Option(one.case_id, one.case_id)));
  by("which").hidden = cases.length < 2;
  by("result").hidden = false;
  by("drop").classList.add("small-drop");
  const left = [...view.answer.unreadable, ...view.answer.passed_over];
  by("left").hidden = !left.length;
  by("left").firstElementChild.textContent = left.length === 1 ? "1 file was left out" : `${left.length} files were left out`;
  by("left").lastElementChild.replaceChildren(...left.map((one) => element("li", `${one.path}: ${one.error}`)));
  showCase();
}

function showCase() {
  const id = by("case").value, rows = rowsOf(id);
  by("said").textContent = sentence(rows);
  shown = view.images.find((one) => one.case_id === id) || null;
  by("tables").replaceChildren(table(rows));
  by("viewer").hidden = !shown;
  if (shown) showScan(rows);
}

function sentence(rows) {
  const rule = about.operating_rule ? `, chosen by ${about.operating_rule} on validation` : "";
  if (about.task === "segment") {
    const found = rows.filter((row) => (row.pixels ?? row.voxels ?? 0) > 0 && !/^background$/i.test(row.class));
    return found.length ? `Found: ${found.map((row) => row.class).join(", ")}` : "Nothing is found";
  }
  if (about.task === "detect") {
    const called = rows.filter((row) => !("prediction_op" in row) || row.prediction_op);
    const points = Object.keys(about.operating_points).length ? ` at or above the operating point${rule}` : "";
    return `${called.length} ${called.length === 1 ? "box" : "boxes"}${points}`;
  }
  if (!rows.length) return "No result";
  if (rows.length > 1) return `${rows.length} images, each with its result`;
  const [row] = rows, scores = scoresOf(row), points = about.operating_points;
  const labels = Object.keys(row).filter((name) => name.startsWith("prediction_op_") || (name.startsWith("prediction_") && name !== "prediction_op"));
  if (labels.length && !("prediction" in row)) {
    const at = labels.some((name) => name.startsWith("prediction_op_")) ? "prediction_op_" : "prediction_";
    const yes = labels.filter((name) => name.startsWith(at) && (row[name] === true || row[name] === 1)).map((name) => name.slice(at.length));
    return yes.length ? `Called: ${yes.join(", ")}${at === "prediction_op_" ? ` (each at its operating point${rule})` : ""}` : "None of the labels is called";
  }
  const call = row.prediction_op ?? row.prediction;
  if (!scores.length) return `Predicted: ${typeof call === "number" ? number(call) : call}`;
  const [name, point] = Object.entries(points)[0] || [];
  if (name && Object.keys(points).length === 1) {
    const score = row[`score_${name}`], side = score >= point ? "at or above" : "below";
    return `Called ${call}: the score of ${name}, ${number(score)}, is ${side} the operating point ${number(point)}${rule}`;
  }
  return `Called ${call}: its score is ${number(row[`score_${call}`])}`;
}

const scoresOf = (row) => Object.keys(row).filter((name) => name.startsWith("score_")).map((name) => [name.slice(6), row[name]]);

function table(rows) {
  const made = element("table"), head = made.createTHead().insertRow(), body = made.createTBody();
  const th = (text, kind = "") => head.append(Object.assign(element("th", text, kind), { scope: "col" }));
  if (about.task === "classify" && rows.length === 1 && scoresOf(rows[0]).length) {
    made.className = "scores";
    th("Class"); th("Score"); head.lastElementChild.colSpan = 2;
    if (Object.keys(about.operating_points).length) th("Operating point", "number");
    const sorted = scoresOf(rows[0]).sort((a, b) => b[1] - a[1]);
    for (const [name, score] of sorted) {
      const row = body.insertRow(), point = about.operating_points[name];
      const called = rows[0].prediction_op ?? rows[0].prediction;
      if (called === name || rows[0][`prediction_op_${name}`]) row.className = "called";
      row.insertCell().textContent = name;
      const bar = element("div", "", "bar"), filled = element("i");
      filled.style.width = `${100 * score}%`;
      bar.append(filled);
      if (point !== undefined) { const mark = element("b"); mark.style.left = `${100 * Math.min(1, point)}%`; bar.append(mark); }
      row.insertCell().append(bar);
      Object.assign(row.insertCell(), { textContent: number(score), className: "number" });
      if (Object.keys(about.operating_points).length) Object.assign(row.insertCell(), { textContent: point === undefined ? "" : number(point), className: "number" });
    }
    return made;
  }
  const names = { prediction: "called", prediction_op: "at the operating point", size_mm: shown && shown.slices > 1 ? "mm³" : "mm²", x1: "left", y1: "top", x2: "right", y2: "bottom" };
  const columns = rows.length ? Object.keys(rows[0]).filter((name) => !["case_id", "path", "split"].includes(name)) : [];
  if (!rows.length) return element("p", "Nothing is found in this case.", "small");
  for (const name of columns) th(names[name] || name.replace(/^score_/, "score of ").replaceAll("_", " "), typeof rows[0][name] === "number" ? "number" : "");
  for (const one of rows.slice(0, 300)) {
    const row = body.insertRow();
    if (one.prediction_op) row.className = "called";
    for (const name of columns) {
      const value = one[name], cell = row.insertCell();
      cell.textContent = typeof value === "number" ? number(value) : value ?? "";
      if (typeof value === "number") cell.className = "number";
    }
  }
  return made;
}

// The scan.
function showScan(rows) {
  by("canvas").hidden = Boolean(shown.error);
  by("caption").textContent = shown.error ? `The scan cannot be shown: ${shown.error}` : caption();
  document.querySelector(".controls").hidden = Boolean(shown.error);
  by("legend").replaceChildren();
  by("heat-said").hidden = true;
  if (shown.error) return;
  shown.rows = about.task === "detect" ? rows : [];
  const slices = shown.pixels.shape[0], middle = middleFound();
  by("slices").hidden = slices < 2;
  Object.assign(by("slice"), { max: slices - 1, value: middle });
  const coloured = shown.pixels.shape[3] === 3;
  for (const id of ["presets", "centres", "widths"]) by(id).hidden = coloured;
  by("preset").replaceChildren(...shown.windows.map((one, place) => new Option(one.name, String(place))), new Option("own", "own"));
  const lows = shown.windows.map((one) => one.low), highs = shown.windows.map((one) => one.high);
  const low = Math.min(shown.low, ...lows), high = Math.max(shown.largest, ...highs);
  Object.assign(by("centre"), { min: low, max: high });
  Object.assign(by("width"), { min: (high - low) / 512, max: high - low });
  layers();
  preset();
}

function caption() {
  const [height, width] = shown.size, told = [`${width} x ${height} px`];
  if (shown.slices > 1) told.push(`${shown.slices} slices`);
  if (shown.step > 1) told.push(`every ${shown.step}th is shown`);
  if (shown.spacing) told.push(`${number(shown.spacing[1])} x ${number(shown.spacing[0])} mm a pixel`);
  return told.join(", ");
}

function middleFound() {
  const count = shown.pixels.shape[0];
  if (!shown.mask) return Math.floor(count / 2);
  const size = shown.mask.values.length / count, found = [];
  for (let slice = 0; slice < count; slice += 1) if (shown.mask.values.subarray(slice * size, (slice + 1) * size).some((value) => value > 0)) found.push(slice);
  return found.length ? found[Math.floor(found.length / 2)] : Math.floor(count / 2);
}

const regions = () => (about.overlapping ? about.class_names : about.class_names.slice(1));

function layers() {
  const options = [];
  const legend = [];
  if (shown.heat) {
    const called = by("said").textContent, start = shown.heat.classes.findIndex((name) => called.startsWith(`Called ${name}:`) || called.startsWith(`Called: ${name}`));
    options.push(new Option("nothing above the scan", ""));
    shown.heat.classes.forEach((name, place) => options.push(new Option(`heat map of ${name}`, String(place), place === start, place === start)));
    by("heat-said").hidden = false;
    by("heat-said").textContent = shown.heat.kind === "cam"
      ? "Heat map: class activation map. Bright is where the network finds what speaks for the class; it is no outline of a lesion."
      : "Heat map: occlusion in a coarse grid. Bright is where covering a cell lowers the class's score most; it is no outline of a lesion.";
  } else if (shown.mask) {
    options.push(new Option("mask", "mask"), new Option("outlines", "lines"), new Option("nothing above the scan", ""));
    regions().forEach((name, place) => legend.push([name, place]));
  } else if (shown.rows.length) {
    const called = shown.rows.some((row) => row.prediction_op);
    if (called) options.push(new Option("boxes at the operating point", "called"));
    options.push(new Option("all boxes", "all"), new Option("nothing above the scan", ""));
    about.class_names.forEach((name, place) => legend.push([name, place]));
  }
  by("layer").replaceChildren(...options);
  by("layers").hidden = !options.length;
  by("strengths").hidden = !(shown.heat || shown.mask);
  by("legend").replaceChildren(...legend.map(([name, place]) => {
    const line = element("li", name), swatch = element("span", "", "swatch");
    swatch.style.background = css(place);
    line.prepend(swatch);
    return line;
  }));
}

function preset() {
  const one = shown.windows[Number(by("preset").value)];
  if (one) {
    by("centre").value = (one.low + one.high) / 2;
    by("width").value = one.high - one.low;
  }
  draw();
}

let waiting = false;
function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; if (shown && !shown.error) paint(); });
}

function paint() {
  const [slices, height, width, channels] = shown.pixels.shape, slice = Number(by("slice").value);
  const canvas = by("canvas"), pen = canvas.getContext("2d");
  const [row, column] = shown.spacing || [1, 1], tall = (height * row) / column;
  const large = Math.max(1, Math.min(4, Math.floor(768 / Math.max(width, tall))));
  canvas.width = Math.round(width * large);
  canvas.height = Math.max(1, Math.round(tall * large));
  const scan = new OffscreenCanvas(width, height), ink = scan.getContext("2d"), image = ink.createImageData(width, height);
  const centre = Number(by("centre").value), wide = Math.max(Number(by("width").value), 1e-9), count = width * height;
  const deep = shown.pixels.values instanceof Uint16Array, unit = (shown.high - shown.low) / (deep ? 65535 : 255);
  const start = slice * count * channels, values = shown.pixels.values;
  const table = new Uint8ClampedArray(deep ? 65536 : 256);
  if (channels === 1) for (let value = 0; value < table.length; value += 1) table[value] = (255 * (shown.low + value * unit - (centre - wide / 2))) / wide;
  for (let place = 0; place < count; place += 1) {
    for (let channel = 0; channel < 3; channel += 1) {
      const value = values[start + place * channels + (channels === 3 ? channel : 0)];
      image.data[4 * place + channel] = channels === 1 ? table[value] : deep ? value / 257 : value;
    }
    image.data[4 * place + 3] = 255;
  }
  ink.putImageData(image, 0, 0);
  pen.imageSmoothingEnabled = true;
  pen.drawImage(scan, 0, 0, canvas.width, canvas.height);
  const layer = by("layer").value, strength = Number(by("strength").value) / 100;
  if (shown.heat && layer !== "") paintHeat(pen, Number(layer), strength);
  if (shown.mask && layer) paintMask(pen, slice, layer, strength);
  if (shown.rows.length && layer) paintBoxes(pen, layer);
  by("slice-said").value = slices > 1 ? `${slice * shown.step + 1} of ${shown.slices}` : "";
  by("centre-said").value = number(centre);
  by("width-said").value = number(wide);
  by("strength-said").value = `${by("strength").value} %`;
}

function paintHeat(pen, which, strength) {
  const [, height, width] = shown.heat.maps.shape, count = width * height;
  const small = new OffscreenCanvas(width, height), ink = small.getContext("2d"), image = ink.createImageData(width, height);
  for (let place = 0; place < count; place += 1) {
    const value = shown.heat.maps.values[which * count + place] / 255;  // black - red - yellow - white
    image.data.set([255 * Math.min(1, 2.2 * value), 255 * Math.max(0, Math.min(1, 2.2 * value - 0.8)), 255 * Math.max(0, 4 * value - 3), 255 * Math.min(1, 1.6 * value)], 4 * place);
  }
  ink.putImageData(image, 0, 0);
  pen.globalAlpha = strength;
  pen.drawImage(small, 0, 0, pen.canvas.width, pen.canvas.height);
  pen.globalAlpha = 1;
}

function paintMask(pen, slice, layer, strength) {
  const [, height, width] = shown.mask.shape, count = width * height, mask = shown.mask.values.subarray(slice * count, (slice + 1) * count);
  const small = new OffscreenCanvas(width, height), ink = small.getContext("2d"), image = ink.createImageData(width, height);
  const edge = (place, value) => {
    const x = place % width;
    return (x > 0 && mask[place - 1] !== value) || (x < width - 1 && mask[place + 1] !== value) || (place >= width && mask[place - width] !== value) || (place + width < count && mask[place + width] !== value);
  };
  for (let place = 0; place < count; place += 1) {
    const value = mask[place];
    if (!value) continue;
    const which = about.overlapping ? 31 - Math.clz32(value) : value - 1;
    image.data.set([...colour(which), layer === "lines" ? (edge(place, value) ? 255 : 0) : 255], 4 * place);
  }
  ink.putImageData(image, 0, 0);
  pen.globalAlpha = layer === "lines" ? 1 : strength;
  pen.imageSmoothingEnabled = false;
  pen.drawImage(small, 0, 0, pen.canvas.width, pen.canvas.height);
  pen.globalAlpha = 1;
}

function paintBoxes(pen, layer) {
  const [height, width] = shown.size, sx = pen.canvas.width / width, sy = pen.canvas.height / height;
  const line = Math.max(2, pen.canvas.width / 280);
  pen.lineWidth = line;
  pen.font = `${Math.max(11, pen.canvas.width / 45)}px system-ui, sans-serif`;
  pen.textBaseline = "bottom";
  for (const row of shown.rows) {
    if (layer === "called" && !row.prediction_op) continue;
    const place = Math.max(0, about.class_names.indexOf(row.label)), text = number(row.score);
    pen.strokeStyle = css(place);
    pen.strokeRect(row.x1 * sx, row.y1 * sy, (row.x2 - row.x1) * sx, (row.y2 - row.y1) * sy);
    const top = Math.max(row.y1 * sy, parseFloat(pen.font)), wide = pen.measureText(text).width + 4;
    pen.fillStyle = "rgb(0 0 0 / 65%)";
    pen.fillRect(row.x1 * sx, top - parseFloat(pen.font), wide, parseFloat(pen.font));
    pen.fillStyle = "#fff";
    pen.fillText(text, row.x1 * sx + 2, top);
  }
}

// Hands and keys.
by("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  token = by("token").value.trim();
  by("error").textContent = "";
  begin().catch((error) => { token = ""; by("ask").hidden = false; by("work").hidden = true; refuse(error); });
});
function refuse(error) {
  const wrong = error.status === 401;
  let line = by("wrong");
  if (!line) { line = Object.assign(element("p", "", "error"), { id: "wrong" }); line.setAttribute("role", "alert"); by("ask").append(line); }
  line.textContent = wrong ? "This is not the service's token." : `The service cannot be reached (${error.message}).`;
}
by("model").addEventListener("change", () => { by("result").hidden = true; say(""); choose().catch((error) => say("", error.message)); });
by("files").addEventListener("change", () => send([...by("files").files]));
by("case").addEventListener("change", showCase);
by("preset").addEventListener("change", preset);
for (const id of ["slice", "layer", "strength"]) by(id).addEventListener("input", draw);
for (const id of ["centre", "width"]) by(id).addEventListener("input", () => { by("preset").value = "own"; draw(); });
const step = (by_) => { const slice = by("slice"); slice.value = Number(slice.value) + by_; draw(); };
by("canvas").addEventListener("wheel", (event) => {
  if (!shown || by("slices").hidden) return;
  event.preventDefault();
  step(Math.sign(event.deltaY));
}, { passive: false });
by("canvas").addEventListener("keydown", (event) => {
  const move = { ArrowUp: -1, ArrowLeft: -1, PageUp: -10, ArrowDown: 1, ArrowRight: 1, PageDown: 10 }[event.key];
  if (move && shown && !by("slices").hidden) { event.preventDefault(); step(move); }
});
let held = null;  // dragging: across is the width, up and down the centre, as viewers do
by("canvas").addEventListener("pointerdown", (event) => { if (shown && !by("centres").hidden) { held = [event.clientX, event.clientY, Number(by("centre").value), Number(by("width").value)]; by("canvas").setPointerCapture(event.pointerId); } });
by("canvas").addEventListener("pointermove", (event) => {
  if (!held) return;
  const span = (Number(by("centre").max) - Number(by("centre").min)) / 400;
  by("width").value = held[3] + (event.clientX - held[0]) * span;
  by("centre").value = held[2] + (event.clientY - held[1]) * span;
  by("preset").value = "own";
  draw();
});
for (const name of ["pointerup", "pointercancel"]) by("canvas").addEventListener(name, () => { held = null; });
let over = 0;
addEventListener("dragenter", (event) => { event.preventDefault(); over += 1; by("drop").classList.add("over"); });
addEventListener("dragleave", () => { over = Math.max(0, over - 1); if (!over) by("drop").classList.remove("over"); });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  over = 0;
  by("drop").classList.remove("over");
  if (!by("work").hidden) send([...event.dataTransfer.files]);
});
if (by("ask").hidden) begin().catch((error) => say("", error.message));
