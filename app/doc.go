// Package app is the command line and the composition root: the only package
// that knows all the others. A command is a file (cmd_*.go); daemon.go and
// appliance.go put a running Coffer together; layout.go names its files.
//
// Commands but serve, config and version are clients of a running Coffer: they
// speak the native API over the local socket of the data directory.
package app
