// What every page of Coffer runs. All of it is on top of pages that work without.

const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

// enliven shows and binds what needs scripts, in a page or a part of one.
function enliven(within) {
  for (const button of $$("[data-copy]", within)) {
    if (!button.hidden) continue;
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }
  for (const button of $$("[data-print]", within)) {
    button.hidden = false;
    button.addEventListener("click", () => window.print());
  }
  for (const button of $$("[data-add-pair]", within)) {
    button.hidden = false;
    button.addEventListener("click", () => addPair(button));
  }
  for (const button of $$("[data-conceal]", within)) {
    button.hidden = false;
    button.addEventListener("click", () => conceal(button));
  }
  for (const input of $$("[data-filter]", within)) input.addEventListener("input", () => filter(input));
}

// copy puts the text of an element onto the clipboard and says so.
async function copy(button) {
  const from = document.getElementById(button.dataset.copy);
  const word = $("span", button);
  const before = word.textContent;
  try {
    await navigator.clipboard.writeText(from.dataset.secret ?? from.textContent);
    word.textContent = "Copied";
  } catch {
    const range = document.createRange();
    range.selectNodeContents(from);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    word.textContent = "Press Ctrl+C";
  }
  setTimeout(() => { word.textContent = before; }, 2000);
}

// addPair gives a form another line for a key and a value.
function addPair(button) {
  const pairs = $$(".pair", document.getElementById(button.dataset.addPair));
  const last = pairs[pairs.length - 1];
  const fresh = last.cloneNode(true);
  for (const field of $$("input, textarea", fresh)) {
    const label = $(`label[for="${field.id}"]`, fresh);
    field.value = "";
    field.id = field.id.replace(/\d+$/, String(pairs.length));
    label.htmlFor = field.id;
  }
  last.after(fresh);
  $("input", fresh).focus();
}

// conceal shows or hides what is typed into the values of a form.
function conceal(button) {
  const open = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(open));
  for (const field of $$(".concealed", document.getElementById(button.dataset.conceal))) field.classList.toggle("open", open);
}

// filter hides the rows of a table in which the text does not occur.
function filter(input) {
  const wanted = input.value.trim().toLowerCase();
  const table = document.getElementById(input.dataset.filter);
  if (!table) return;
  let shown = 0;
  for (const row of $$("tbody tr", table)) {
    row.hidden = !row.dataset.find.toLowerCase().includes(wanted);
    if (!row.hidden) shown++;
  }
  const none = document.getElementById(`${input.dataset.filter}-none`);
  if (none) none.hidden = shown > 0;
}

// typing says whether a key belongs to what somebody types.
function typing(target) {
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || target.shadowRoot;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  const to = $$("[data-key]").find((e) => e.dataset.key === event.key);
  if (!to) return;
  event.preventDefault();
  if (to.tagName === "INPUT") to.focus();
  else if (to.tagName === "SUMMARY") { to.parentElement.open = true; $("input:not([type=hidden]), select", to.parentElement)?.focus(); }
  else to.click();
});

// A value that was revealed hides itself, also when the page is left and come
// back to.
for (const shown of $$("[data-hide-after]")) {
  const hide = () => location.replace(shown.dataset.hideTo);
  setTimeout(hide, Number(shown.dataset.hideAfter) * 1000);
  addEventListener("pageshow", (event) => { if (event.persisted) hide(); });
}

// The id of a client follows its name until somebody writes one.
const id = $("#new-id");
const name = $("#new-name");
if (id && name) {
  let own = id.value !== "";
  id.addEventListener("input", () => { own = id.value !== ""; });
  name.addEventListener("input", () => { if (!own) id.value = suggest(name.value); });
}

function suggest(text) {
  const plain = text.toLowerCase().replace(/ä/g, "ae").replace(/ö/g, "oe").replace(/ü/g, "ue").replace(/ß/g, "ss")
    .normalize("NFD").replace(/[\u0300-\u036f]/g, "");
  return plain.replace(/[^a-z0-9]+/g, "-").replace(/^[-0-9]+/, "").slice(0, 40).replace(/^-+|-+$/g, "");
}

// A form is sent once.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) { event.preventDefault(); return; }
  form.dataset.sent = "1";
  setTimeout(() => { delete form.dataset.sent; }, 5000);
});
addEventListener("pageshow", () => { for (const form of $$("form[data-sent]")) delete form.dataset.sent; });

const word = $("#live-word span:last-child");
if (word) word.textContent = "Following: new events appear here by themselves.";
document.addEventListener("htmx:oobAfterSwap", (event) => enliven(event.detail.target));
document.addEventListener("htmx:sendError", () => { if (word) word.textContent = "Coffer does not answer. Trying again…"; });
document.addEventListener("htmx:afterOnLoad", () => { if (word) word.textContent = "Following: new events appear here by themselves."; });

$(".tabs [aria-current]")?.scrollIntoView({block: "nearest", inline: "center"});
enliven(document);
$("#problem")?.focus();
