"use strict";
// Sort a table by a column: numbers largest first, then the other way round. Without scripts the tables stay as they are.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (head.tagName !== "TH") return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const isNumber = head.classList.contains("n");
      const falls = head.getAttribute("aria-sort") !== (isNumber ? "descending" : "ascending");
      const down = isNumber === falls;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => {
        const cell = row.cells[column];
        return isNumber ? Number(cell.dataset.v ?? -1) : cell.textContent.trim().toLowerCase();
      };
      const sorted = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        return (x > y ? 1 : x < y ? -1 : 0) * (down ? -1 : 1);
      });
      table.tBodies[0].append(...sorted);
    });
  });
}
// What is folded away is printed too.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => (part.open = true)));
