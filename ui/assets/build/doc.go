// Command build makes the bundles that Coffer's pages take from others: it reads
// package.json, package-lock.json and node_modules, which npm filled and checked
// against the lock, and writes ui/assets/dist and the test data of ui/e2e, each
// with a MANIFEST.json (name, version, licence and integrity of every package,
// digest of every file) and the texts of the licences.
//
// It is a module of its own, so that Coffer itself needs neither esbuild nor node
// to be built. `make assets` runs it; its output is committed.
package main
