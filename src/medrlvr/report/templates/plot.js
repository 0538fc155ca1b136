// Insert Observable Plot, once for all scripts of the report. The browser runs it because the policy contains its hash.
function loadPlot() {
  window.plotLibrary ??= unpackText(document.getElementById("chart-library").textContent).then((library) => {
    const script = document.createElement("script");
    script.textContent = library;
    document.head.append(script);
  });
  return window.plotLibrary;
}

// With the same rounding as the tables of the report.
const numberFormat = (digits) => new Intl.NumberFormat("en", { roundingMode: "halfEven", useGrouping: false, ...digits });
const tenths = numberFormat({ minimumFractionDigits: 1, maximumFractionDigits: 1 });
