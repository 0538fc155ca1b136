// The list of training responses and the test answers side by side. The forms' fields are the state.
const PAGE = 20;
const rollouts = $("rollout-filters");
const tests = $("test-filters");

const fieldsOf = (form) => [...form.elements].filter((field) => field.name && field.type !== "button");
const initial = (field) => (field.tagName === "SELECT" ? field.options[0].value : "");
const stateOf = (form) => Object.fromEntries(fieldsOf(form).map((field) => [field.name, field.value.trim()]));

// Show only the latest request, even if an earlier one needs longer to unpack.
function latest(action) {
  let requests = 0;
  return async (...values) => {
    requests += 1;
    const own = requests;
    return action(() => own === requests, ...values);
  };
}

function notice(id, ...children) {
  $(id).replaceChildren(...children);
  $(id).hidden = children.length === 0;
}

// ------------------------------------------------------------------ training responses
let listed = { data: null, state: {}, rows: [], begin: 0, end: 0 };

// Fill the list from the form. The part of it that contains the selected response is shown.
const showRollouts = latest(async (isCurrent) => {
  if (!packed.has(rollouts.elements.run.value)) return;
  const data = await loadRun(rollouts.elements.run.value);
  if (!isCurrent()) return;
  const state = stateOf(rollouts);
  const matching = filterRows(data, state);
  const rows = sortRows(matching.filter(isEmbedded), state.sort);
  const begin = PAGE * Math.floor(Math.max(0, rows.findIndex((row) => placeOf(row) === state.selected)) / PAGE);
  listed = { data, state, rows, begin, end: begin + PAGE };
  for (const field of [rollouts.elements.from, rollouts.elements.to]) field.max = data.last;
  Object.assign(rollouts.elements.from, { placeholder: "1" });
  Object.assign(rollouts.elements.to, { placeholder: String(data.last) });
  rollouts.elements.evidence.closest("label").hidden = !data.isChecked;
  showPython(data, state);
  notice("rollout-notice", ...(state.selected ? missing(data, state, rows) : []), ...(rows.length ? [] : looser(data, state, matching)));
  showListed(matching.length);
});

// The code is open where the list is only a part of what matches.
function showPython(data, state) {
  $("rollout-python").querySelector("pre code").replaceChildren(...visible(inPython(data, state)));
  $("rollout-python").open ||= data.shown.length < data.rows.length;
}

function showListed(matching = null) {
  const { data, state, rows, begin, end } = listed;
  if (matching !== null) listed.count = countOf(data, state, rows.length, matching);
  const isPart = begin > 0 || rows.length > end;
  $("rollout-count").textContent = listed.count + (isPart ? `; ${begin + 1} to ${Math.min(end, rows.length)} are shown` : "");
  $("rollout-list").replaceChildren(...rows.slice(begin, end).map((row) => rolloutArticle(data, state, row)));
  $("rollout-list").classList.toggle("empty", rows.length === 0);
  $("rollout-fewer").hidden = begin === 0;
  $("rollout-more").hidden = rows.length <= end;
}

function showFurther(pages) {
  if (pages < 0) listed.begin = Math.max(0, listed.begin + pages * PAGE);
  else listed.end += pages * PAGE;
  showListed();
}

function countOf(data, state, shown, matching) {
  const all = data.rows.length.toLocaleString("en");
  const number = shown.toLocaleString("en");
  if (data.shown.length === data.rows.length) return `${number} of ${all} responses`;
  if (isCounted(data, state)) return `${number} of ${matching.toLocaleString("en")} matching responses are embedded; the run has ${all}`;
  return `${number} of the ${data.shown.length.toLocaleString("en")} embedded responses; the run has ${all}, and words are not searched in the others`;
}

// Explain why the selected response is not in the list.
function missing(data, state, rows) {
  if (rows.some((row) => placeOf(row) === state.selected)) return [];
  const row = data.rows.find((one) => placeOf(one) === state.selected);
  if (!row) return [`${data.name} has no response ${state.selected}: an address names update, question and sample.`];
  const facts = `${gradeOf(row)}, reward ${rewardOf(row.reward)}, ${stageName(row.stage).toLowerCase()}`;
  if (isEmbedded(row)) return [`The response ${state.selected} exists, but the filters exclude it (${facts}).`];
  return [`The response ${state.selected} exists, but the report does not contain its text (${facts}). The parquet file contains it: `,
    element("code", "", ...visible(`pd.read_parquet("rollouts/${data.name}/rollouts.parquet").loc[lambda r: (r["update"] == ${row.update}) & (r["question_id"] == ${JSON.stringify(row.id)}) & (r["sample"] == ${row.sample})]`))];
}

