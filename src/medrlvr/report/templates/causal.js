// The causal panel: the options' probabilities along the think block of one response. Addresses: #causal? and its selects.
const causal = $("causal-panel");
const CAUSAL_START = "#causal?";
const CAUSAL_COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const CAUSAL_DASHES = ["none", "7 3", "2 2", "8 3 2 3"];
const CAUSAL_ORDERS = {
  position: (one, other) => one.position - other.position || other.area - one.area,
  area: (one, other) => other.area - one.area,
  question: (one, other) => one.question.localeCompare(other.question, "en", { numeric: true }),
};
let causalData = null;
let showCausalChart;

// Set the options of a select; keep its value where that is possible.
function fillSelect(select, options, wanted = select.value) {
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  if (options.some(([value]) => value === wanted)) select.value = wanted;
}

const unique = (values) => [...new Set(values)];

// From which sentence on the final letter leads.
function leadText({ position, sentences }) {
  const place = Math.round(position * sentences.length);
  return place ? `from sentence ${place} of ${sentences.length}` : "without any sentence";
}

function causalChoice() {
  const { run, update, benchmark, question } = causal.querySelector("form").elements;
  const data = causalData.runs.find((one) => one.name === run.value);
  const isOf = (one) => one.update === Number(update.value) && one.benchmark === benchmark.value;
  return { data, entries: data.entries.filter(isOf), system: data.systems.find(isOf), question: question.value };
}

// Fill each select with what exists for the values of those before it.
function fillCausal(given = new URLSearchParams()) {
  const { run, update, benchmark, sort, question } = causal.querySelector("form").elements;
  const wanted = (select) => given.get(select.name) ?? select.value;
  fillSelect(run, causalData.runs.map((one) => [one.name, causalData.names.runs[one.name]]), wanted(run));
  const { systems } = causalChoice().data;
  const updates = unique(systems.map((one) => one.update)).sort((one, other) => other - one);
  fillSelect(update, updates.map((one) => [String(one), `update ${one}`]), wanted(update));
  const names = unique(systems.filter((one) => one.update === Number(update.value)).map((one) => one.benchmark));
  fillSelect(benchmark, names.map((name) => [name, causalData.names.benchmarks[name]]), wanted(benchmark));
  const entries = [...causalChoice().entries].sort(CAUSAL_ORDERS[sort.value]);
  fillSelect(question, entries.map((one) => [one.question, `${one.question}: ${one.final}, ${leadText(one)}`]), wanted(question));
}

const causalAddress = ({ data, system }, question) => CAUSAL_START + new URLSearchParams({ run: data.name, update: system.update, benchmark: system.benchmark, question });

// One line for each option; that of the final letter is thick.
function causalLines(entry) {
  return entry.probabilities[0].map((_, option) => {
    const label = String.fromCharCode(65 + option);
    return {
      label, strong: label === entry.final, colour: CAUSAL_COLOURS[option % CAUSAL_COLOURS.length], dash: CAUSAL_DASHES[option % CAUSAL_DASHES.length],
      points: entry.probabilities.map((row, place) => ({ place, value: row[option] / 1000 })),
    };
  });
}

function markSentence(step) {
  for (const node of causal.querySelectorAll(".sentence")) {
    const own = Number(node.dataset.step);
    node.classList.toggle("shown", own <= step);
    if (own === step) node.setAttribute("aria-current", "step");
    else node.removeAttribute("aria-current");
  }
}

function sentenceNode(text, index) {
  const node = element("span", "sentence", ...visible(text.trimStart()));
  node.dataset.step = index + 1;
  node.addEventListener("pointerenter", () => {
    const range = causal.querySelector("input[type=range]");
    range.value = index + 1;
    range.dispatchEvent(new Event("input"));
  });
  return [text.slice(0, text.length - text.trimStart().length), node];
}

