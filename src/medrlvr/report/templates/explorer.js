// The explorer's address, keys and start. The address contains the state: #responses? and the fields that are set.
const START = "#responses";
const FIELDS = [...fieldsOf(rollouts), ...fieldsOf(tests)];

function addressOf(values) {
  const text = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== "")).toString();
  return text ? `${START}?${text}` : "";
}

const setFields = () => Object.fromEntries(FIELDS.filter((field) => field.value.trim() !== initial(field)).map((field) => [field.name, field.value.trim()]));

// The default values of the fields are not in the address. `isNew` adds an entry to the browser's history.
function writeAddress(isNew) {
  const address = addressOf(setFields()) || location.href.split("#")[0];
  if (isNew) push(address);
  else history.replaceState({ own: true }, "", address);
}

// Mark the entry that is left, so that Back to it restores its filters, whatever its address is.
function push(address) {
  history.replaceState({ own: true }, "");
  history.pushState({ own: true }, "", address);
}

// Addresses of earlier reports: #rollout/<run>/<update>/<question>/<sample> and #test/<benchmark>/<question>.
function newAddress(hash) {
  try {
    const [kind, ...parts] = hash.slice(1).split("/").map((part) => decodeURIComponent(part));
    if (kind === "rollout" && parts.length === 4) return addressOf(rolloutPlace(parts[0], { update: parts[1], id: parts[2], sample: parts[3] }));
    if (kind === "test" && parts.length === 2) return addressOf({ benchmark: parts[0], item: parts[1] });
  } catch {
    // Not an address of the explorer.
  }
  return hash;
}

// Return the parameters of an address of the explorer; for other addresses none after Back, and otherwise null.
function parameters(isBack) {
  const [start, ...rest] = location.hash.split("?");
  if (start === START && rest.length) return new URLSearchParams(rest.join("?"));
  return isBack ? new URLSearchParams() : null;
}

// Set every field from the address; return an explanation of each value that the report does not have.
function fillForms(given) {
  const unknown = [];
  for (const field of FIELDS) {
    const value = given.get(field.name) ?? initial(field);
    field.value = value;
    if (field.value !== value) {
      unknown.push(`${field.name}=${value} is not in this report`);
      field.value = initial(field);
    }
  }
  const names = FIELDS.map((field) => field.name);
  for (const name of given.keys()) if (!names.includes(name)) unknown.push(`${name} is not a filter`);
  return unknown;
}

async function follow() {
  const hash = newAddress(location.hash);
  if (hash !== location.hash) history.replaceState(history.state, "", hash);
  const isBack = Boolean(history.state?.own);
  const given = parameters(isBack);
  if (!given) return;
  const unknown = fillForms(given);
  const isTest = given.has("benchmark") || given.has("item");
  await Promise.all([showRollouts(), showTests()]);
  if (location.hash && !isBack) history.replaceState({ own: true }, "");
  reveal(given, isTest, isBack);
  if (unknown.length) return `The address is not of this report: ${unknown.join("; ")}.`;
}

// Move the focus to the response that the address names. Back and Forward do not scroll.
function reveal(given, isTest, isBack) {
  const target = isTest ? $("test-item").querySelector("article") : $("rollout-list").querySelector("article.linked");
  const hasTarget = target && (isTest ? !$("test-notice").textContent : true) && (given.get("selected") || given.get("item"));
  if (hasTarget) {
    target.scrollIntoView();
    target.focus({ preventScroll: true });
  } else if (location.hash && !isBack) {
    $(isTest ? "test-responses" : "training-responses").scrollIntoView();
    $(isTest ? "test-item" : "rollout-list").focus({ preventScroll: true });
  }
}

// ------------------------------------------------------------------ events
let edited = null; // the text field whose last change is in the newest entry of the history

function onEdit(form, event) {
  const isSame = event.target === edited;
  edited = event.target.type === "search" || event.target.type === "number" ? event.target : null;
  form.elements[form === rollouts ? "selected" : "item"].value = "";
  writeAddress(!isSame);
  return form === rollouts ? showRollouts() : showTests();
}

function onReset() {
  edited = null;
  fillForms(new URLSearchParams());
  push(location.href.split("#")[0]);
  return Promise.all([showRollouts(), showTests()]);
}

function say(text) {
  $("unpacking").textContent = text;
  $("unpacking").hidden = !text;
}