// Name the filter without which most responses match.
function looser(data, state, matching) {
  if (matching.length) return [`The report does not contain the text of any of the ${matching.length.toLocaleString("en")} matching responses; the Python code below the filters selects them.`];
  const { filter, count } = loosen(data, state);
  if (!filter) return ["No response matches, also not without any one of the filters. Reset them."];
  const remove = button("Remove this filter", `Remove the filter ${filter.title}`, () => {
    for (const name of filter.fields) rollouts.elements[name].value = "";
    rollouts.dispatchEvent(new Event("input"));
  });
  return [`No response matches all filters. Without the filter \u201c${filter.title}\u201d, ${count.toLocaleString("en")} match. `, remove];
}

function rolloutArticle(data, state, row) {
  const place = placeOf(row);
  const isSelected = place === state.selected;
  const title = `${runName(data.name)}, update ${row.update}, question ${row.id}, sample ${row.sample}`;
  const link = element("a", "", "Link");
  link.href = addressOf(rolloutPlace(data.name, row));
  link.setAttribute("aria-label", `Link to ${title}`);
  const one = data.questions[row.id];
  const own = data.byQuestion.get(row.id);
  const strip = lazyDetails(`Film-strip: ${own.length} responses to this question`, isSelected, () =>
    filmStrip(`Responses to ${row.id}`, own, (other) => (isEmbedded(other) ? addressOf(rolloutPlace(data.name, other)) : null), place));
  const article = element("article", isSelected ? "linked" : "",
    element("h4", "", shapeOf(row), `Update ${row.update}, sample ${row.sample}, reward ${rewardOf(row.reward)}; `,
      element("strong", "", outcome(row, one.gold)), `; ${stageName(row.stage)}. `, link, " ",
      button("Compare", `Compare ${title}`, () => compare(row.text, title, article))),
    questionOf(row.id, one, isSelected), marked(row, state.words), strip);
  article.dataset.place = place;
  article.tabIndex = -1;
  return article;
}

// A run's name for readers.
const runName = (run) => [...rollouts.elements.run.options].find((option) => option.value === run).text;

const shapeOf = (row) => element("span", `shape ${row.stage}`);

// The parameters of the address of one response: its update and question, so that its neighbours are listed too.
function rolloutPlace(run, row) {
  return { run, from: row.update, to: row.update, question: row.id, selected: placeOf(row) };
}

// ------------------------------------------------------------------ test answers
let asked = { data: null, bench: null, name: "", ids: [], place: 0, state: {} };

const modelName = (model) => `${model.label}, ${model.mode.replaceAll("_", " ")}`;
const modelKey = (model) => `${model.model},${model.mode}`;

let testData = null;

async function loadTests() {
  if (!testData) {
    const causal = packed.has("causal") ? unpack("causal") : { runs: [] };
    const [data, checkpoints, panels] = await Promise.all([unpack("tests"), unpack("checkpoints"), causal]);
    testData = { ...data, checkpoints, panels, places: new Map(data.models.map((model, place) => [modelKey(model), place])) };
    for (const bench of Object.values(data.benchmarks)) bench.byModel = answersOf(bench);
  }
  return testData;
}

const showTests = latest(async (isCurrent) => {
  const data = await loadTests();
  if (!isCurrent()) return;
  const state = stateOf(tests);
  const bench = data.benchmarks[state.benchmark];
  if (!bench) return;
  const ids = matchingTests(data, bench, state);
  const { item } = state;
  asked = { data, bench, name: state.benchmark, ids, place: Math.max(0, ids.indexOf(item)), state };
  // A third model comes from an address; without one, its fields are not shown.
  for (const name of ["third", "third_outcome"]) tests.elements[name].closest("label").hidden = !state.third;
  const isMissing = item && !ids.includes(item);
  const text = bench.questions[item] ? `The filters exclude the question ${item}.` : `This benchmark has no question ${item}.`;
  notice("test-notice", ...(isMissing ? [text] : []), ...(ids.length ? [] : looserTests(data, bench, state)));
  $("test-python").querySelector("pre code").replaceChildren(...visible(testsInPython(state.benchmark, bench, state)));
  $("test-python").open ||= chosenModels(data, state).some((model) => !model.shown);
  await showTest();
});

const TEST_FILTERS = [["first", "first model"], ["second", "second model"], ["third", "third model"], ["test_question", "question"]];

const chosenModels = (data, state) => SIDES.filter((side) => state[side]).map((side) => data.models[data.places.get(state[side])]);

