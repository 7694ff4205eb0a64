package worker

// ForTest is the worker's process as tests see it.
func (p *Process) AskForKey(info string) error { return p.derive(&derive{Number: 1, Info: info}) }
