import {createSQLEditor} from "./codemirror.js";
const dark = matchMedia("(prefers-color-scheme: dark)");
window.heard = [];
window.ran = [];
window.editor = createSQLEditor(document.querySelector("#editor"), {
  doc: "SELECT 'a', 1 FROM t -- why", dark: dark.matches, label: "Statement", placeholder: "SELECT …",
  onChange: (text) => window.heard.push(text), onRun: (text) => window.ran.push(text),
});
dark.addEventListener("change", () => { window.editor.dark = dark.matches; });
