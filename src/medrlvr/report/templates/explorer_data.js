// Embedded responses: unpacking, filtering, sorting, and the same selection as Python code and as JSON lines. No elements.
const packed = new Map([...document.querySelectorAll("[data-payload]")].map((node) => [node.dataset.payload, node]));
const unpacked = new Map();
const runs = new Map();

function unpack(name) {
  if (!unpacked.has(name)) unpacked.set(name, unpackText(packed.get(name).textContent.trim()));
  return unpacked.get(name);
}

// One object for each response of a run. Only embedded responses have a `text`.
function rowsOf(coded, texts = {}) {
  // Object.assign is about ten times as fast as spreading; a run may have 100,000 responses.
  return coded.kind.map((kind, place) => Object.assign(
    { update: coded.update[place], id: coded.ids[coded.question[place]], sample: coded.sample[place] }, coded.kinds[kind], texts[place]));
}

async function unpackRun(name) {
  const [facts, { questions, texts }] = await Promise.all([unpack(name + " facts"), unpack(name)]);
  const rows = rowsOf(facts, texts);
  const byQuestion = new Map(facts.ids.map((id) => [id, []]));
  for (const row of rows) byQuestion.get(row.id).push(row);
  const last = rows.reduce((most, row) => Math.max(most, row.update), 1);
  const isChecked = facts.kinds.some((kind) => "invented" in kind);
  return { name, rows, byQuestion, questions, last, isChecked, ids: facts.ids, shown: rows.filter(isEmbedded) };
}

function loadRun(name) {
  if (!runs.has(name)) runs.set(name, unpackRun(name));
  return runs.get(name);
}

const isEmbedded = (row) => row.text !== undefined;
const placeOf = (row) => `${row.update}/${row.id}/${row.sample}`;
const found = (text, words) => text.toLowerCase().includes(words);

// A complete ID selects that question. Other words are searched in ID, stem and options.
function isAsked(questions, ids, words) {
  const whole = ids.find((id) => id.toLowerCase() === words);
  if (whole !== undefined) return (id) => id === whole;
  const chosen = new Set(Object.keys(questions).filter((id) => {
    const one = questions[id];
    return found(id, words) || found(one.stem, words) || one.options.some((option) => found(option, words));
  }));
  return (id) => chosen.has(id);
}

function hasWords(row, words) {
  if (!isEmbedded(row)) return false;
  row.lower ??= row.text.toLowerCase();
  return row.lower.includes(words);
}

// In pandas: whether a response has a letter, or a number or text, that could be read.
const answerColumns = (of) => document.getElementById("responses").dataset[of].split(" ");
const isUnread = (reading, of = "answers") => answerColumns(of).map((name) => `r["${reading}${name}"].isna()`).join(" & ");
const isRead = (reading, of = "answers") => {
  const columns = answerColumns(of).map((name) => `r["${reading}${name}"].notna()`);
  return columns.length > 1 ? `(${columns.join(" | ")})` : columns[0];
};

// Each filter: the fields that set it, its name for people, a test of a row, and the same test in pandas.
const FILTERS = [
  {
    fields: ["from", "to"], title: "updates",
    test: ({ from, to }) => (row) => (!from || row.update >= Number(from)) && (!to || row.update <= Number(to)),
    python: ({ from, to }) => [from && `(r["update"] >= ${Number(from)})`, to && `(r["update"] <= ${Number(to)})`].filter(Boolean).join(" & "),
  },
  {
    fields: ["stage"], title: "stage", test: ({ stage }) => (row) => row.stage === stage,
    python: ({ stage }) => `(r["label"] == ${JSON.stringify(stage)})`,
  },
  {
    fields: ["grade"], title: "grade in the required format", test: ({ grade }) => (row) => row.grade === grade,
    python: ({ grade }) => ({
      right: 'r["correct"]', wrong: `${isRead("")} & ~r["correct"]`,
      "unreadable answer": `${isUnread("")} & (r["rule"] != "no_answer_block")`,
      "no valid format": `${isUnread("")} & (r["rule"] == "no_answer_block")`,
    })[grade],
  },
  {
    fields: ["lenient"], title: "grade of any readable answer", test: ({ lenient }) => (row) => row.lenient === lenient,
    python: ({ lenient }) => ({
      right: 'r["lenient_correct"]', wrong: `${isRead("lenient_")} & ~r["lenient_correct"]`,
      "no readable answer": isUnread("lenient_"),
    })[lenient],
  },
  {
    fields: ["evidence"], title: "evidence", test: ({ evidence }) => (row) => Boolean(row[evidence]),
    python: ({ evidence }) => ({ reasons: 'r["reasons"].fillna(False)', invented: '(r["evidence_invented"].fillna(0) > 0)' })[evidence],
  },
  {
    fields: ["checks"], title: "self-verification", test: ({ checks }) => (row) => row.checks === (checks === "yes"),
    python: ({ checks }) => `(r["self_verifications"] ${checks === "yes" ? ">" : "=="} 0)`,
  },
  {
    fields: ["question"], title: "question",
    test: ({ question }, data) => {
      const isWanted = isAsked(data.questions, data.ids, question.toLowerCase());
      return (row) => isWanted(row.id);
    },
    python: ({ question }, data) => askedInPython(question, data),
  },
  {
    fields: ["words"], title: "words in the response",
    test: ({ words }) => (row) => hasWords(row, words.toLowerCase()),
    python: ({ words }) => `r["response"].str.contains(${JSON.stringify(words)}, case=False, regex=False)`,
  },
];

