package store

// crash, if set, is called between the steps of Rekey. Tests set it to end the
// process there; see export_test.go.
var crash func(step string)

func step(name string) {
	if crash != nil {
		crash(name)
	}
}
