"use strict";
// The explorer of responses. Model output is inserted only as text nodes. Packed data are unpacked when they are needed.
(() => {
  const PAGE = 20;
  // The same set as UNSEEN and BLANK in report/page.py.
  const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\ufe00-\ufe0f\u{e0100}-\u{e01ef}]/u;
  const $ = (id) => document.getElementById(id);
  const packed = new Map([...document.querySelectorAll("[data-payload]")].map((node) => [node.dataset.payload, node]));
  const unpacked = new Map();

  function unpack(name) {
    if (!unpacked.has(name)) unpacked.set(name, read(packed.get(name).textContent.trim()));
    return unpacked.get(name);
  }

  async function read(text) {
    const signs = atob(text);
    const bytes = new Uint8Array(signs.length);
    for (let at = 0; at < signs.length; at += 1) bytes[at] = signs.charCodeAt(at);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  }

  function say(text) {
    $("unpacking").textContent = text;
    $("unpacking").hidden = !text;
  }

  function element(tag, classes, ...children) {
    const node = document.createElement(tag);
    if (classes) node.className = classes;
    node.append(...children);
    return node;
  }

  // Replace each character that is invisible, or changes the text direction, by its code point.
  function visible(text) {
    const parts = [];
    let plain = "";
    for (const sign of text) {
      if (sign !== "\n" && sign !== "\t" && UNSEEN.test(sign)) {
        parts.push(plain, element("span", "odd", "[U+" + sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "]"));
        plain = "";
      } else plain += sign;
    }
    return [...parts, plain];
  }

  // The grader counts characters, JavaScript counts UTF-16 units.
  function marked(response) {
    const signs = Array.from(response.text);
    const spans = [
      ["think", response.think], ["answer-block", response.answer], ["named", response.named], ["letter", response.letter],
      ...(response.checks || []).map((span) => ["checks", span]),
    ].filter(([, span]) => span);
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

  function question(id, one, open) {
    const details = element("details", "", element("summary", "", "Question ", ...visible(id)));
    details.open = open;
    const list = element("ul", "options");
    one.options.forEach((option, index) => {
      const letter = String.fromCharCode(65 + index);
      const right = letter === one.gold ? element("strong", "", " \u2190 right") : "";
      list.append(element("li", "", letter + ". ", ...visible(option), right));
    });
    details.append(element("p", "", ...visible(one.stem)), list);
    return details;
  }

  function outcome(response, gold) {
    let said = response.letter_answered ? `${response.grade}: ${response.letter_answered}` : response.grade;
    if (response.leniently) said += `, leniently ${response.leniently}`;
    const notes = [`${said} (right is ${gold})`, response.strict ? "strict format" : "", response.truncated ? "cut at the token limit" : "",
      response.invented ? "cites a finding that the question does not have" : "", response.reasons ? "steps present and true" : ""];
    return notes.filter(Boolean).join(", ");
  }

  const address = (...parts) => "#" + parts.map((part) => encodeURIComponent(part)).join("/");
  const found = (text, words) => !words || text.toLowerCase().includes(words);
  // A complete ID selects that question. Other words are searched in ID, stem and options.
  function wanted(questions, words) {
    const whole = Object.keys(questions).find((id) => id.toLowerCase() === words);
    return (id) => {
      if (whole !== undefined) return id === whole;
      const one = questions[id];
      return found(id, words) || found(one.stem, words) || one.options.some((option) => found(option, words));
    };
  }

  // Show only the latest request, even if an earlier one needs longer to unpack.
  function latest(action) {
    let asked = 0;
    return async (...values) => {
      asked += 1;
      const own = asked;
      return action(() => own === asked, ...values);
    };
  }

  function later(action) {
    let timer;
    return () => { clearTimeout(timer); timer = setTimeout(action, 150); };
  }

  // ------------------------------------------------------------------ training responses
  const rollouts = $("rollout-filters");
  let shown = PAGE;
  let linked = null;

  function rollout(run, data, response) {
    const title = stageName(response.stage);
    const facts = `Update ${response.update}, sample ${response.sample}, reward ${response.reward.toLocaleString("en", { signDisplay: "exceptZero" })}; `;
    const link = element("a", "", "Link");
    link.href = address("rollout", run, response.update, response.id, response.sample);
    link.setAttribute("aria-label", `Link to the response of update ${response.update} to question ${response.id}, sample ${response.sample}`);
    const one = data.questions[response.id];
    const own = linked && linked.update === response.update && linked.id === response.id && linked.sample === response.sample;
    return element("article", own ? "linked" : "",
      element("h4", "", facts, element("strong", "", outcome(response, one.gold)), `; ${title}. `, link),
      question(response.id, one, Boolean(own)), marked(response));
  }

  const stageName = (stage) => [...rollouts.elements.stage.options].find((option) => option.value === stage).text;

  const showRollouts = latest(async (current) => {
    const filters = rollouts.elements;
    const run = filters.run.value;
    const data = await unpack(run);
    if (!current()) return;
    const updates = data.responses.map((response) => response.update);
    const last = updates.reduce((most, update) => Math.max(most, update), 1);
    if (Number(filters.update.max) !== last) filters.update.max = last;
    filters.update.disabled = filters.all.checked;
    filters.number.value = filters.all.checked ? "all" : filters.update.value;
    const [asked, words] = [filters.question, filters.words].map((field) => field.value.trim().toLowerCase());
    const update = Number(filters.update.value);
    const isWanted = wanted(data.questions, asked);
    const chosen = data.responses.filter((response) =>
      (filters.all.checked || response.update === update) &&
      (!filters.stage.value || response.stage === filters.stage.value) &&
      (!filters.grade.value || response.grade === filters.grade.value) &&
      found(response.text, words) && isWanted(response.id));
    $("rollout-count").textContent = `${chosen.length} of ${data.responses.length} embedded responses` +
      (chosen.length > shown ? `; the first ${shown} are shown` : "");
    $("rollout-list").replaceChildren(...chosen.slice(0, shown).map((response) => rollout(run, data, response)));
    $("rollout-more").hidden = chosen.length <= shown;
  });

  function refilter() {
    shown = PAGE;
    linked = null;
    return showRollouts();
  }

  // ------------------------------------------------------------------ benchmark answers
  const tests = $("test-filters");
  let place = 0;
  let questions = [];

  const modelName = (model) => `${model.model}, ${model.mode.replaceAll("_", " ")}`;

  async function fillTests() {
    const data = await unpack("tests");
    for (const select of [tests.elements.right, tests.elements.wrong]) {
      if (select.options.length === 1) data.models.forEach((model, index) => select.append(new Option(modelName(model), index)));
    }
    return data;
  }

  const chooseTests = latest(async (current) => {
    const data = await fillTests();
    if (!current()) return undefined;
    const bench = data.benchmarks[tests.elements.benchmark.value];
    const words = tests.elements.question.value.trim().toLowerCase();
    const isWanted = wanted(bench.questions, words);
    const isRight = (select, id) => select.value && bench.answers[select.value][id].grade === "right";
    const { right, wrong } = tests.elements;
    questions = Object.keys(bench.questions).filter((id) =>
      isWanted(id) && (!right.value || isRight(right, id)) && (!wrong.value || !isRight(wrong, id)));
    place = 0;
    return showTest();
  });

  async function showTest() {
    const data = await fillTests();
    const name = tests.elements.benchmark.value;
    const bench = data.benchmarks[name];
    tests.elements.before.disabled = place <= 0;
    tests.elements.after.disabled = place >= questions.length - 1;
    const id = questions[place];
    $("test-count").textContent = id === undefined ? "No question matches" : `Question ${place + 1} of ${questions.length}`;
    if (id === undefined) return $("test-item").replaceChildren();
    const link = element("a", "", "Link to this question");
    link.href = address("test", name, id);
    const columns = element("div", "columns");
    data.models.forEach((model, index) => {
      const response = bench.answers[index][id];
      columns.append(element("div", "column",
        element("h4", "", element("strong", "", modelName(model)), ": ", outcome(response, bench.questions[id].gold)), marked(response)));
    });
    $("test-item").replaceChildren(element("article", "", question(id, bench.questions[id], true), element("p", "soft", link), columns));
  }

  // ------------------------------------------------------------------ links and start
  function clear(form) {
    for (const field of form.elements) {
      if (field.type === "checkbox") field.checked = false;
      else if (field.tagName === "SELECT") field.selectedIndex = 0;
      else if (field.type === "search") field.value = "";
    }
  }

  async function follow() {
    let kind, parts;
    try {
      [kind, ...parts] = location.hash.slice(1).split("/").map((part) => decodeURIComponent(part));
    } catch {
      return; // not an address of the explorer
    }
    if (kind === "rollout" && packed.has(parts[0])) {
      const [run, update, id, sample] = parts;
      clear(rollouts);
      const data = await unpack(run);
      rollouts.elements.run.value = run;
      rollouts.elements.update.max = data.responses.reduce((most, response) => Math.max(most, response.update), 1);
      rollouts.elements.update.value = update;
      rollouts.elements.question.value = id;
      shown = Infinity;
      linked = { update: Number(update), id, sample: Number(sample) };
      await showRollouts();
      const target = document.querySelector("article.linked");
      if (target) target.scrollIntoView();
      else $("rollout-count").textContent = "That response is not embedded in the report; the parquet file contains it.";
    } else if (kind === "test" && [...tests.elements.benchmark.options].some((option) => option.value === parts[0])) {
      clear(tests);
      tests.elements.benchmark.value = parts[0];
      await chooseTests();
      place = Math.max(0, questions.indexOf(parts[1]));
      await showTest();
      $("test-item").scrollIntoView();
    }
  }

  function guard(action) {
    return (...values) => Promise.resolve().then(() => action(...values)).then(() => say(""), (error) => say(`The embedded responses cannot be read: ${error.message}`));
  }

  if (!("DecompressionStream" in window)) {
    say("This browser cannot unpack the embedded responses: it has no DecompressionStream. The parquet files contain all responses.");
    return;
  }
  // Lists scroll on their own, so that the content below does not move when they are filled.
  for (const id of ["rollout-list", "test-item"]) Object.assign($(id), { className: "list", tabIndex: 0 });
  rollouts.hidden = tests.hidden = document.querySelector(".legend").hidden = false;
  rollouts.addEventListener("submit", (event) => event.preventDefault());
  tests.addEventListener("submit", (event) => event.preventDefault());
  rollouts.addEventListener("input", later(guard(refilter)));
  tests.addEventListener("input", later(guard(chooseTests)));
  rollouts.addEventListener("reset", later(guard(refilter)));
  tests.addEventListener("reset", later(guard(chooseTests)));
  tests.elements.before.addEventListener("click", guard(() => { place -= 1; return showTest(); }));
  tests.elements.after.addEventListener("click", guard(() => { place += 1; return showTest(); }));
  $("rollout-more").addEventListener("click", guard(() => { shown += PAGE; return showRollouts(); }));
  window.addEventListener("hashchange", guard(follow));

  // Unpack a section when it comes near the screen, so that the report opens without waiting for it.
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      watcher.unobserve(entry.target);
      const start = entry.target === rollouts ? showRollouts : chooseTests;
      if (!$(entry.target === rollouts ? "rollout-list" : "test-item").hasChildNodes()) guard(start)();
    }
  }, { rootMargin: "600px" });
  watcher.observe(rollouts);
  watcher.observe(tests);
  guard(follow)();
})();