function causalFacts(entry, gold) {
  const names = Object.entries(entry.kept);
  const of = (kept) => names.filter(([, value]) => value === kept).map(([name]) => name).join(", ");
  const right = entry.final === gold ? "right" : `wrong, ${gold} is right`;
  const facts = [
    `Final letter ${entry.final} (${right}); written: ${entry.written}.`,
    `${entry.final} leads ${leadText(entry)}; area ${shareOf(entry.area)}.`,
    of(true) && `Kept: ${of(true)}.`, of(false) && `Changed: ${of(false)}.`,
  ];
  return facts.filter(Boolean).join(" ");
}

function causalPython({ data, system }) {
  const file = (name) => `pd.read_parquet("controls/sensitivity/${data.name}/${name}.parquet")`;
  const chosen = `(r["model"] == ${JSON.stringify(system.model)}) & (r["benchmark"] == ${JSON.stringify(system.benchmark)})`;
  return `${file("requests")}.merge(${file("answers")}, on=["model", "benchmark", "question_id"], suffixes=("", "_answer")).loc[lambda r: ${chosen}]`;
}

function showCausal() {
  const choice = causalChoice();
  const entry = choice.entries.find((one) => one.question === choice.question);
  const one = causalData.questions[entry.benchmark][entry.question];
  $("causal-count").textContent = `${choice.entries.length} of ${choice.system.total} measured responses of this checkpoint on this benchmark are in the report.`;
  $("causal-python").replaceChildren(...visible(causalPython(choice)));
  $("causal-text").replaceChildren(...entry.sentences.flatMap(sentenceNode));
  $("causal-question").replaceChildren(questionOf(entry.question, one, true));
  $("causal-facts").textContent = causalFacts(entry, one.gold);
  const link = element("a", "", entry.embedded ? "This response in the explorer" : "This question in the explorer");
  link.href = "#responses?" + new URLSearchParams({ benchmark: entry.benchmark, item: entry.question });
  const own = element("a", "", "Link to this panel");
  own.href = causalAddress(choice, entry.question);
  $("causal-links").replaceChildren(link, ", ", own);
  const { length } = entry.sentences;
  showCausalChart({ places: [...Array(length + 1).keys()], lines: causalLines(entry), saidOf: (place) => `${place} of ${length}` });
}

// Show the panel of the address; explain each value that the report does not have.
function followCausal() {
  if (!location.hash.startsWith(CAUSAL_START)) return;
  const given = new URLSearchParams(location.hash.slice(CAUSAL_START.length));
  fillCausal(given);
  showCausal();
  const form = causal.querySelector("form").elements;
  const unknown = [...given].filter(([name, value]) => form[name]?.value !== value).map(([name, value]) => `${name}=${value}`);
  $("causal-notice").textContent = unknown.length ? `The report has no panel with ${unknown.join(", ")}.` : "";
  $("causal-notice").hidden = unknown.length === 0;
  $("causal").open = true;
  causal.scrollIntoView();
  causal.querySelector("input[type=range]").focus({ preventScroll: true });
}

let causalStart = null;

async function startCausal() {
  [causalData] = await Promise.all([unpackText(document.querySelector("[data-payload=causal]").textContent), loadPlot()]);
  showCausalChart = stepChart(causal, markSentence);
  const form = causal.querySelector("form");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => { $("causal-notice").hidden = true; fillCausal(); showCausal(); });
  fillCausal();
  showCausal();
}

// Without its data, the panel is hidden; the text above it names the files.
function openCausal() {
  causalStart ??= startCausal();
  causalStart.then(followCausal).catch(() => { causal.hidden = true; });
}

if (causal && "DecompressionStream" in window) {
  causal.hidden = false;
  const near = new IntersectionObserver(([entry]) => {
    if (!entry.isIntersecting) return;
    near.disconnect();
    openCausal();
  }, { rootMargin: "600px" });
  near.observe(causal);
  const isWanted = () => location.hash.startsWith(CAUSAL_START);
  window.addEventListener("hashchange", () => { if (isWanted()) openCausal(); });
  if (isWanted()) openCausal();
}
