"use strict";

// The page of an observer: one file in, picture and table out. Everything that comes from a
// file is set as text, never as HTML.

const $ = (id) => document.getElementById(id);
let chosen = null;
let asked = 0;
let largest = Infinity;

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function number(value, digits) {
  return value === null || value === undefined ? "" : value.toFixed(digits);
}

function withError(value, error, digits, unit) {
  if (value === null) return "";
  const sign = unit === " d" && value > 0 ? "+" : "";
  const spread = error === null ? "" : " ± " + error.toFixed(digits);
  return sign + value.toFixed(digits) + spread + (unit || "");
}

function kind(result) {
  const sub = result.subtype;
  return sub && sub !== "normal" ? `${result.class} (${sub})` : result.class;
}

function row(table, name, value, className) {
  if (value === "" || value === null || value === undefined) return;
  const line = table.insertRow();
  const head = element("th", name);
  head.scope = "row";
  line.append(head, value instanceof Node ? value : element("td", value, className));
}

function flags(names) {
  if (!names.length) return "";
  const cell = element("td");
  for (const name of names) cell.append(element("span", name, "flag"));
  return cell;
}

function factsTable(result) {
  const table = element("table");
  table.append(element("caption", "Answer"));
  row(table, "Class", kind(result));
  row(table, "Redshift", withError(result.redshift, result.redshift_err, 4));
  row(table, "Phase", withError(result.phase, result.phase_err, 1, " d"));
  const words = { auto: "auto: clear enough without a human", review: "review: let someone look" };
  row(table, "Decision", words[result.decision], result.decision === "auto" ? "good" : "review");
  row(table, "May also be", (result.prediction_set || []).filter((c) => c !== result.class).join(", "));
  const other = (result.candidates || []).slice(1)
    .map((c) => `${c.class}${c.redshift === null ? "" : " at z " + c.redshift.toFixed(3)}`);
  row(table, "Next best", other.join(", "));
  row(table, "S/N a pixel", number(result.snr, 1));
  row(table, "Range", `${number(result.wavelength_min, 0)}–${number(result.wavelength_max, 0)} Å, `
    + `${result.n_pixels} pixels`);
  row(table, "Instrument", result.instrument);
  row(table, "Flags", flags(result.flags));
  row(table, "Model", result.model);
  return table;
}

function classesTable(result) {
  const table = element("table");
  table.append(element("caption", "Probability of each class"));
  const sorted = Object.entries(result.probabilities).sort((a, b) => b[1] - a[1]).slice(0, 10);
  for (const [name, value] of sorted) {
    const line = table.insertRow();
    const head = element("th", name);
    head.scope = "row";
    const cell = element("td", null, "chart");
    const bar = element("div", "", "bar");
    bar.style.width = `${100 * value}%`;
    cell.append(bar);
    line.append(head, cell, element("td", (100 * value).toFixed(1) + " %", "number"));
  }
  return table;
}

function card(result, picture, fileName) {
  const article = element("article");
  const title = result.object || fileName;
  const where = result.row === null ? "" : `, row ${result.row}`;
  if (result.status !== "ok") {
    article.append(element("h2", `${title}${where}: not classified`, "bad"));
    article.append(element("p", result.error.message));
    return article;
  }
  const percent = (100 * result.probability).toFixed(1);
  article.append(element("h2", `${kind(result)}, ${percent} %`));
  const source = `${title}${where}` + (title === fileName ? "" : ` (${fileName})`);
  article.append(element("p", source, "faint"));
  const columns = element("div", null, "columns");
  columns.append(factsTable(result), classesTable(result));
  article.append(columns);
  if (picture) {
    const figure = element("figure");
    const image = element("img");
    image.alt = `Spectrum of ${title} with the lines of ${result.class}, `
      + "what made the answer, the probabilities and the redshift";
    image.src = `data:image/png;base64,${picture.data}`;
    figure.append(image);
    article.append(figure);
  }
  return article;
}

function show(answer, fileName) {
  const place = $("results");
  place.replaceChildren();
  answer.results.forEach((result, n) => {
    place.append(card(result, answer.pictures && answer.pictures[n], fileName));
  });
  const link = element("a", "Save the answer as JSON");
  const text = JSON.stringify(answer.results, null, 1);
  link.href = "data:application/json;charset=utf-8," + encodeURIComponent(text);
  link.download = "specinfer_" + fileName.replace(/\.[^.]*$/, "") + ".json";
  const line = element("p");
  line.append(link);
  place.append(line);
}

function fail(message) {
  $("status").textContent = "";
  $("error").textContent = message;
}

async function classify() {
  if (!chosen) return;
  const turn = ++asked;
  const name = chosen.name;
  $("error").textContent = "";
  $("results").replaceChildren();
  if (chosen.size > largest) {
    fail(`${name} has ${chosen.size} bytes; the service takes ${largest}. `
      + "Use specinfer classify for it.");
    return;
  }
  $("status").textContent = `Classifying ${name} …`;
  const query = new URLSearchParams({ plot: "png" });
  const redshift = $("redshift").value.trim().replace(",", ".");
  if (redshift) query.set("redshift", redshift);
  if ($("model").value) query.set("model", $("model").value);
  const form = new FormData();
  form.append("file", chosen, name);
  const headers = $("token").value ? { Authorization: `Bearer ${$("token").value}` } : {};
  const started = performance.now();
  let response;
  let answer;
  try {
    response = await fetch(`classify?${query}`, { method: "POST", body: form, headers });
    answer = await response.json();
  } catch (problem) {
    if (turn === asked) fail("The service does not answer; is it still running?");
    return;
  }
  // Another file was dropped meanwhile.
  if (turn !== asked) return;
  if (!response.ok) {
    fail(answer.error ? `${name}: ${answer.error.message}` : `The service said ${response.status}.`);
    return;
  }
  const seconds = (performance.now() - started) / 1000;
  $("status").textContent = `${name}: answered in ${seconds.toFixed(1)} s`;
  show(answer, name);
}

function take(files) {
  if (!files || !files.length) return;
  chosen = files[0];
  $("again").disabled = false;
  classify();
}

async function greet() {
  try {
    const health = await (await fetch("health")).json();
    $("about").textContent = `Version ${health.specinfer}, ${health.model}`;
    $("token-label").hidden = !health.token_needed;
    largest = health.max_body;
    $("limit").textContent = `at most ${(largest / 1048576).toFixed(0)} MiB; nothing is kept`;
    for (const name of ["auto", ...health.models]) $("model").add(new Option(name, name));
  } catch (problem) {
    fail("The service does not answer; is it still running?");
  }
}

$("form").addEventListener("submit", (event) => { event.preventDefault(); classify(); });
$("file").addEventListener("change", (event) => take(event.target.files));
const drop = $("drop");
for (const name of ["dragover", "dragleave", "drop"]) {
  // Anywhere on the page: a file dropped beside the box must not replace the page.
  document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name !== "drop" || !event.dataTransfer.files.length) return;
    // The box then shows its name, too; this alone does not fire "change".
    $("file").files = event.dataTransfer.files;
    take(event.dataTransfer.files);
  });
}
greet();
