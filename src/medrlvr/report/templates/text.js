// Elements of the report. Model output is inserted only as text nodes.
// The same set as UNSEEN and BLANK in report/page.py.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\ufe00-\ufe0f\u{e0100}-\u{e01ef}]/u;
const $ = (id) => document.getElementById(id);

function element(tag, classes, ...children) {
  const node = document.createElement(tag);
  if (classes) node.className = classes;
  node.append(...children);
  return node;
}

function button(text, label, action) {
  const node = element("button", "", text);
  node.type = "button";
  node.setAttribute("aria-label", label);
  node.addEventListener("click", action);
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

function questionOf(id, one, open) {
  const details = element("details", "", element("summary", "", "Question ", ...visible(id)));
  details.open = open;
  const list = element("ul", "options");
  one.options.forEach((option, index) => {
    const letter = String.fromCharCode(65 + index);
    const right = letter === one.gold ? element("strong", "", " \u2190 right") : "";
    list.append(element("li", "", letter + ". ", ...visible(option), right));
  });
  details.append(element("p", "", ...visible(one.stem)), list);
  if (one.key) details.append(element("p", "", "Right: ", element("strong", "", ...visible(one.gold)), "; ", ...visible(one.key)));
  return details;
}
