// What the report's charts use of Observable Plot and d3; see README.md.
export { barX, dot, line, plot } from "@observablehq/plot";
export { ticks } from "d3-array";
export { brushX } from "d3-brush";
export { select } from "d3-selection";