function askedInPython(words, data, file = "data/train.parquet") {
  const whole = data.ids.find((id) => id.toLowerCase() === words.toLowerCase());
  if (whole !== undefined) return `(r["question_id"] == ${JSON.stringify(whole)})`;
  const text = 'q["question_id"] + " " + q["stem"] + " " + q["options"].str.join(" ")';
  const asked = `lambda q: (${text}).str.contains(${JSON.stringify(words)}, case=False, regex=False), "question_id"`;
  return `r["question_id"].isin(pd.read_parquet("${file}").loc[${asked}])`;
}

const activeFilters = (state) => FILTERS.filter((one) => one.fields.some((field) => state[field]));

function filterRows(data, state, left = null) {
  const tests = activeFilters(state).filter((one) => one !== left).map((one) => one.test(state, data));
  return data.rows.filter((row) => tests.every((test) => test(row)));
}

// Words are searched only where a text is embedded: then the number of all matching responses is not known.
function isCounted(data, state) {
  if (data.shown.length === data.rows.length) return true;
  const question = (state.question || "").toLowerCase();
  return !state.words && (!question || data.ids.some((id) => id.toLowerCase() === question));
}

function sortRows(rows, sort) {
  const value = { update: (row) => row.update, reward: (row) => row.reward, length: (row) => row.text.length };
  const of = value[sort.replace("-", "") || "update"];
  const sign = sort.startsWith("-") ? -1 : 1;
  return [...rows].sort((one, other) => sign * (of(one) - of(other)));
}

// Return the filter without which most embedded responses match, and their number.
function loosen(data, state) {
  const others = activeFilters(state).map((filter) => ({ filter, count: filterRows(data, state, filter).filter(isEmbedded).length }));
  return others.reduce((best, one) => (one.count > best.count ? one : best), { filter: null, count: 0 });
}

function inPython(data, state) {
  const rollouts = `pd.read_parquet("rollouts/${data.name}/rollouts.parquet")`;
  const columns = [state.stage ? "label" : "", state.checks ? "self_verifications" : "", ...({ reasons: ["reasons"], invented: ["evidence_invented"] }[state.evidence] || [])].filter(Boolean);
  const labels = columns.length ? `.join(pd.read_parquet("dynamics/${data.name}/responses.parquet")[${JSON.stringify(columns)}])` : "";
  const conditions = activeFilters(state).map((one) => one.python(state, data));
  return rollouts + labels + (conditions.length ? `.loc[lambda r: ${conditions.join(" & ")}]` : "");
}

function lineOf(run, row) {
  const { update, id, sample, text, spans, lower, strict, ...facts } = row;
  return { run, update, question_id: id, sample, ...facts, strict_format: strict, response: text };
}

const jsonLines = (lines) => lines.map((line) => JSON.stringify(line) + "\n").join("");

// Outcome of a model's answer to a test question: a test of the answer, and the same test in pandas.
const OUTCOMES = {
  right: [(answer) => answer.grade === "right", 'r["correct"]'],
  "not right": [(answer) => answer.grade !== "right", '~r["correct"]'],
  wrong: [(answer) => answer.grade === "wrong", `${isRead("", "testAnswers")} & ~r["correct"]`],
  "unreadable answer": [(answer) => answer.grade === "unreadable answer", `${isUnread("", "testAnswers")} & (r["rule"] != "no_answer_block")`],
  "no valid format": [(answer) => answer.grade === "no valid format", `${isUnread("", "testAnswers")} & (r["rule"] == "no_answer_block")`],
  "not readable": [(answer) => answer.letter === null, isUnread("", "testAnswers")],
  "neither reading": [(answer) => answer.letter === null && answer.lenient !== "right", `${isUnread("", "testAnswers")} & ~r["lenient_correct"]`],
  "lenient right": [(answer) => answer.lenient === "right", 'r["lenient_correct"]'],
  "lenient wrong": [(answer) => answer.lenient === "wrong", `${isRead("lenient_", "testAnswers")} & ~r["lenient_correct"]`],
  "lenient not right": [(answer) => answer.lenient !== "right", '~r["lenient_correct"]'],
  "lenient only": [(answer) => answer.lenient === "right" && answer.grade !== "right", 'r["lenient_correct"] & ~r["correct"]'],
  "lenient no readable answer": [(answer) => answer.lenient === "no readable answer", isUnread("lenient_", "testAnswers")],
  reasoned: [(answer) => answer.reasoned, "reasoned(r)"],
  verified: [(answer) => answer.checks, "verified(r)"],
  reasons: [(answer) => answer.reasons, 'r["reasons"].fillna(False)'],
  invented: [(answer) => answer.invented, '(r["evidence_invented"].fillna(0) > 0)'],
};
const SIDES = ["first", "second", "third"];

