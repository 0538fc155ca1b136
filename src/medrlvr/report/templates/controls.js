// Charts of the controls: the lines of report/controls.py that agree with the selects above them.
const controlBoxes = [...document.querySelectorAll("[data-control]")];
const figureOf = (box) => document.querySelector(`[data-figure="${box.dataset.control}"]`);

function chosenLines(chart, form) {
  const lines = chart.lines
    .filter((line) => Object.entries(line.where).every(([name, value]) => form.elements[name].value === value))
    .map((line) => ({ ...line, points: line.points.map(([place, value, low, high]) => ({ place, value, low, high })) }));
  const places = [...new Set(lines.flatMap((line) => line.points.map((point) => point.place)))].sort((one, other) => one - other);
  const bands = chart.bands?.[form.elements.run.value] ?? [];
  return { ...chart, lines, places, bands, saidOf: (place) => `${place}${stageAt(bands, place)}` };
}

// The last checkpoint sampled no response of the training; it has the stage of the last update.
function stageAt(bands, place) {
  const band = bands.find(({ first, last }) => first <= place && place <= last) ?? bands.at(-1);
  return band ? `, ${band.name.toLowerCase()}` : "";
}

async function startControls() {
  const [charts] = await Promise.all([unpackText(document.querySelector("[data-payload=controls]").textContent), loadPlot()]);
  for (const box of controlBoxes) {
    const [chart, form, none] = [charts[box.dataset.control], box.querySelector("form"), box.querySelector(".none")];
    const show = stepChart(box);
    const update = () => {
      const chosen = chosenLines(chart, form);
      none.hidden = chosen.lines.length > 0;
      box.querySelector(".steps").hidden = chosen.lines.length === 0;
      if (chosen.lines.length) show(chosen);
    };
    form.addEventListener("input", update);
    form.addEventListener("submit", (event) => event.preventDefault());
    update();
  }
}

function keepControlFigures() {
  for (const box of controlBoxes) {
    box.hidden = true;
    figureOf(box).open = true;
  }
}

if (controlBoxes.length && "DecompressionStream" in window) {
  for (const box of controlBoxes) {
    box.hidden = false;
    figureOf(box).open = false;
    window.addEventListener("beforeprint", () => { figureOf(box).open = true; });
  }
  const near = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    near.disconnect();
    startControls().catch(keepControlFigures);
  }, { rootMargin: "600px" });
  for (const box of controlBoxes) near.observe(box);
}
