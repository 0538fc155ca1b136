"use strict";
// Sort the table of experiments, and compare two of them. Texts are inserted only as text nodes.
(() => {
  const $ = (id) => document.getElementById(id);
  const table = $("experiments");
  if (!table) return;
  const values = JSON.parse($("values").textContent);
  const body = table.tBodies[0];
  const ticks = [...body.querySelectorAll("input")];
  let ticked = [];

  function element(tag, ...children) {
    const node = document.createElement(tag);
    node.append(...children);
    return node;
  }

  // Rows without a value are last in both directions.
  function sort(heading) {
    const { by } = heading.dataset;
    const down = heading.getAttribute("aria-sort") === "ascending";
    const value = (row) => row.dataset[by];
    const compare = (one, other) => (by === "title" ? one.localeCompare(other) : one - other);
    const rows = [...body.rows].sort((one, other) => {
      const [first, second] = [value(one), value(other)];
      if (first === "" || second === "") return (first === "") - (second === "");
      return down ? compare(second, first) : compare(first, second);
    });
    for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows);
  }

  for (const heading of table.tHead.rows[0].cells) {
    if (!heading.dataset.by) continue;
    const button = element("button", ...heading.childNodes);
    button.type = "button";
    button.addEventListener("click", () => sort(heading));
    heading.append(button);
  }

  function text(row, number) {
    const place = row.of[number];
    return place === null ? null : row.texts[place];
  }

  // The settings of an unfinished experiment are known only in part; an unknown one is no difference.
  function differs(row, [one, other]) {
    if (row.of[one] === row.of[other]) return false;
    return [one, other].every((number) => row.of[number] !== null || values.finished[number]);
  }

  function compared(title, rows, absent) {
    const known = rows.filter((row) => ticked.some((number) => row.of[number] !== null));
    const different = known.filter((row) => differs(row, ticked));
    const shown = $("differences").checked ? different : known;
    const node = element("table");
    node.append(element("caption", known.length ? `${title}: ${different.length} of ${known.length} differ` : `${title}: unknown`));
    if (!shown.length) return node;
    const heads = ["", ...ticked.map((number) => values.names[number])].map((name) => element(name ? "th" : "td", name));
    heads.slice(1).forEach((head) => { head.scope = "col"; });
    node.append(element("thead", element("tr", ...heads)));
    node.append(element("tbody", ...shown.map((row) => {
      const head = element("th", row.key);
      head.scope = "row";
      const cells = ticked.map((number) => element("td", text(row, number) ?? absent(number)));
      const line = element("tr", head, ...cells);
      if (differs(row, ticked)) line.className = "differs";
      return line;
    })));
    return node;
  }

  function show() {
    const both = ticked.length === 2;
    const names = ticked.map((number) => values.names[number]);
    for (const tick of ticks) tick.checked = ticked.includes(Number(tick.value));
    $("comparison").hidden = !both;
    $("ticked").hidden = !ticked.length;
    $("ticked").textContent = both ? `${names[0]} and ${names[1]} are compared. ` : `${names[0]} is ticked. Tick one more experiment.`;
    if (!both) return;
    const link = element("a", "Show the comparison");
    link.href = "#comparison";
    $("ticked").append(link);
    $("compared").textContent = `${names[0]} and ${names[1]}`;
    $("command").hidden = !ticked.every((number) => values.finished[number]);
    $("command").querySelector("code").textContent = `medrlvr compare ${names.map((name) => `results/${name}`).join(" ")}`;
    $("tables").replaceChildren(
      compared("Results", values.results, () => "–"),
      compared("Settings", values.settings, (number) => (values.finished[number] ? "not set" : "unknown until the report is written")),
    );
  }

  // A third tick replaces the first.
  for (const tick of ticks) {
    tick.hidden = false;
    tick.addEventListener("change", () => {
      const number = Number(tick.value);
      ticked = tick.checked ? [...ticked, number].slice(-2) : ticked.filter((other) => other !== number);
      show();
    });
  }
  $("differences").addEventListener("change", show);
  $("how").hidden = ticks.length < 2;
  // A browser may restore ticks when it loads the index again.
  ticked = ticks.filter((tick) => tick.checked).map((tick) => Number(tick.value)).slice(0, 2);
  show();
})();
