// A chart of lines over a few places of the x-axis. A place is chosen by the pointer, a finger or the range below the chart;
// the list next to it has the values there.
const STEP_HEIGHT = 232;
const STEP_MARGIN = { top: 10, bottom: 24, left: 48 };
const BAND_HEIGHT = 12;
const LABEL_HEIGHT = 14;

const shareOf = (value) => `${tenths.format(100 * value)} %`;

function valueText(value) {
  if (!value) return "\u2013";
  const { low, high } = value;
  return shareOf(value.value) + (low === undefined ? "" : ` (${tenths.format(100 * low)} to ${tenths.format(100 * high)})`);
}

// Heights of labels at the ends of lines: in the order of the wanted heights, without overlaps.
function spread(wanted, top, bottom) {
  const order = wanted.map((_, index) => index).sort((one, other) => wanted[one] - wanted[other]);
  const heights = [...wanted];
  let least = top;
  for (const index of order) least = LABEL_HEIGHT + (heights[index] = Math.max(heights[index], least));
  let most = bottom;
  for (const index of order.reverse()) most = (heights[index] = Math.min(heights[index], most)) - LABEL_HEIGHT;
  return heights;
}

// Plot draws a short vertical line for each interval.
function intervalEnds(points) {
  return points.flatMap(({ place, low, high }, index) => (low === undefined ? [] : [{ place, value: low, index }, { place, value: high, index }]));
}

function stepMarks({ points, colour, dash, strong }) {
  const at = { x: "place", y: "value", stroke: colour };
  return [
    Plot.line(intervalEnds(points), { ...at, z: "index", strokeOpacity: 0.5 }),
    Plot.line(points, { ...at, strokeWidth: strong ? 4 : 1.5, strokeDasharray: dash }),
    Plot.dot(points, { ...at, r: strong ? 4 : 3, fill: strong ? colour : "var(--paper)" }),
  ];
}

// The stages of a run, above the lines.
function drawBands(layer, bands, [first, last], x) {
  const limited = (place) => x.apply(Math.min(last, Math.max(first, place)));
  for (const band of bands) {
    const [left, right] = [limited(band.first - 0.5), limited(band.last + 0.5)];
    layer.append("rect").attr("class", "band").attr("x", left).attr("width", right - left).attr("height", BAND_HEIGHT).attr("fill", band.colour);
  }
}

// lines: label, colour, dash, strong, and points (place, value and, where known, low and high).
function drawSteps(width, { places, logarithmic, lines, bands = [] }) {
  const top = STEP_MARGIN.top + (bands.length ? BAND_HEIGHT : 0);
  const right = Math.min(width / 3, 16 + 7 * Math.max(...lines.map((line) => line.label.length)));
  const every = Math.ceil((44 * places.length) / (width - STEP_MARGIN.left - right));
  const ends = places.length > 1 ? [places[0], places.at(-1)] : [places[0] - 0.5, places[0] + 0.5];
  const svg = Plot.plot({
    width, height: STEP_HEIGHT, marginTop: top, marginBottom: STEP_MARGIN.bottom, marginLeft: STEP_MARGIN.left, marginRight: right,
    style: { background: "none", color: "var(--ink)", fontSize: "12px", overflow: "visible" },
    x: { type: logarithmic ? "log" : "linear", base: 2, domain: ends, label: null, ticks: places.filter((_, index) => (places.length - 1 - index) % every === 0), tickFormat: String },
    y: { domain: [0, 1], label: null, grid: true, ticks: 5, tickFormat: (value) => `${Math.round(100 * value)} %` },
    marks: lines.flatMap(stepMarks),
  });
  const [x, y] = [svg.scale("x"), svg.scale("y")];
  const heights = spread(lines.map((line) => y.apply(line.points.at(-1).value)), top, STEP_HEIGHT - STEP_MARGIN.bottom);
  const layer = Plot.select(svg);
  lines.forEach((line, index) => {
    layer.append("text").attr("class", line.strong ? "strong" : "").attr("x", width - right + 10).attr("y", heights[index]).attr("dy", ".32em").attr("text-anchor", "start").attr("fill", "currentColor").text(line.label);
  });
  drawBands(layer, bands, ends, x);
  const rule = layer.append("line").attr("class", "rule").attr("y1", 0).attr("y2", STEP_HEIGHT - STEP_MARGIN.bottom);
  svg.setAttribute("aria-hidden", "true");
  return { svg, rule, lefts: places.map((place) => x.apply(place)) };
}

function keyOf({ colour, dash, strong }) {
  const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
  for (const [name, value] of Object.entries({ x2: 28, y1: 3, y2: 3, stroke: colour, "stroke-width": strong ? 4 : 2, "stroke-dasharray": dash })) line.setAttribute(name, value);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 28 6");
  svg.setAttribute("aria-hidden", "true");
  svg.append(line);
  return svg;
}

// Return a function that shows a chart in a box: places, logarithmic, lines, bands and saidOf, the text of a place.
// onPlace gets the index of a place.
function stepChart(box, onPlace = () => {}) {
  const [drawn, range, said, list] = [".drawn", "input[type=range]", "output", ".values"].map((name) => box.querySelector(name));
  let [chart, plot, width] = [null, null, 0];

  function choose(index) {
    range.value = index;
    const place = chart.places[index];
    const values = chart.lines.map((line) => valueText(line.points.find((point) => point.place === place)));
    said.textContent = chart.saidOf(place);
    [...list.children].forEach((item, at) => { item.querySelector(".value").textContent = values[at]; });
    range.setAttribute("aria-valuetext", `${said.textContent}: ${chart.lines.map((line, at) => `${line.label} ${values[at]}`).join("; ")}`);
    plot?.rule.attr("x1", plot.lefts[index]).attr("x2", plot.lefts[index]);
    onPlace(index);
  }

  function redraw() {
    if (!chart || !drawn.clientWidth) return;
    width = drawn.clientWidth;
    plot = drawSteps(width, chart);
    const follow = (event) => {
      const x = event.clientX - plot.svg.getBoundingClientRect().left;
      const distances = plot.lefts.map((left) => Math.abs(left - x));
      choose(distances.indexOf(Math.min(...distances)));
    };
    for (const name of ["pointermove", "pointerdown"]) plot.svg.addEventListener(name, follow);
    drawn.replaceChildren(plot.svg);
    choose(Number(range.value));
  }

  range.addEventListener("input", () => choose(Number(range.value)));
  range.addEventListener("focus", () => choose(Number(range.value)));
  new ResizeObserver(() => { if (drawn.clientWidth !== width) redraw(); }).observe(drawn);
  return (shown) => {
    chart = shown;
    list.replaceChildren(...chart.lines.map((line) => element("li", line.strong ? "strong" : "", keyOf(line), element("span", "", line.label), element("span", "value"))));
    range.max = chart.places.length - 1;
    range.value = range.max;
    redraw();
  };
}