function matchingTests(data, bench, state, left = "") {
  const conditions = SIDES.filter((side) => state[side] && side !== left).map((side) => {
    const answers = bench.byModel[data.places.get(state[side])];
    return (id) => answers.has(id) && isOutcome(answers.get(id), state[`${side}_outcome`]);
  });
  const words = state.test_question.toLowerCase();
  if (words && left !== "test_question") conditions.push(isAsked(bench.questions, bench.ids, words));
  return bench.ids.filter((id) => conditions.every((condition) => condition(id)));
}

function looserTests(data, bench, state) {
  const counts = TEST_FILTERS.filter(([field]) => state[field]).map(([field, title]) => [matchingTests(data, bench, state, field).length, title, field]);
  const [count, title, field] = counts.reduce((best, one) => (one[0] > best[0] ? one : best), [0]);
  if (!count) return ["No question matches, also not without any one of the filters. Reset them."];
  const remove = button("Remove this filter", `Remove the filter ${title}`, () => {
    tests.elements[field].value = "";
    tests.dispatchEvent(new Event("input"));
  });
  return [`No question matches all filters. Without the filter \u201c${title}\u201d, ${count.toLocaleString("en")} match. `, remove];
}

// Those whose texts the report contains, and those of the filters.
function columnsOf({ data, state }) {
  const chosen = chosenModels(data, state);
  return data.models.filter((model) => model.shown || chosen.includes(model));
}

function countTests({ data, bench, ids, place, state }) {
  if (!ids.length) return "No question matches";
  const other = chosenModels(data, state).filter((model) => !model.shown).map(modelName);
  const all = ids.length < bench.ids.length ? `; the benchmark has ${bench.ids.length.toLocaleString("en")}` : "";
  const texts = other.length ? `; the report does not contain the texts of ${other.join(" and ")}` : "";
  return `Question ${place + 1} of ${ids.length.toLocaleString("en")}${all}${texts}`;
}

async function showTest() {
  const { data, bench, name, ids, place } = asked;
  tests.elements.before.disabled = place <= 0;
  tests.elements.after.disabled = place >= ids.length - 1;
  const id = ids[place];
  $("test-count").textContent = countTests(asked);
  if (id === undefined) {
    $("test-item").replaceChildren();
    return;
  }
  const link = element("a", "", "Link to this question");
  link.href = addressOf({ benchmark: name, item: id });
  const columns = element("div", "columns", ...columnsOf(asked).map((model) => testColumn(bench, model, bench.byModel[data.models.indexOf(model)].get(id), id)));
  const strips = Object.entries(data.checkpoints).map(([run, byBenchmark]) => lazyDetails(`Film-strip: answers of the checkpoints of ${runName(run)}`, false, () =>
    filmStrip(`Answers to ${id}`, rowsOf(byBenchmark[name]).filter((row) => row.id === id), () => null)));
  const article = element("article", "", questionOf(id, bench.questions[id], true), element("p", "soft", link, ...panelLink(data.panels, name, id)), columns, ...strips);
  article.tabIndex = -1;
  $("test-item").replaceChildren(article);
}

// A link to the question's causal panel, at the last checkpoint that has one.
function panelLink(panels, benchmark, question) {
  for (const { name: run, entries } of panels.runs) {
    const updates = entries.filter((entry) => entry.benchmark === benchmark && entry.question === question).map((entry) => entry.update);
    if (!updates.length) continue;
    const link = element("a", "", "Probabilities along its think block");
    link.href = "#causal?" + new URLSearchParams({ run, update: Math.max(...updates), benchmark, question });
    return [", ", link];
  }
  return [];
}

function testColumn(bench, model, response, id) {
  const title = `${modelName(model)}, question ${id}`;
  const head = [element("strong", "", modelName(model)), ": ", response ? outcome(response, bench.questions[id].gold) : "no answer", " "];
  if (!response || !isEmbedded(response)) return element("div", "column", element("h4", "", ...head), element("p", "soft", "The text is not in the report."));
  const mark = button("Compare", `Compare ${title}`, () => compare(response.text, title, mark));
  return element("div", "column", element("h4", "", ...head, mark), marked(response));
}

// ------------------------------------------------------------------ export
function save(name, lines) {
  const link = element("a", "");
  link.href = URL.createObjectURL(new Blob([jsonLines(lines)], { type: "application/x-ndjson" }));
  link.download = `${name.replaceAll("/", "-")}.jsonl`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

const exportRollouts = () => save(listed.data.name, listed.rows.map((row) => lineOf(listed.data.name, row)));

function exportTests() {
  const { data, bench, name, ids } = asked;
  const lines = ids.flatMap((id) => columnsOf(asked).map((model) => {
    const { text, spans, strict, ...facts } = bench.byModel[data.models.indexOf(model)].get(id);
    return { benchmark: name, question_id: id, model: model.model, mode: model.mode, ...facts, strict_format: strict, response: text };
  }));
  save(name, lines);
}
