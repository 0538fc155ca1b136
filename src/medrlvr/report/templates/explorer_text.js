// Elements of the explorer.
// Return the spans of the words in a text, in characters.
function hits(signs, words) {
  if (!words) return [];
  const lower = signs.map((sign) => sign.toLowerCase());
  const at = new Map();
  let length = 0;
  lower.forEach((sign, place) => { for (let unit = 0; unit < sign.length; unit += 1, length += 1) at.set(length, place); });
  const text = lower.join("");
  const spans = [];
  for (let begin = text.indexOf(words); begin !== -1; begin = text.indexOf(words, begin + words.length)) {
    spans.push(["hit", [at.get(begin), at.get(begin + words.length - 1) + 1]]);
  }
  return spans;
}

// The grader counts characters, JavaScript counts UTF-16 units.
function marked(response, words = "") {
  const signs = Array.from(response.text);
  const { think, answer, named, letter, checks = [] } = response.spans;
  const spans = [["think", think], ["answer-block", answer], ["named", named], ["letter", letter]].filter(([, span]) => span);
  spans.push(...checks.map((span) => ["checks", span]), ...hits(signs, words.toLowerCase()));
  const ends = new Set([0, signs.length]);
  for (const [, [begin, end]] of spans) ends.add(Math.min(begin, signs.length)).add(Math.min(end, signs.length));
  const places = [...ends].sort((one, other) => one - other);
  const pre = element("pre", "");
  places.slice(1).forEach((end, index) => {
    const begin = places[index];
    const classes = spans.filter(([, span]) => span[0] <= begin && end <= span[1]).map(([name]) => name);
    const text = visible(signs.slice(begin, end).join(""));
    if (classes.length) pre.append(element("mark", classes.join(" "), ...text));
    else pre.append(...text);
  });
  return pre;
}

const rewardOf = (reward) => reward.toLocaleString("en", { signDisplay: "exceptZero" });

// Letter, number or text, and grade in the required format; the grade of any readable answer where it differs.
function gradeOf(row) {
  const value = row.value === undefined || row.value === row.letter ? "" : `, read as ${row.value}`;
  const graded = row.letter ? `${row.grade}: ${row.letter}${value}` : row.grade;
  return row.lenient_letter && row.lenient_letter !== row.letter ? `${graded}, readable answer ${row.lenient_letter} is ${row.lenient}` : graded;
}

function outcome(response, gold) {
  const notes = [`${gradeOf(response)} (right is ${gold})`, response.strict ? "strict format" : "", response.truncated ? "cut at the token limit" : "",
    response.invented ? "cites a finding that the question does not have" : "", response.reasons ? "steps present and true" : ""];
  return notes.filter(Boolean).join(", ");
}

// ---------------------------------------------------------------- film-strip: rows are updates, columns are samples
const stageName = (stage) => [...$("rollout-filters").elements.stage.options].find((option) => option.value === stage).text;

// href: returns the address of a response, or null if its text is not embedded.
function filmStrip(title, rows, href, chosen = "") {
  const updates = [...new Set(rows.map((row) => row.update))].sort((one, other) => one - other);
  const samples = [...new Set(rows.map((row) => row.sample))].sort((one, other) => one - other);
  const at = new Map(rows.map((row) => [`${row.update}/${row.sample}`, row]));
  const head = element("tr", "", columnHead("Update"), ...samples.map((sample) => columnHead(`Sample ${sample}`)));
  const body = element("tbody", "", ...updates.map((update) => {
    const cells = samples.map((sample) => stripCell(at.get(`${update}/${sample}`), href, chosen));
    const name = element("th", "", update === 0 ? "base" : String(update));
    name.scope = "row";
    return element("tr", "", name, ...cells);
  }));
  const table = element("table", "strip", element("caption", "", ...visible(title)), element("thead", "", head), body);
  const scroll = element("div", "scroll", table);
  Object.assign(scroll, { tabIndex: 0, role: "region" });
  scroll.setAttribute("aria-label", title);
  return scroll;
}

function columnHead(text) {
  const cell = element("th", "", text);
  cell.scope = "col";
  return cell;
}

function stripCell(row, href, chosen) {
  if (!row) return element("td", "");
  const address = href(row);
  const shape = element("span", `shape ${row.stage}`);
  const reward = row.reward === undefined ? "" : ` ${rewardOf(row.reward)}`;
  const node = element(address ? "a" : "span", `cell ${row.grade === "right" ? "right" : ""}`, shape, `${row.letter || "\u2013"}${reward}`);
  if (address) node.href = address;
  else node.setAttribute("role", "img");
  const facts = [row.update === 0 ? "base" : `update ${row.update}`, `sample ${row.sample}`, gradeOf(row), reward && `reward${reward}`, stageName(row.stage)];
  node.setAttribute("aria-label", facts.filter(Boolean).join(", ") + (address ? "" : ", text not in the report"));
  if (placeOf(row) === chosen) node.setAttribute("aria-current", "true");
  return element("td", "", node);
}

// Details whose content is built when they are opened.
function lazyDetails(title, open, build) {
  const details = element("details", "", element("summary", "", title));
  const fill = () => { if (details.open && details.children.length === 1) details.append(build()); };
  details.open = open;
  fill();
  details.addEventListener("toggle", fill);
  return details;
}

// ---------------------------------------------------------------- difference in words between two responses
let marker = null; // the response that was marked first
let returnTo = null; // the element that has the focus after closing

function compare(text, title, origin) {
  if (!marker || marker.title === title) {
    marker = { text, title };
    showDifference(`First response: ${title}. Mark the second response.`, []);
    return;
  }
  const parts = difference(marker.text, text);
  showDifference(`First: ${marker.title}. Second: ${title}.`, parts);
  marker = null;
  returnTo = origin;
  $("difference").focus();
}

function showDifference(status, parts) {
  const tags = { first: "del", second: "ins" };
  $("difference-status").textContent = status;
  $("difference-text").hidden = parts.length === 0;
  $("difference-text").replaceChildren(...parts.flatMap(([kind, text]) => (tags[kind] ? [element(tags[kind], "", ...visible(text))] : visible(text))));
  $("difference").hidden = false;
}

function closeDifference() {
  marker = null;
  $("difference").hidden = true;
  if (returnTo?.isConnected) returnTo.focus();
}
