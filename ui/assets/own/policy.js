// The one trusted type: what makes HTML of a text. htmx needs it to put parts of
// pages, made by Coffer, into a page; scripts in them do not run. Nothing makes
// scripts or addresses of scripts of a text, so that both stay impossible.
if (window.trustedTypes) {
  window.trustedTypes.createPolicy("default", {createHTML: (text) => text});
}
