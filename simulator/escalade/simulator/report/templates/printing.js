"use strict";
// Opens a page's tables for the printer, but those that go on for pages, and closes them again.
const MOST_ROWS = 50;
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")].filter(
    (one) => one.querySelectorAll("tr").length <= MOST_ROWS,
  );
  for (const one of opened) one.open = true;
});
addEventListener("afterprint", () => {
  for (const one of opened) one.open = false;
});
