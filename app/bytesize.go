package app

import (
	"os"
	"strconv"
	"strings"

	"coffer/app/domain"
)

var byteUnits = []struct {
	suffix string
	factor int64
}{
	{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1}, {"", 1},
}

// minAuditSpace is the least that the audit log is given.
const minAuditSpace = 16 << 20

// parseBytes reads a size such as 512MiB.
func parseBytes(s string) (int64, error) {
	for _, u := range byteUnits {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > (1<<62)/u.factor {
			break
		}
		if n*u.factor < minAuditSpace {
			return 0, domain.Fieldf("audit-space", "%s is less than 16MiB", s)
		}
		return n * u.factor, nil
	}
	return 0, domain.Fieldf("audit-space", "%.40q is not a size", s).WithHint("for example 512MiB or 10GiB")
}

// existing gives the path if something is there, else "".
func existing(path string) string {
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}
