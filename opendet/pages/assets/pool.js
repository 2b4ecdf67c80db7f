"use strict";
// Finds rows of the table of prototypes by their words.

(() => {
  const field = document.getElementById("find");
  const rows = [...document.querySelectorAll("#prototypes tbody tr")];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  field?.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row, place) => (row.hidden = !words.every((word) => texts[place].includes(word))));
  });
})();
