"use strict";
// Charts of the training dynamics. The address is their state: #responses?run=...&from=...&to=...
(() => {
  const HEIGHT = 192;
  const ROW = 16;
  const TOP = 8;
  const BOTTOM = 24;
  const RIGHT = 10;
  const SPARSE = 40;
  const CLICK = 3;
  const box = document.getElementById("charts");
  const fixed = document.getElementById("fixed-figures");
  const range = document.getElementById("chart-range");
  const names = range.elements;
  const plots = [];
  let data;

  const four = numberFormat({ maximumSignificantDigits: 4 });
  function shown(value, kind) {
    if (value === null || value === undefined) return "\u2013";
    if (kind === "percent") return `${tenths.format(100 * value)} %`;
    return (kind === "characters" ? tenths : four).format(value);
  }

  const pressed = (button) => button.getAttribute("aria-pressed") === "true";
  const hidden = (kind) => new Set([...range.querySelectorAll(`[data-${kind}]`)].filter((button) => !pressed(button)).map((button) => button.dataset[kind]));
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const address = (run, from, to, stage) => "#responses?" + new URLSearchParams({ run, from, to, ...(stage ? { stage } : {}) });

  function visibleRuns() {
    const [arms, seeds] = [hidden("arm"), hidden("seed")];
    return data.runs.filter((run) => !arms.has(run.arm) && !seeds.has(String(run.seed)));
  }

  // The lines of one panel: for each series, column and run, its points.
  function linesOf(panel, runs) {
    const lines = [];
    panel.series.forEach((series, index) => {
      if (!pressed(panel.buttons[index])) return;
      series.columns.forEach((column, reading) => {
        for (const run of runs) {
          const values = run.values[column] || [];
          const points = run.updates.map((update, at) => ({ update, value: values[at] ?? null })).filter((point) => point.value !== null);
          if (points.length) lines.push({ series, run, column, reading, points });
        }
      });
    });
    return lines;
  }

  function grouped(rows, key) {
    const groups = new Map();
    for (const row of rows) groups.set(key(row), [...(groups.get(key(row)) || []), row]);
    return groups;
  }

  // The means over the seeds of an arm, at updates for which all of its seeds that are shown have a value.
  function means(lines) {
    const groups = grouped(lines, (line) => `${line.column} ${line.run.arm}`);
    return [...groups.values()].filter((group) => group.length > 1).map((group) => {
      const points = grouped(group.flatMap((line) => line.points), (point) => point.update);
      const whole = [...points].filter(([, own]) => own.length === group.length);
      return { ...group[0], points: whole.map(([update, own]) => ({ update, value: mean(own.map((point) => point.value)) })).sort((one, other) => one.update - other.update) };
    });
  }

  function marks(lines, strength) {
    return lines.flatMap(({ series, run, reading, points }) => {
      const stroke = series.colour;
      const at = { x: "update", y: "value" };
      const line = Plot.line(points, { ...at, stroke, strokeOpacity: strength, strokeWidth: reading ? 1 : 2, strokeDasharray: data.arms.find((arm) => arm.name === run.arm).dash });
      const fill = reading ? "var(--paper)" : stroke;
      return points.length < SPARSE ? [line, Plot.dot(points, { ...at, r: 3, stroke, fill, opacity: strength })] : [line];
    });
  }

  function domain(kind, lines) {
    const values = lines.flatMap((line) => line.points.map((point) => point.value));
    const least = kind === "number" ? Math.min(...values, 0) : 0;
    const most = Math.max(...values, kind === "percent" ? 0.05 : least);
    return [least, most > least ? most : least + 1];
  }

  // All panels have the same scale of updates, with half an update around it.
  function xScale(width) {
    const start = Math.min(...data.runs.map((run) => run.updates[0])) - 0.5;
    const several = data.runs.length > 1;
    const labels = data.runs.map((run) => runLabel(run).length);
    const left = Math.max(52, several ? Math.min(110, 14 + 7 * Math.max(...labels)) : 0);
    const xs = Plot.ticks(start, data.last + 0.5, Math.max(2, width / 70)).filter(Number.isInteger);
    return { width, marginLeft: left, marginRight: RIGHT, x: { domain: [start, data.last + 0.5], label: null, ticks: xs, tickFormat: String } };
  }

  const runLabel = (run) => (data.arms.length > 1 ? run.label.replace(", seed", "") : `seed ${run.seed}`);
  const style = { background: "none", color: "var(--ink)", fontSize: "12px", overflow: "visible" };

  function strip(scale, runs) {
    const bands = runs.flatMap((run) => run.bands.map((band) => ({ ...band, run })));
    const drawn = Plot.plot({
      ...scale, style, height: ROW * runs.length + 4, marginTop: 2, marginBottom: 2, x: { ...scale.x, axis: null },
      y: { label: null, tickSize: 0, domain: runs.map(runLabel), axis: data.runs.length > 1 ? "left" : null },
      marks: [Plot.barX(bands, {
        x1: (band) => band.first - 0.5, x2: (band) => band.last + 0.5, y: (band) => runLabel(band.run), fill: (band) => data.stages[band.stage].colour,
        href: (band) => address(band.run.name, band.first, band.last),
        title: (band) => `${band.run.label}: ${data.stages[band.stage].name}, updates ${band.first} to ${band.last}`,
      })],
    });
    // The fields From and To lead to the same responses, so that a key press for each band is not needed.
    for (const link of drawn.querySelectorAll("a")) link.setAttribute("tabindex", "-1");
    return drawn;
  }

  function draw(plot) {
    const { panel, drawn } = plot;
    const runs = visibleRuns();
    const scale = xScale(drawn.clientWidth);
    plot.lines = linesOf(panel, runs);
    const averages = means(plot.lines);
    const height = panel.stage && runs.length ? HEIGHT - 24 : HEIGHT;
    const percent = panel.kind === "percent";
    const svg = Plot.plot({
      ...scale, style, height, marginTop: TOP, marginBottom: BOTTOM,
      y: { domain: domain(panel.kind, plot.lines), label: null, grid: true, ticks: 5, ...(percent ? { tickFormat: (value) => `${four.format(100 * value)} %` } : {}) },
      marks: [...marks(plot.lines, averages.length ? 0.35 : 1), ...marks(averages, 1)],
    });
    plot.x = svg.scale("x");
    plot.y = svg.scale("y");
    plot.points = plot.lines.flatMap((line) => line.points.map((point) => ({ ...point, line, left: plot.x.apply(point.update), top: plot.y.apply(point.value) })));
    plot.rule = Plot.select(svg).append("line").attr("class", "rule").attr("y1", TOP).attr("y2", height - BOTTOM).attr("display", "none");
    plot.brush = Plot.brushX().extent([[scale.marginLeft, TOP], [scale.width - RIGHT, height - BOTTOM]]).touchable(false)
      .on("start", (event) => { if (event.sourceEvent) plot.pressed = event.sourceEvent.clientX; })
      .on("brush", (event) => { if (event.sourceEvent) enter(picked(plot, event.selection)); })
      .on("end", (event) => { if (event.sourceEvent) released(plot, event); });
    plot.layer = Plot.select(svg).append("g").attr("class", "brush").call(plot.brush);
    plot.cursor = Plot.select(svg).append("circle").attr("class", "cursor").attr("r", 4).attr("display", "none");
    svg.addEventListener("pointermove", (event) => hover(plot, event));
    svg.addEventListener("pointerdown", (event) => { plot.touched = event.pointerType !== "mouse"; hover(plot, event); });
    svg.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") leave(plot); });
    svg.setAttribute("aria-hidden", "true");
    drawn.replaceChildren(...(panel.stage && runs.length ? [strip(scale, runs)] : []), svg);
    plot.svg = svg;
  }

  function picked(plot, selection) {
    const limited = (place) => Math.min(data.last, Math.max(data.first, Math.round(plot.x.invert(place))));
    return selection.map(limited);
  }

  // A press without a movement follows the link of the point. A finger first shows the values.
  function released(plot, event) {
    const moved = Math.abs(event.sourceEvent.clientX - plot.pressed) >= CLICK;
    if (moved && event.selection) filter(picked(plot, event.selection), true);
    else if (!plot.touched && plot.point) plot.link.click();
    follow();
  }

  // ------------------------------------------------------------------ the range in the address
  function enter([from, to]) {
    [names.from.value, names.to.value] = [from, to];
    names.to.setCustomValidity("");
  }

  // The explorer moves to the responses of a new address, except if the entry of the history is marked as its own.
  function filter([from, to], isStaying) {
    history.pushState({ own: isStaying }, "", address(names.run.value, from, to));
    window.dispatchEvent(new HashChangeEvent("hashchange"));
  }

  function submit(isStaying) {
    const [from, to] = [names.from, names.to].map((field) => field.valueAsNumber);
    names.to.setCustomValidity(from > to ? `The range starts at update ${from}. Enter an update from ${from} to ${data.last}.` : "");
    if (range.checkValidity()) filter([from, to], isStaying);
  }

  // Show the range of the address. The explorer leaves out values that are its defaults.
  function follow() {
    const wanted = location.hash.startsWith("#responses?") ? new URLSearchParams(location.hash.slice("#responses?".length)) : new URLSearchParams();
    const from = Number(wanted.get("from") ?? data.first);
    const to = Number(wanted.get("to") ?? data.last);
    const isRange = (wanted.has("from") || wanted.has("to")) && data.first <= from && from <= to && to <= data.last;
    const run = data.runs.find((one) => one.name === wanted.get("run"));
    if (run) names.run.value = run.name;
    enter(isRange ? [from, to] : ["", ""]);
    for (const plot of plots) plot.layer.call(plot.brush.move, isRange ? [from - 0.5, to + 0.5].map(plot.x.apply) : null);
  }

  // ------------------------------------------------------------------ values under the pointer and at the keyboard
  function hover(plot, event) {
    const [x, y] = [event.offsetX, event.offsetY];
    let [nearest, least] = [null, Infinity];
    for (const point of plot.points) {
      const distance = 4 * (point.left - x) ** 2 + (point.top - y) ** 2;
      if (distance < least) [nearest, least] = [point, distance];
    }
    if (nearest) point(plot, nearest, plot.touched);
  }

  function point(plot, at, still) {
    plot.point = at;
    const { series, run, reading } = at.line;
    const readings = ["required format", "any readable answer"];
    const label = series.columns.length > 1 ? `${series.label}, ${readings[reading]}` : series.label;
    plot.said.textContent = `${run.label}, ${series.checkpoint ? "after " : ""}update ${at.update}\n${label}: ${shown(at.value, plot.panel.kind)}`;
    plot.link.href = series.checkpoint ? `checkpoint_eval/${run.name}/answers.parquet` : address(run.name, at.update, at.update, series.stage);
    plot.link.textContent = series.checkpoint ? "Answers of the checkpoints (parquet)" : "Responses";
    plot.link.setAttribute("aria-label", `${plot.link.textContent}: ${plot.panel.title}`);
    plot.tip.classList.add("on");
    plot.tip.classList.toggle("still", still);
    const room = plot.drawn.clientWidth - plot.tip.offsetWidth;
    const right = at.left + 14;
    plot.tip.style.left = `${right <= room ? right : Math.max(0, at.left - plot.tip.offsetWidth - 14)}px`;
    plot.tip.style.top = `${plot.svg.getBoundingClientRect().top - plot.drawn.getBoundingClientRect().top + TOP}px`;
    plot.cursor.attr("display", null).attr("cx", at.left).attr("cy", at.top);
    for (const one of plots) {
      one.rule?.attr("display", null).attr("x1", one.x.apply(at.update)).attr("x2", one.x.apply(at.update));
      values(one, at.update);
    }
  }

  function leave(plot) {
    if (plot.tip.matches(":focus-within")) return;
    plot.point = null;
    plot.tip.classList.remove("on", "still");
    plot.cursor.attr("display", "none");
    for (const one of plots) {
      one.rule?.attr("display", "none");
      values(one, null);
    }
  }

  // Next to each line, show its value at an update: the mean over the seeds that are shown, one row for each arm.
  function values(plot, update) {
    const runs = visibleRuns();
    plot.panel.series.forEach((series, index) => {
      const rows = data.arms.filter((arm) => runs.some((run) => run.arm === arm.name)).map((arm) => {
        const own = runs.filter((run) => run.arm === arm.name);
        const texts = series.columns.map((column) => {
          const known = own.map((run) => run.values[column]?.[run.updates.indexOf(update)] ?? null);
          return shown(known.includes(null) ? null : mean(known), plot.panel.kind);
        });
        // The names of arms stay, so that rows keep their height.
        return (data.arms.length > 1 ? `${arm.label} ` : "") + (update === null ? "" : texts.join(" / "));
      });
      plot.panel.buttons[index].querySelector(".value").textContent = rows.join("\n");
    });
  }

  const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], Home: [-Infinity, 0], End: [Infinity, 0] };
  const bounded = (list, at) => list[Math.min(list.length - 1, Math.max(0, at))];

  function step(plot, event) {
    if (event.key === "Escape") plot.link.blur();
    const own = STEPS[event.key];
    if (!own || !plot.point) return;
    event.preventDefault();
    const line = bounded(plot.lines, plot.lines.indexOf(plot.point.line) + own[1]);
    const along = plot.points.filter((one) => one.line === line);
    const near = along.reduce((best, one) => (Math.abs(one.update - plot.point.update) < Math.abs(best.update - plot.point.update) ? one : best));
    point(plot, bounded(along, along.indexOf(near) + own[0]), true);
  }

  // One stop of the Tab key for each group of buttons; arrow keys move within it.
  function rove(group) {
    const buttons = [...group.querySelectorAll("button")];
    group.addEventListener("keydown", (event) => {
      const move = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 }[event.key];
      if (!move) return;
      event.preventDefault();
      const next = bounded(buttons, buttons.indexOf(document.activeElement) + move);
      for (const button of buttons) button.tabIndex = button === next ? 0 : -1;
      next.focus();
    });
    return buttons;
  }

  function toggle(button, drawn) {
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(!pressed(button)));
      redraw(drawn);
    });
  }

  function redraw(some) {
    some.forEach(draw);
    some.forEach(leave);
    follow();
  }

  function connect(panel, node) {
    const [drawn, tip, group] = [".drawn", ".tip", ".series"].map((name) => node.querySelector(name));
    const plot = { panel, drawn, tip, said: tip.querySelector("span"), link: tip.querySelector("a"), points: [], lines: [] };
    panel.buttons = rove(group);
    panel.stage = panel.series.some((series) => series.stage);
    for (const button of panel.buttons) toggle(button, [plot]);
    plot.link.addEventListener("focus", () => { if (!plot.point && plot.points.length) point(plot, bounded(plot.points, plot.lines[0].points.length - 1), true); });
    plot.link.addEventListener("blur", () => leave(plot));
    plot.link.addEventListener("keydown", (event) => step(plot, event));
    return plot;
  }

  async function start() {
    await loadPlot();
    data = await unpackText(document.getElementById("chart-data").textContent);
    plots.push(...data.panels.map((panel, index) => connect(panel, box.querySelectorAll(".panel")[index])));
    for (const group of range.querySelectorAll(".toggles")) for (const button of rove(group)) toggle(button, plots);
    range.addEventListener("submit", (event) => { event.preventDefault(); submit(false); });
    range.addEventListener("change", () => submit(true));
    window.addEventListener("hashchange", follow);
    // The explorer changes the address without the event hashchange.
    window.navigation?.addEventListener("currententrychange", follow);
    redraw(plots);
    let width = box.clientWidth;
    new ResizeObserver(() => {
      if (!box.clientWidth || box.clientWidth === width) return;
      width = box.clientWidth;
      redraw(plots);
    }).observe(box);
  }

  function keepFigures() {
    box.hidden = true;
    fixed.open = true;
  }

  if (!("DecompressionStream" in window)) return;
  // Shown at once, so that the content below does not move when they are drawn.
  box.hidden = false;
  fixed.open = false;
  window.addEventListener("beforeprint", () => { fixed.open = true; });
  const near = new IntersectionObserver(([entry]) => {
    if (!entry.isIntersecting) return;
    near.disconnect();
    start().catch(keepFigures);
  }, { rootMargin: "600px" });
  near.observe(box);
})();
