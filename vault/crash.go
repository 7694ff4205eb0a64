package vault

// crash, if set, is called after each step of a change of keys that has several.
// Tests set it to end the process there; see export_test.go.
var crash func(step string)

func step(name string) {
	if crash != nil {
		crash(name)
	}
}
