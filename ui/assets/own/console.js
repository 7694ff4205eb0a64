// The SQL console: an editor in place of the plain text area, which stays and is
// what is sent.
import {createSQLEditor} from "./codemirror.js";

const area = document.getElementById("sql-sql");
const place = document.getElementById("editor");
const form = document.getElementById("console");

const theme = document.documentElement.dataset.theme;
const system = matchMedia("(prefers-color-scheme: dark)");
const dark = () => (theme ? theme === "dark" : system.matches);

place.hidden = false;
const editor = createSQLEditor(place, {
  doc: area.value,
  dark: dark(),
  label: "SQL statement",
  placeholder: area.placeholder,
  onChange: (text) => { area.value = text; },
  onRun: () => form.requestSubmit(document.getElementById("run")),
});
area.hidden = true;
area.required = false; // a browser cannot lead to a field that it does not show: Coffer says what is missing
document.getElementById("sql-label").addEventListener("click", () => editor.focus());
system.addEventListener("change", () => { editor.dark = dark(); });
if (!document.getElementById("problem")) editor.focus();