function guard(action) {
  return (...values) => Promise.resolve().then(() => action(...values)).then((text) => say(typeof text === "string" ? text : ""),
    (error) => say(`The embedded responses cannot be read: ${error.message}`));
}

function later(action) {
  let timer;
  return (...values) => { clearTimeout(timer); timer = setTimeout(action, 150, ...values); };
}

// ------------------------------------------------------------------ keys
async function selectRollout(step) {
  const { rows } = listed;
  const focused = document.activeElement.closest("article[data-place]");
  const place = rows.findIndex((row) => placeOf(row) === (focused?.dataset.place || rollouts.elements.selected.value));
  const next = rows[place === -1 ? 0 : Math.min(rows.length - 1, Math.max(0, place + step))];
  if (!next) return;
  rollouts.elements.selected.value = placeOf(next);
  writeAddress(false);
  await showRollouts();
  $("rollout-list").querySelector("article.linked")?.focus();
}

async function selectTest(step) {
  asked.place = Math.min(asked.ids.length - 1, Math.max(0, asked.place + step));
  tests.elements.item.value = asked.ids[asked.place] || "";
  writeAddress(false);
  await showTest();
  $("test-item").querySelector("article")?.focus();
}

// Move the focus in a film-strip, also over responses that are not embedded.
function moveInStrip(cell, key) {
  const [down, right] = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[key];
  const rows = [...cell.closest("tbody").rows];
  const index = rows.indexOf(cell.closest("tr"));
  let [row, column] = [index + down, cell.closest("td").cellIndex + right];
  for (; rows[row]?.cells[column]; row += down, column += right) {
    const link = rows[row].cells[column].querySelector("a");
    if (link) return link.focus();
  }
}

function onKey(event) {
  const { target, key } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select, textarea")) return;
  if (key === "Escape" && !$("difference").hidden) return closeDifference();
  const cell = target.closest(".strip .cell");
  const isTest = Boolean(target.closest("#test-filters, #test-item"));
  if (cell && key.startsWith("Arrow")) moveInStrip(cell, key);
  else if (key === "j" || key === "ArrowRight") guard(isTest ? selectTest : selectRollout)(1);
  else if (key === "k" || key === "ArrowLeft") guard(isTest ? selectTest : selectRollout)(-1);
  else if (key === "/") (isTest ? tests.elements.test_question : rollouts.elements.words).focus();
  else if (key === "c" && target.closest("article[data-place], .column")) target.closest("article[data-place], .column").querySelector("h4 button").click();
  else return;
  event.preventDefault();
}

// ------------------------------------------------------------------ start
// Unpack a list when it comes near the screen, so that the report opens without waiting for it.
function watch() {
  const watcher = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      const [list, show] = target === rollouts ? ["rollout-list", showRollouts] : ["test-item", showTests];
      if (!$(list).hasChildNodes()) guard(show)();
    }
  }, { rootMargin: "600px" });
  watcher.observe(rollouts);
  watcher.observe(tests);
}

function start() {
  // Lists scroll on their own, so that the content below does not move when they are filled.
  for (const id of ["rollout-list", "test-item"]) Object.assign($(id), { className: "list", tabIndex: 0 });
  for (const node of [rollouts, tests, $("explorer-help"), $("rollout-python"), $("test-python"), ...document.querySelectorAll("#responses .legend")]) node.hidden = false;
  for (const form of [rollouts, tests]) {
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", later(guard((event) => onEdit(form, event))));
    form.addEventListener("reset", later(guard(onReset)));
  }
  rollouts.elements.export.addEventListener("click", guard(exportRollouts));
  tests.elements.export.addEventListener("click", guard(exportTests));
  tests.elements.before.addEventListener("click", guard(() => selectTest(-1)));
  tests.elements.after.addEventListener("click", guard(() => selectTest(1)));
  $("rollout-more").addEventListener("click", guard(() => showFurther(1)));
  $("rollout-fewer").addEventListener("click", guard(() => showFurther(-1)));
  $("difference-close").addEventListener("click", closeDifference);
  $("responses").addEventListener("keydown", onKey);
  window.addEventListener("hashchange", guard(() => { edited = null; return follow(); }));
  watch();
  guard(follow)();
}

if ("DecompressionStream" in window) start();
else say("This browser cannot unpack the embedded responses: it has no DecompressionStream. The parquet files contain all responses.");
