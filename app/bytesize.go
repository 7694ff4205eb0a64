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

// parseBytes reads the size of the audit log.
func parseBytes(s string) (int64, error) {
	n, err := parseSize("audit-space", s)
	if err == nil && n < minAuditSpace {
		err = domain.Fieldf("audit-space", "%s is less than 16MiB", s)
	}
	if err != nil {
		return 0, err
	}
	return n, nil
}

// parseSize reads a size such as 512MiB.
func parseSize(field, s string) (int64, error) {
	for _, u := range byteUnits {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > (1<<62)/u.factor {
			break
		}
		return n * u.factor, nil
	}
	return 0, domain.Fieldf(field, "%.40q is not a size", s).WithHint("for example 512MiB or 10GiB")
}

// byteText is a size for people.
func byteText(n int64) string {
	for _, u := range byteUnits[:3] {
		if n >= u.factor && n%u.factor == 0 {
			return strconv.FormatInt(n/u.factor, 10) + " " + u.suffix
		}
	}
	return strconv.FormatInt(n, 10) + " bytes"
}

// existing gives the path if something is there, else "".
func existing(path string) string {
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}