const isOutcome = (answer, outcome) => Boolean(OUTCOMES[outcome][0](answer));

// The answers of each model to the questions of a benchmark, by question; those that are not embedded have no `text`.
function answersOf({ ids, answers }) {
  return answers.map(({ kinds, kind, texts }) => {
    const rows = ids.map((id, place) => [id, kind[place] === -1 ? null : { ...kinds[kind[place]], ...texts?.[place] }]);
    return new Map(rows.filter(([, answer]) => answer));
  });
}

// Python code that selects the answers of the last chosen model, to the questions that match all filters.
function testsInPython(benchmark, bench, state) {
  const sides = SIDES.filter((side) => state[side]);
  const words = state.test_question && `r: ${askedInPython(state.test_question, bench, `data/benchmarks/${benchmark}.parquet`)}`;
  if (!sides.length) return `pd.read_parquet("data/benchmarks/${benchmark}.parquet")${words ? `.loc[lambda ${words}]` : ""}`;
  const needed = ["reasoned", "verified"].filter((name) => sides.some((side) => state[`${side}_outcome`] === name));
  const loaded = sides.map((side) => {
    const [model, mode] = state[side].split(",");
    return `${side} = answers(${JSON.stringify(model)}, ${JSON.stringify(mode)}).loc[lambda r: ${OUTCOMES[state[`${side}_outcome`]][1]}]`;
  });
  const last = sides.at(-1);
  const common = sides.slice(0, -1).map((side) => `r["question_id"].isin(${side}["question_id"])`);
  const conditions = [...common, ...(words ? [words.replace("r: ", "")] : [])];
  return [
    ...(needed.length ? [`from medrlvr.evaluation.claims import ${needed.join(", ")}`] : []),
    "def answers(model, mode):",
    '    a = pd.read_parquet(f"eval/{model}/scores.parquet")',
    `    return a[(a["benchmark"] == ${JSON.stringify(benchmark)}) & (a["mode"] == mode) & (a["sample"] == 0)]`,
    ...loaded,
    last + (conditions.length ? `.loc[lambda r: ${conditions.join(" & ")}]` : ""),
  ].join("\n");
}

// ---------------------------------------------------------------- difference in words
// Return [kind, text] pairs: "same", "first" (only in the first text) or "second", from a longest common subsequence.
function difference(first, second) {
  const [one, other] = [first, second].map((text) => text.match(/\s*\S+|\s+$/g) || []);
  let begin = 0;
  while (begin < one.length && begin < other.length && one[begin] === other[begin]) begin += 1;
  let end = 0;
  while (end < Math.min(one.length, other.length) - begin && one.at(-1 - end) === other.at(-1 - end)) end += 1;
  const middle = common(one.slice(begin, one.length - end), other.slice(begin, other.length - end));
  const same = (words) => (words.length ? [["same", words.join("")]] : []);
  return [...same(one.slice(0, begin)), ...middle, ...same(end ? one.slice(-end) : [])];
}

const CELLS = 25_000_000; // More words than this are shown as replaced: the table would need more than 50 MB.

function common(one, other) {
  if (one.length * other.length > CELLS) return joined([...one.map((word) => ["first", word]), ...other.map((word) => ["second", word])]);
  const width = other.length + 1;
  const longest = new Uint16Array((one.length + 1) * width);
  for (let row = one.length - 1; row >= 0; row -= 1) {
    for (let column = other.length - 1; column >= 0; column -= 1) {
      const place = row * width + column;
      longest[place] = one[row] === other[column] ? longest[place + width + 1] + 1 : Math.max(longest[place + width], longest[place + 1]);
    }
  }
  const parts = [];
  let [row, column] = [0, 0];
  while (row < one.length || column < other.length) {
    const place = row * width + column;
    if (row < one.length && column < other.length && one[row] === other[column]) {
      parts.push(["same", one[row]]);
      row += 1;
      column += 1;
    } else if (column === other.length || (row < one.length && longest[place + width] >= longest[place + 1])) {
      parts.push(["first", one[row]]);
      row += 1;
    } else {
      parts.push(["second", other[column]]);
      column += 1;
    }
  }
  return joined(parts);
}

function joined(parts) {
  const joinedParts = [];
  for (const [kind, word] of parts) {
    if (joinedParts.length && joinedParts.at(-1)[0] === kind) joinedParts.at(-1)[1] += word;
    else joinedParts.push([kind, word]);
  }
  return joinedParts;
}
