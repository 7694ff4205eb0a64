// Coffer gives every client of a small agency a closed coffer of its own. See
// README.md.
package main

import (
	"os"
	_ "time/tzdata"

	"coffer/app"
)

func main() {
	os.Exit(app.Main(os.Args, app.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.Getenv}))
}
