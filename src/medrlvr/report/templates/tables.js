"use strict";
// Columns that sort, and keyboard access to tables that are wider than their place.
(() => {
  const DIRECTIONS = { none: "ascending", ascending: "descending", descending: "none" };

  const key = (cell) => {
    const text = (cell.dataset.value ?? cell.textContent).replaceAll(",", "").trim();
    const number = /^(?:< )?([+-]?\d+(?:\.\d+)?)/.exec(text);
    return { text, number: number ? Number(number[1]) : NaN };
  };

  // Cells without a number, such as an empty one, come last in both directions.
  const order = (column, sign) => (one, other) => {
    const [first, second] = [one, other].map((row) => key(row.cells[column]));
    const [worded, wordedToo] = [first, second].map((cell) => Number.isNaN(cell.number));
    if (worded && wordedToo) return sign * first.text.localeCompare(second.text);
    if (worded || wordedToo) return worded ? 1 : -1;
    return sign * (first.number - second.number);
  };

  // Rows sort within their group. The heading of a group stays first, a total stays last.
  const sort = (table, column, direction, original) => {
    for (const body of table.tBodies) {
      const rows = [...original.get(body)];
      const fixed = (row) => row.matches(".group, .total");
      const moving = rows.filter((row) => !fixed(row));
      if (direction !== "none") moving.sort(order(column, direction === "ascending" ? 1 : -1));
      body.append(...rows.map((row) => (fixed(row) ? row : moving.shift())));
    }
  };

  for (const table of document.querySelectorAll(".scroll > table")) {
    const headings = [...(table.tHead?.rows[0].cells ?? [])];
    const original = new Map([...table.tBodies].map((body) => [body, [...body.rows]]));
    for (const [column, heading] of headings.entries()) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const direction = DIRECTIONS[heading.getAttribute("aria-sort") ?? "none"];
        for (const one of headings) one.removeAttribute("aria-sort");
        if (direction !== "none") heading.setAttribute("aria-sort", direction);
        sort(table, column, direction, original);
      });
    }
  }

  const fit = (region) => {
    const table = region.firstElementChild;
    const fits = table.offsetWidth <= region.clientWidth;
    region.classList.toggle("fits", fits);
    if (fits) {
      for (const name of ["tabindex", "role", "aria-label"]) region.removeAttribute(name);
    } else {
      region.tabIndex = 0;
      region.setAttribute("role", "region");
      region.setAttribute("aria-label", table.caption.textContent);
    }
  };
  const observer = new ResizeObserver((entries) => {
    for (const entry of entries) if (entry.contentRect.width > 0) fit(entry.target);
  });
  for (const region of document.querySelectorAll(".scroll")) observer.observe(region);
})();
