// Package assets holds what the pages load: scripts, style sheets and pictures.
//
// dist/ comes from others: `make assets` writes it (the module in build/ does,
// from exact versions), dist/MANIFEST.json says what it is and where it comes
// from, and dist/LICENSES.txt holds the licences. own/ is written by hand.
//
// All files stand in one tree under one URL, /assets/<digest of the whole
// tree>/<name>: whatever changes, every URL does, so an answer may be kept
// forever, and ES modules can import each other by relative URL.
package assets
