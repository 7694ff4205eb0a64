//go:build !linux

package seal

// HardenProcess does nothing on this system, where the appliance is not
// supported and only the client commands run.
func HardenProcess() error { return nil }
