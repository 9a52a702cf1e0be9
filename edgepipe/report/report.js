"use strict";
const tip = document.getElementById("tip");
const show = (event) => {
  const place = event.target.closest && event.target.closest("[data-tip]");
  tip.hidden = !place;
  if (!place) return;
  tip.textContent = place.dataset.tip;
  const at = place.getBoundingClientRect(), own = tip.getBoundingClientRect();
  const x = Math.min(Math.max(4, at.left + at.width / 2 - own.width / 2), innerWidth - own.width - 4);
  const y = at.top > own.height + 8 ? at.top - own.height - 6 : at.bottom + 6;
  tip.style.left = x + "px";
  tip.style.top = y + "px";
};
for (const name of ["pointerover", "focusin", "click"]) document.addEventListener(name, show);
document.addEventListener("scroll", () => { tip.hidden = true; }, true);
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
        return down ? -order : order;
      });
      table.tBodies[0].append(...rows);
    });
  });
}
