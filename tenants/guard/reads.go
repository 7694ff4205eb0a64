package guard

import "strings"

// OnlyReads says from the text alone whether a statement means to read only, so
// that it can run on a connection that cannot write. Nothing rests on it being
// right: such a connection refuses what writes after all.
func OnlyReads(sql string) bool {
	switch classify(sql).kind {
	case KindSelect:
		return true
	case KindPragma:
		return !strings.Contains(sql, "=")
	}
	return false
}
