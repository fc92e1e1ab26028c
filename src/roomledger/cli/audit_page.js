"use strict";
const filter = document.getElementById("filter");
const lane = document.getElementById("lane");
const rows = Array.from(document.querySelectorAll("#table tbody tr"));
function show() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    const fits = words.every((word) => text.includes(word)) && (!lane.value || row.dataset.lane === lane.value);
    row.hidden = !fits;
    shown += fits ? 1 : 0;
  }
  document.getElementById("count").textContent = shown + " of " + rows.length;
}
filter.addEventListener("input", show);
lane.addEventListener("change", show);
window.addEventListener("hashchange", () => {
  const row = document.getElementById(location.hash.slice(1));
  if (row && row.hidden) { filter.value = ""; lane.value = ""; show(); row.scrollIntoView(); }
});
show();
