"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const on = (target, type, act) => target.addEventListener(type, act);

// What a metric is: shown beside its name while it is pointed at or has the focus.
const tip = document.getElementById("tip");
function explain(target) {
  tip.hidden = !target;
  if (!target) return;
  tip.textContent = target.dataset.tip;
  const at = target.getBoundingClientRect(), own = tip.getBoundingClientRect();
  const below = at.bottom + 8 + own.height < innerHeight;
  tip.style.left = `${Math.max(8, Math.min(at.left, innerWidth - own.width - 8))}px`;
  tip.style.top = `${below ? at.bottom + 8 : Math.max(8, at.top - own.height - 8)}px`;
}
for (const [start, end] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
  on(document, start, (event) => { const found = event.target.closest("[data-tip]"); if (found) explain(found); });
  on(document, end, () => explain(null));
}
on(document, "scroll", () => explain(null));

// One method alone in every plot: while its name is pointed at, or until it is clicked again.
const chips = all(".legend button");
function single(chip) {
  document.body.classList.toggle("one", Boolean(chip));
  all(".series.on").forEach((series) => series.classList.remove("on"));
  if (chip) all(`.series.s${chip.dataset.series}`).forEach((series) => series.classList.add("on"));
}
const pinned = () => chips.find((chip) => chip.getAttribute("aria-pressed") === "true");
for (const chip of chips) {
  on(chip, "pointerenter", () => single(chip));
  on(chip, "pointerleave", () => single(pinned()));
  on(chip, "click", () => {
    const was = pinned();
    chips.forEach((other) => other.setAttribute("aria-pressed", String(other === chip && other !== was)));
    single(pinned());
  });
}

// Where one is in the page.
const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link]));
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((found) => found.isIntersecting)) {
    links.forEach((link, id) => link.classList.toggle("here", id === entry.target.id));
  }
}, { rootMargin: "-20% 0px -75% 0px" });
all("main > section").forEach((section) => seen.observe(section));

// A cross at the same place of all three pictures.
on(document, "pointermove", (event) => {
  const picture = event.target.closest(".pic");
  all(".triple.cross").forEach((triple) => triple.classList.remove("cross"));
  if (!picture) return;
  const at = picture.getBoundingClientRect(), triple = picture.parentElement;
  triple.classList.add("cross");
  triple.style.setProperty("--x", `${100 * (event.clientX - at.left) / at.width}%`);
  triple.style.setProperty("--y", `${100 * (event.clientY - at.top) / at.height}%`);
});

// Pictures large, left and right through all of them.
const box = document.querySelector("dialog"), rows = all(".row").filter((row) => row.querySelector(".triple"));
let shown = 0;
function enlarge(index) {
  shown = (index + rows.length) % rows.length;
  box.querySelector(".triple").replaceChildren(...all(".pic", rows[shown]).map((picture) => picture.cloneNode(true)));
  box.querySelector(".values").replaceChildren(...rows[shown].querySelector(".values").cloneNode(true).childNodes);
  if (!box.open) box.showModal();
}
rows.forEach((row, index) => on(row.querySelector(".triple"), "click", () => enlarge(index)));
on(box.querySelector(".close"), "click", () => box.close());
on(box.querySelector(".back"), "click", () => enlarge(shown - 1));
on(box.querySelector(".on-next"), "click", () => enlarge(shown + 1));
on(box, "keydown", (event) => {
  if (event.key === "ArrowLeft") enlarge(shown - 1);
  if (event.key === "ArrowRight") enlarge(shown + 1);
});

on(window, "beforeprint", () => all("details").forEach((details) => { details.open = true; }));
