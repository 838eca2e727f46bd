"use strict";
const find = (id) => document.getElementById(id);
const list = find("cards"), tools = find("tools"), dialog = find("large"), stage = find("stage");
const cards = [...list.children];
const filters = [...document.querySelectorAll(".filter")];
const haystack = new Map(cards.map((card) => [card, fold(card.textContent + " " + card.dataset.name)]));
let shown = cards, at = 0;

// Letters without case and accents, so that "Cafe" finds "café".
function fold(text) {
  return text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
}

function make(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Sort, filter and search

const orders = {
  worst: (a, b) => failed(a) - failed(b) || badness(b) - badness(a),
  best: (a, b) => failed(a) - failed(b) || badness(a) - badness(b),
  given: () => 0,
  name: (a, b) => a.dataset.name.localeCompare(b.dataset.name, undefined, { numeric: true }),
};
const failed = (card) => "error" in card.dataset ? 1 : 0;
const badness = (card) => card.dataset.badness === "" ? -9 : Number(card.dataset.badness);

function wanted(card, words, errors) {
  if (errors === "only" ? !failed(card) : errors === "none" && failed(card)) return false;
  if (filters.some((each) => each.value && card.dataset[each.dataset.column] !== each.value)) return false;
  return words.every((word) => haystack.get(card).includes(word));
}

function update() {
  const words = fold(find("search").value).split(/\s+/).filter(Boolean);
  const errors = find("errors") ? find("errors").value : "";
  const sorted = [...cards].sort(orders[find("sort").value]);
  shown = sorted.filter((card) => wanted(card, words, errors));
  const kept = new Set(shown);
  for (const card of cards) card.hidden = !kept.has(card);
  list.append(...sorted);
  const noun = cards.length === 1 ? "picture" : list.querySelector("figcaption") ? "pairs" : "pictures";
  find("count").textContent = shown.length === cards.length
    ? `${cards.length.toLocaleString("en")} ${noun}`
    : `${shown.length.toLocaleString("en")} of ${cards.length.toLocaleString("en")} ${noun}`;
  find("nothing").hidden = shown.length > 0;
}

// The picture large

function show(place) {
  at = (place + shown.length) % shown.length;
  const card = shown[at];
  find("large-place").textContent = `${at + 1} of ${shown.length}`;
  const text = (selector) => card.querySelector(selector)?.textContent ?? "";
  find("large-title").textContent = text(".verdict") || card.dataset.name;
  find("large-title").className = card.classList.contains("failed") ? "failed" : "";
  find("large-name").textContent = [...card.querySelectorAll("bdi")].map((each) => each.title).join(" · ");
  find("large-reasoning").textContent = text(".reasoning");
  find("large-answer").replaceChildren(...[...card.querySelector(".answer").childNodes].map((each) => each.cloneNode(true)), ...scale(card));
  const images = [...card.querySelectorAll(".open img")];
  if (images.length > 1) slider(images);
  else if (images.length) stage.replaceChildren(large(images[0], card.dataset.name));
  else stage.replaceChildren(make("p", { className: "missing", textContent: "no picture" }));
  if (!dialog.open) dialog.showModal();
}

// The rating and its standard deviation on the scale from 1 to 5.
function scale(card) {
  const share = parseFloat(card.querySelector(".badge")?.style.getPropertyValue("--s"));
  if (!/^\d\.\d\d$/.test(card.querySelector(".badge")?.lastChild.textContent.trim() ?? "") || Number.isNaN(share)) return [];
  const drawn = make("div", { className: "scale", ariaHidden: "true" }, make("span", { className: "track" }));
  const spread = parseFloat(card.querySelector(".spread")?.lastChild.textContent) / 4;
  if (spread) {
    const low = Math.max(0, share - spread), high = Math.min(1, share + spread);
    const range = make("span", { className: "range" });
    Object.assign(range.style, { left: `${100 * low}%`, width: `${100 * (high - low)}%` });
    drawn.append(range);
  }
  const dot = make("span", { className: "dot" });
  dot.style.left = `${100 * share}%`;
  drawn.append(dot, make("span", { className: "low", textContent: "1 bad" }), make("span", { className: "high", textContent: "5 excellent" }));
  return [drawn];
}

// The small picture at once, and the file itself in its place where it can be read.
function large(small, alt) {
  const image = make("img", { src: small.src, alt });
  if (small.dataset.address) {
    const file = new Image();
    file.onload = () => { image.src = file.src; };
    file.src = small.dataset.address;
  }
  return image;
}

// Two of the pictures of a card, one over the other, with an edge to move between them.
function slider(images) {
  const pictures = images.map((image) => ({ image, label: image.dataset.label }));
  let pair = [0, 1], where = 50;
  const draw = () => {
    const [left, right] = pair.map((index) => pictures[index]);
    const under = large(left.image, `${left.label}, on the left`), over = large(right.image, `${right.label}, on the right`);
    over.className = "over";
    const range = make("input", { type: "range", min: 0, max: 100, step: 1, value: where, ariaLabel: `Edge between ${left.label} and ${right.label}` });
    const move = () => { where = range.value; stage.style.setProperty("--at", `${where}%`); };
    range.addEventListener("input", move);
    move();
    const tags = [make("span", { className: "tag", textContent: left.label }), make("span", { className: "tag right", textContent: right.label })];
    stage.replaceChildren(under, over, make("span", { className: "edge" }), range, ...tags, ...chooser());
  };
  const chooser = () => pictures.length < 3 ? [] : [make("div", { className: "choose" }, ...pair.map((chosen, side) => {
    const select = make("select", { ariaLabel: side ? "Picture on the right" : "Picture on the left" });
    pictures.forEach((each, index) => select.append(make("option", { value: index, textContent: each.label, selected: index === chosen })));
    select.addEventListener("change", () => { pair[side] = Number(select.value); draw(); stage.querySelectorAll("select")[side].focus(); });
    return select;
  }))];
  draw();
}

list.addEventListener("click", (event) => {
  const card = event.target.closest(".open")?.closest(".card");
  if (card) show(shown.indexOf(card));
});
find("previous").addEventListener("click", () => show(at - 1));
find("next").addEventListener("click", () => show(at + 1));
find("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("close", () => shown[at]?.querySelector(".open").focus());
dialog.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select")) return;
  if (event.key === "ArrowLeft") show(at - 1);
  if (event.key === "ArrowRight") show(at + 1);
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || dialog.open || event.target.matches("input, select")) return;
  event.preventDefault();
  find("search").focus();
});
tools.addEventListener("input", update);
tools.addEventListener("submit", (event) => event.preventDefault());
tools.addEventListener("reset", () => setTimeout(update));
find("all").addEventListener("click", () => tools.reset());
tools.hidden = false;
update();
