// The SQL editor of the console: CodeMirror 6 with what writing a statement
// needs and no more. It always lives in a shadow root, where its styles are
// constructed sheets: in the page itself they would be a <style> element, which
// the content security policy refuses.
//
// Colours are custom properties, which a shadow root inherits, so that the page's
// own style sheet decides; the values here are for a page that sets none.
import {Compartment, EditorState} from "@codemirror/state";
import {
  EditorView, drawSelection, highlightActiveLine, highlightSpecialChars, keymap, lineNumbers, placeholder as hint,
} from "@codemirror/view";
import {defaultKeymap, history, historyKeymap} from "@codemirror/commands";
import {HighlightStyle, bracketMatching, indentOnInput, syntaxHighlighting} from "@codemirror/language";
import {SQLite, sql} from "@codemirror/lang-sql";
import {tags} from "@lezer/highlight";

const inks = HighlightStyle.define([
  {tag: [tags.keyword, tags.operatorKeyword, tags.modifier], color: "var(--editor-keyword)", fontWeight: "600"},
  {tag: [tags.string, tags.special(tags.string)], color: "var(--editor-string)"},
  {tag: [tags.number, tags.bool, tags.null], color: "var(--editor-number)"},
  {tag: [tags.typeName, tags.standard(tags.name)], color: "var(--editor-type)"},
  {tag: [tags.lineComment, tags.blockComment], color: "var(--editor-comment)", fontStyle: "italic"},
]);

const shape = {
  "&": {backgroundColor: "var(--editor-paper)", color: "var(--editor-ink)", fontSize: "inherit", height: "100%"},
  "&.cm-focused": {outline: "2px solid var(--editor-focus)", outlineOffset: "1px"},
  ".cm-scroller": {fontFamily: "var(--editor-font, ui-monospace, monospace)", lineHeight: "1.5"},
  ".cm-content": {caretColor: "var(--editor-ink)", minHeight: "6em"},
  ".cm-cursor": {borderLeftColor: "var(--editor-ink)"},
  ".cm-gutters": {
    backgroundColor: "var(--editor-paper)", color: "var(--editor-comment)", borderRight: "1px solid var(--editor-line)",
  },
  ".cm-activeLine, .cm-activeLineGutter": {backgroundColor: "var(--editor-active)"},
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    backgroundColor: "var(--editor-selection)",
  },
  "&.cm-focused .cm-matchingBracket": {backgroundColor: "var(--editor-selection)"},
  ".cm-placeholder": {color: "var(--editor-comment)"},
};

// Fallbacks, at least 4.5:1 on their paper.
const light = {
  paper: "#ffffff", ink: "#1b1f24", line: "#d5d9df", active: "#0b5cad0d", selection: "#b9d7f6", focus: "#0b5cad",
  keyword: "#0b4f9e", string: "#8a3b00", number: "#7a1f7a", type: "#0b6158", comment: "#5a6472",
};
const dark = {
  paper: "#14181d", ink: "#e6e9ee", line: "#333b45", active: "#7db7ff14", selection: "#2c4a6e", focus: "#7db7ff",
  keyword: "#8cc1ff", string: "#f2b47e", number: "#e3a6e6", type: "#7fd6c8", comment: "#9aa5b3",
};

// theme makes CodeMirror's theme of a set of fallbacks; --coffer-editor-* of the
// page come before them.
function theme(isDark) {
  const vars = {};
  for (const [name, value] of Object.entries(isDark ? dark : light)) {
    vars[`--editor-${name}`] = `var(--coffer-editor-${name}, ${value})`;
  }
  return EditorView.theme({...shape, "&": {...vars, ...shape["&"]}}, {dark: isDark});
}

// shadowOf finds or makes the shadow root to live in.
function shadowOf(parent) {
  if (parent instanceof ShadowRoot) return parent;
  return parent.shadowRoot ?? parent.attachShadow({mode: "open"});
}

/**
 * createSQLEditor puts an editor of SQLite's SQL into an element's shadow root.
 *
 * @param {Element|ShadowRoot} parent
 * @param {object} [options]
 * @param {string} [options.doc] the text to begin with
 * @param {boolean} [options.readOnly] shows without letting anybody change it
 * @param {boolean} [options.dark] the colours to begin with
 * @param {string} [options.label] what a screen reader says of the field
 * @param {string} [options.placeholder] shown while there is no text
 * @param {Object<string, string[]>} [options.schema] tables and their columns, which the highlighter tells from other words
 * @param {(text: string) => void} [options.onChange] hears of every change
 * @param {(text: string) => void} [options.onRun] hears of Ctrl+Enter or Cmd+Enter
 * @returns {{text: string, dark: boolean, readOnly: boolean, focus: () => void, destroy: () => void}}
 */
export function createSQLEditor(parent, options = {}) {
  const root = shadowOf(parent);
  const colours = new Compartment();
  const lock = new Compartment();
  const locked = (on) => [EditorState.readOnly.of(on), EditorView.editable.of(!on)];
  let isDark = Boolean(options.dark);
  const run = (view) => {
    if (!options.onRun) return false;
    options.onRun(view.state.doc.toString());
    return true;
  };

  const view = new EditorView({
    parent: root,
    root,
    state: EditorState.create({
      doc: options.doc ?? "",
      extensions: [
        // Tab is not bound: it leaves the editor, as everywhere on a page.
        keymap.of([{key: "Mod-Enter", run}, ...defaultKeymap, ...historyKeymap]),
        lineNumbers(), history(), drawSelection(), highlightSpecialChars(), highlightActiveLine(),
        indentOnInput(), bracketMatching(), EditorView.lineWrapping,
        sql({dialect: SQLite, schema: options.schema, upperCaseKeywords: true}),
        syntaxHighlighting(inks),
        colours.of(theme(isDark)), lock.of(locked(Boolean(options.readOnly))),
        options.placeholder ? hint(options.placeholder) : [],
        EditorView.contentAttributes.of({"aria-label": options.label ?? "SQL", spellcheck: "false"}),
        EditorView.updateListener.of((u) => {
          if (u.docChanged && options.onChange) options.onChange(u.state.doc.toString());
        }),
      ],
    }),
  });

  return {
    get text() { return view.state.doc.toString(); },
    set text(to) { view.dispatch({changes: {from: 0, to: view.state.doc.length, insert: to}}); },
    get dark() { return isDark; },
    set dark(on) {
      isDark = Boolean(on);
      view.dispatch({effects: colours.reconfigure(theme(isDark))});
    },
    get readOnly() { return view.state.readOnly; },
    set readOnly(on) { view.dispatch({effects: lock.reconfigure(locked(Boolean(on)))}); },
    focus() { view.focus(); },
    destroy() { view.destroy(); },
  };
}
